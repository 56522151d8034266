"""A person's own pictures train end to end: sizes, colours and class names as they come."""

import json

import numpy as np
from PIL import Image

from udal_tf.config import resolve
from udal_tf.reporting.run_log import read_rows
from udal_tf.training.experiment import train_and_evaluate


def write_pictures(root):
    """Three classes, the largest last by name; unlabelled pictures without classes; a test set."""
    generator = np.random.RandomState(0)
    parts = {"labeled/apple": 2, "labeled/mango": 1, "labeled/zebra": 4, "unlabeled/misc": 9}
    parts.update({f"test/{name}": 3 for name in ("apple", "mango", "zebra")})
    for part, count in parts.items():
        (root / part).mkdir(parents=True)
        for i in range(count):
            pixels = generator.randint(0, 256, (30 + i, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / part / f"{i}.png")


def test_a_folder_of_pictures_trains_and_reports_by_class_name(tmp_path):
    write_pictures(tmp_path / "pictures")
    config = resolve(
        {
            "dataset": "folder", "data_dir": str(tmp_path / "pictures"), "cache_dir": str(tmp_path / "cache"),
            "workdir": str(tmp_path / "run"), "image_size": 16, "depth": 10, "epochs": 2, "steps_per_epoch": 2,
            "batch_size": 4, "unlabeled_ratio": 2, "crop": "resized",
            "unlabeled_prior": ("zebra=2", "apple=1", "mango=1"),
        }
    )  # fmt: skip
    result = train_and_evaluate(config)
    assert result["class_names"] == ["apple", "mango", "zebra"]
    assert result["data"]["labeled_counts"] == [2, 1, 4]
    np.testing.assert_allclose(result["p_data"], [2 / 7, 1 / 7, 4 / 7], rtol=1e-5)
    assert result["p_unlabeled"] == [0.25, 0.25, 0.5]
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result
    for row in read_rows(tmp_path / "run" / "metrics.jsonl"):
        assert "confident" in row["train"]
        assert not {"confident_correct", "p_unlabeled_error"} & set(row["train"])
