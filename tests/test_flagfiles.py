"""flags/: every flagfile states its row first and resolves without error."""

import pathlib

import pytest
from absl import flags

from udal_tf.config import define_flags, from_flags

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "flags"
FILES = sorted(FOLDER.glob("*.flags"))


def test_there_are_flagfiles():
    assert len(FILES) >= 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_flagfile_resolves_to_what_its_name_says(path):
    assert path.read_text(encoding="utf-8").startswith("# ")
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    flag_values(["run.py", f"--flagfile={path}"])
    config = from_flags(flag_values)
    base, method = path.stem.split("_", maxsplit=2)[1:]
    assert (config.method.base, config.method.method) == (base, method)
