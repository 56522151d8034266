"""Files and folders that commands write: whole or not at all, and never instead of somebody else's."""

import pytest

from udal_tf.commands import outputs

MARK = "result.json"


def write_file(path, overwrite=False, text="new"):
    with outputs.new_file(path, overwrite) as file:
        file.write(text)


def write_folder(path, overwrite=False):
    with outputs.new_folder(path, overwrite, MARK) as folder:
        (folder / MARK).write_text("new")


def test_a_file_that_is_there_is_replaced_on_demand_alone(tmp_path):
    write_file(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="exists already: choose another name, or give --overwrite"):
        write_file(tmp_path / "a.csv", text="newer")
    assert (tmp_path / "a.csv").read_text() == "new"
    write_file(tmp_path / "a.csv", overwrite=True, text="newer")
    assert (tmp_path / "a.csv").read_text() == "newer"


def test_what_fails_leaves_nothing_behind(tmp_path):
    write_file(tmp_path / "a.csv")
    with pytest.raises(KeyError), outputs.new_file(tmp_path / "a.csv", True) as file:
        file.write("half")
        raise KeyError
    with pytest.raises(KeyError), outputs.new_folder(tmp_path / "out", False, MARK) as folder:
        (folder / "half").write_text("half")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "new"


def test_names_that_are_no_text_are_written_as_escapes(tmp_path):
    write_file(tmp_path / "a.jsonl", text='"photo\udcff.png"')
    assert (tmp_path / "a.jsonl").read_text() == r'"photo\udcff.png"'


def test_a_folder_appears_when_all_is_written(tmp_path):
    with outputs.new_folder(tmp_path / "deep" / "out", False, MARK) as folder:
        (folder / MARK).write_text("new")
        assert not (tmp_path / "deep" / "out").exists()
    assert [path.name for path in (tmp_path / "deep" / "out").iterdir()] == [MARK]
    assert len(list((tmp_path / "deep").iterdir())) == 1


def test_an_earlier_folder_of_the_command_is_replaced_on_demand_alone(tmp_path):
    write_folder(tmp_path / "out")
    (tmp_path / "out" / "old").write_text("old")
    with pytest.raises(ValueError, match="give --overwrite"):
        write_folder(tmp_path / "out")
    assert (tmp_path / "out" / "old").exists()
    write_folder(tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "old").exists()


def test_the_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("photos", "file"):
        with pytest.raises(ValueError, match="was not written by this command"):
            write_folder(tmp_path / name, overwrite=True)
    with pytest.raises(ValueError, match="was not written by this command"):
        write_file(tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "a.png").read_text() == "mine"


def test_an_empty_folder_is_replaced_on_demand(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="give --overwrite"):
        write_folder(tmp_path / "out")
    write_folder(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / MARK).exists()
