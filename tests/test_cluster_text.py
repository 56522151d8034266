"""TF_CONFIG: empty is none, and whatever is malformed is named before TensorFlow reads it."""

import json
import os

import pytest

from udal_tf.commands import program
from udal_tf.training.distribute import DeviceError, check_cluster

WORKERS = {"worker": ["10.0.0.1:2222", "host-2.example:2222"]}
FIRST = {"type": "worker", "index": 0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "{}",
        json.dumps({"cluster": WORKERS, "task": FIRST}),
        json.dumps({"cluster": {"chief": ["[::1]:1"], "worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}),
        json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": 1}, "environment": "cloud"}),
    ],
)
def test_no_cluster_and_a_good_one_are_accepted(text):
    check_cluster(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ("nonsense", "is not valid JSON"),
        ("\0", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[1]", "must hold an object, got list"),
        ('{"clusters": {}}', 'must have "cluster", an object from roles'),
        (json.dumps({"task": FIRST}), 'must have "cluster"'),
        (json.dumps({"cluster": {"workers": ["a:1"]}, "task": FIRST}), "got 'workers'"),
        (json.dumps({"cluster": {"worker": []}, "task": FIRST}), 'must have a list of "host:port" for worker, got []'),
        (json.dumps({"cluster": {"worker": "a:1"}, "task": FIRST}), "for worker, got 'a:1'"),
        (json.dumps({"cluster": {"worker": ["a"]}, "task": FIRST}), "got ['a']"),
        (json.dumps({"cluster": {"worker": [1]}, "task": FIRST}), "got [1]"),
        (json.dumps({"cluster": {**WORKERS, "ps": ["a:1"]}, "task": FIRST}), "must not have parameter servers"),
        (json.dumps({"cluster": WORKERS}), 'must have "task", an object'),
        (json.dumps({"cluster": WORKERS, "task": {"index": 0}}), 'as "type" of "task", got None'),
        (json.dumps({"cluster": WORKERS, "task": {"type": ["worker"], "index": 0}}), 'as "type" of "task"'),
        (json.dumps({"cluster": WORKERS, "task": {"type": "chief", "index": 0}}), "got 'chief'"),
        (
            json.dumps({"cluster": {**WORKERS, "evaluator": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}),
            "got 'evaluator': the chief evaluates",
        ),
        (json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": 2}}), "a number from 0 to 1"),
        (json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": -1}}), "got -1"),
        (json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": "0"}}), "got '0'"),
        (json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": True}}), "got True"),
    ],
)
def test_a_malformed_cluster_is_named_with_what_is_wrong(text, words):
    with pytest.raises(DeviceError, match="^TF_CONFIG ") as raised:
        check_cluster(text)
    assert words in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(("before", "after"), [("", None), (" ", None), ("{", "{")])
def test_commands_pass_over_an_empty_cluster(monkeypatch, before, after):
    monkeypatch.setenv("TF_CONFIG", before)
    program.prepare_tensorflow()
    assert os.environ.get("TF_CONFIG") == after
