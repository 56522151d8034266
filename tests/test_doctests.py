"""The examples in docstrings: they give what they say, and every function of an equation has one."""

import doctest
import importlib
import inspect

import pytest

EQUATIONS = [
    f"udal_tf.core.{name}"
    for name in (
        "alignment",
        "anchors",
        "label_shift",
        "losses",
        "mixup",
        "moving_average",
        "pseudo_labels",
        "schedules",
    )
]
OTHERS = [
    "udal_tf.alignment",
    "udal_tf.core.scores",
    "udal_tf.losses",
    "udal_tf.augment.randaugment",
    "udal_tf.augment.rotations",
    "udal_tf.augment.views",
    "udal_tf.keras_api.losses",
    "udal_tf.keras_api.semi_supervised",
    "udal_tf.keras_api.state",
]


@pytest.mark.parametrize("name", EQUATIONS + OTHERS)
def test_the_examples_give_what_they_say(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("name", EQUATIONS)
def test_every_public_function_has_an_example(name):
    module = importlib.import_module(name)
    functions = [f for _, f in inspect.getmembers(module, inspect.isfunction) if f.__module__ == name]
    public = [function for function in functions if not function.__name__.startswith("_")]
    assert len(public) > 1
    assert [function.__name__ for function in public if ">>>" not in function.__doc__] == []
