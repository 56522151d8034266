"""docs/own_model.md: its blocks are one program, which is run from its first line to its last, for a few steps."""

import re
import runpy

import numpy as np
import pytest
import tensorflow as tf
from test_docs import DOCS, text_of

BLOCKS = re.findall(r"^```python\n(.*?)^```", text_of(DOCS / "own_model.md"), flags=re.S | re.M)
# What makes it take seconds.
SMALL = {
    "epochs, steps_per_epoch = 10, 50": "epochs, steps_per_epoch = 2, 2",
    "steps_per_epoch=50": "steps_per_epoch=2",
    "epochs=10": "epochs=2",
}


def small(block: str) -> str:
    for written, run in SMALL.items():
        block = block.replace(written, run)
    return block


@pytest.mark.filterwarnings("error:.*leaves out")
def test_the_page_from_its_first_line_to_its_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert all(any(written in block for block in BLOCKS) for written in SMALL)
    # In a file, whose source TensorFlow finds.
    (tmp_path / "page.py").write_text("\n".join(map(small, BLOCKS)), encoding="utf-8")
    names = runpy.run_path("page.py")

    np.testing.assert_array_equal(np.bincount(names["y_labeled"]), names["counts"])
    assert names["history"].history["alpha"] == pytest.approx([1.0, 0.775])
    np.testing.assert_allclose(np.sum(names["probs"], axis=1), 1.0, rtol=1e-5)
    # Two epochs of the second `fit`, or the better first one.
    assert int(names["best"]._learner.step.numpy()) in (2, 4)
    assert int(names["mirrored"]._learner.step.numpy()) == 4
    assert names["loss"].shape == () and np.isfinite(names["loss"])
    assert names["progress"] == 0.5
    for saved in ("best.keras", "network.keras", "classifier.keras"):
        assert (tmp_path / saved).is_file()
    network = tf.keras.models.load_model("network.keras")
    assert network(names["x_test"].astype(np.float32)).shape == (len(names["x_test"]), 10)


def test_supervised_training_takes_five_lines():
    blocks = [block for block in BLOCKS if "classifier.compile" in block]
    assert [len(block.splitlines()) for block in blocks] == [5, 5]
