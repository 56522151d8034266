"""What a run says of itself: it goes to JSON and back, and what is missing or of another kind is named."""

import pytest
from run_files import make_result, make_row, scores

from udal_tf.run_records import FORMAT, EpochRow, Generation, PseudoLabelCounts, Result, RunDirError

WHERE = "runs/a/result.json: "


def test_a_row_and_a_result_come_back_from_json():
    row = make_row(3, pseudo_labels=PseudoLabelCounts([1.0, 0.0], [1.0, 0.0]))
    assert EpochRow.from_json(row.to_json(), "row ") == row
    assert row.to_json()["pseudo_labels"] == {"confident": [1.0, 0.0], "correct": [1.0, 0.0]}
    test = scores(0.5, 0.75)
    summary = Generation(1.0, test.accuracy, test.balanced_accuracy, 60.0, [3, 0], [0.5, None], [0.25, 0.0])
    result = make_result(test, generations=[summary, summary])
    value = result.to_json()
    assert value["accuracy"] == {"raw": 0.5, "ema": 0.5, "raw_la": 0.5, "ema_la": 0.75}
    assert value["generations"][1]["precision"] == [0.5, None]
    assert value["format"] == FORMAT
    assert Result.from_json(value, WHERE) == result


def without(value, *keys):
    inner = value
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return value


def changed(value, new, *keys):
    inner = value
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = new
    return value


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda v: without(v, "accuracy", "ema"), "accuracy.ema is missing"),
        (lambda v: changed(v, 1.5, "accuracy", "raw_la"), "accuracy.raw_la must be a number from 0 to 1, got 1.5"),
        (lambda v: changed(v, float("nan"), "accuracy", "ema"), "accuracy.ema must be a number from 0 to 1, got nan"),
        (lambda v: changed(v, True, "accuracy", "ema"), "accuracy.ema must be a number from 0 to 1, got True"),
        (lambda v: changed(v, [2], "per_class_recall", "ema"), "per_class_recall.ema must be a list, each a number"),
        (lambda v: changed(v, [0.5], "per_class_recall", "ema"), "class_names must name each class of per_class"),
        (lambda v: changed(v, [1.0], "p_data"), "class_names must name each class of p_data, got 2 for 1"),
        (lambda v: without(v, "p_data"), "p_data is missing"),
        (lambda v: changed(v, "many", "steps"), "steps must be a whole number, got 'many'"),
        (lambda v: changed(v, float("inf"), "seconds"), "seconds must be a finite number, got inf"),
        (lambda v: changed(v, [], "config"), "config must be an object, each an object"),
        (lambda v: changed(v, 3, "best"), "best must hold an object, got int"),
        (lambda v: changed(v, {}, "generations"), "generations must be a list, each an object, got {}"),
        (lambda v: changed(v, [{}], "generations"), "generations.0.alpha is missing"),
        (lambda v: changed(v, [[1, "a"]], "confusion", "ema"), "confusion.ema must be a list, each a list, each"),
    ],
)  # fmt: skip
def test_a_key_that_is_missing_or_of_another_kind_is_named(change, said):
    with pytest.raises(RunDirError) as raised:
        Result.from_json(change(make_result(scores()).to_json()), WHERE)
    assert str(raised.value).startswith(WHERE + said)


@pytest.mark.parametrize("value", [{}, [], {"accuracy": {}}])
def test_a_result_without_a_format_is_refused(value):
    with pytest.raises(RunDirError, match="runs/a/result.json has format .none., written by udal-tf .unknown."):
        Result.from_json(value, WHERE)
