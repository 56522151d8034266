"""Files and folders that appear whole or not at all."""

import json
import pathlib

import pytest

from udal_tf import storage


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_lists_of_numbers_take_one_line_and_text_stays_as_it_is(tmp_path):
    value = {"counts": [[1, 2.5], [3, None]], "names": ["a [1,\n2]", "b"], "none": []}
    storage.write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "[ 1, 2.5 ]" in text and "[ 3, null ]" in text


def test_write_json_writes_what_json_reads(tmp_path):
    value = {"α": [0.1, None, "é"], "b": {"c": 1}}
    storage.write_json(tmp_path / "result.json", value)
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == value
    assert names(tmp_path) == ["result.json"]


def test_what_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    storage.write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        storage.write_json(path, {"new": 2, "bad": object()})
    with pytest.raises(KeyError), storage.written_whole(path) as partial:
        partial.write_text("half")
        assert json.loads(path.read_text()) == {"old": 1}
        raise KeyError
    assert json.loads(path.read_text()) == {"old": 1}
    assert names(tmp_path) == ["result.json"]


def test_a_folder_replaces_the_one_before_it_when_it_is_whole(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("")
    with pytest.raises(KeyError), storage.written_whole(tmp_path / "out") as partial:
        partial.mkdir()
        (partial / "half").write_text("")
        raise KeyError
    assert names(tmp_path / "out") == ["old"]
    with storage.written_whole(tmp_path / "out") as partial:
        partial.mkdir()
        (partial / "new").write_text("")
        assert names(tmp_path / "out") == ["old"]
    assert names(tmp_path / "out") == ["new"]
    assert names(tmp_path) == ["out"]


def test_names_that_are_no_text_are_written_as_escapes(tmp_path):
    storage.write_text(tmp_path / "a.txt", "photo\udcff.png")
    assert (tmp_path / "a.txt").read_text() == r"photo\udcff.png"


def test_lines_are_added(tmp_path):
    for value in ({"a": 1}, {"b": "é"}):
        storage.append_json(tmp_path / "rows.jsonl", value)
    assert (tmp_path / "rows.jsonl").read_text(encoding="utf-8") == '{"a": 1}\n{"b": "é"}\n'


@pytest.mark.parametrize("path", ["gs://bucket/run", "s3://bucket", pathlib.Path("gs://bucket/run")])
def test_what_must_be_local_is_refused_by_its_scheme(path):
    with pytest.raises(ValueError, match="^(gs|s3):// is not supported here, only local files and folders, got "):
        storage.local(path)


def test_a_scheme_that_nobody_knows_is_refused_and_no_local_folder_made_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="^nowhere:// is not known, got nowhere://bucket/a.txt: give a local path"):
        storage.write_text(pathlib.Path("nowhere://bucket/a.txt"), "text")
    assert names(tmp_path) == []


def test_a_local_path_may_hold_a_colon_and_a_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert str(storage.local("~/runs/a:b")) == "/home/me/runs/a:b"
    assert str(storage.local("c:/run")) == "c:/run"
