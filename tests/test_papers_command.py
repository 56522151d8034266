"""The paper's command trains on a CIFAR archive: the real format, recipe and network, few images and steps."""

import dataclasses
import io
import tarfile

import numpy as np
from absl import flags

from udal_tf import config as config_module
from udal_tf.data import cifar
from udal_tf.training.experiment import train_and_evaluate

PER_CLASS, TEST_PER_CLASS, FILES = 100, 1, 5
START = (6, 9, 9, 4, 1, 1, 2, 7, 8, 3)


def write_binary_archive(path):
    """`cifar-10-binary.tar.gz`: a label byte, then the red, green and blue plane of each image."""
    generator = np.random.RandomState(0)
    rest = np.repeat(np.arange(10), PER_CLASS - np.bincount(START, minlength=10))
    labels = np.concatenate([START, generator.permutation(rest)])
    tests = np.repeat(np.arange(10), TEST_PER_CLASS)

    def records(part):
        pixels = generator.randint(0, 256, (len(part), 3072))
        return np.concatenate([part[:, None], pixels], axis=1).astype(np.uint8).tobytes()

    parts = {f"data_batch_{i + 1}.bin": part for i, part in enumerate(np.split(labels, FILES))}
    with tarfile.open(path, "w:gz") as archive:
        for name, part in {**parts, "test_batch.bin": tests}.items():
            data = records(part)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def test_the_papers_command_trains_and_reports(undrawn, small_network, tmp_path, monkeypatch):
    small = dataclasses.replace(
        cifar.EDITIONS["cifar10lt"], train_per_class=PER_CLASS, test_per_class=TEST_PER_CLASS, test_start=(0, 1)
    )
    monkeypatch.setitem(cifar.EDITIONS, "cifar10lt", small)
    monkeypatch.setenv("HOME", str(tmp_path))
    write_binary_archive(tmp_path / "cifar-10-binary.tar.gz")
    flag_values = flags.FlagValues()
    config_module.define_flags(flag_values)
    paper = ["--dataset=cifar10lt", "--imbalance=100", "--beta=0.1"]
    cut = ["--n1=100", "--epochs=2", "--steps_per_epoch=1", "--batch_size=2", "--unlabeled_ratio=2"]
    flag_values(["run.py", *paper, *cut, f"--data_dir={tmp_path}", f"--workdir={tmp_path / 'run'}"])
    result = train_and_evaluate(config_module.from_flags(flag_values))
    assert result.steps == 2
    assert result.config["arch_settings"] == {"depth": 28, "width": 2}
    assert result.data["labeled_counts"] == [10, 6, 4, 3, 2, 1, 1, 1, 1, 1]
    assert "binary" in result.data["source"]
    assert 0 <= result.accuracy.ema <= 1
