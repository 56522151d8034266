"""docs/notebook.ipynb: its cells run from the first to the last, and it is stored without outputs."""

import json
import pathlib

import matplotlib
import matplotlib.pyplot as plt
import pytest

NOTEBOOK = pathlib.Path(__file__).resolve().parents[1] / "docs" / "notebook.ipynb"
# Its trainings, and what they are cut down to.
LENGTH, SHORT = '"epochs": EPOCHS}', '"epochs": 2, "steps_per_epoch": 2}'


@pytest.fixture(scope="module")
def cells() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_its_cells_run_in_order(undrawn, small_network, cells, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    matplotlib.use("Agg")
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert sum(LENGTH in source for source in sources) == 1
    names = {}
    for number, source in enumerate(sources):
        exec(compile(source.replace(LENGTH, SHORT), f"cell {number}", "exec"), names)
    assert {name: result.config["method"]["method"] for name, result in names["results"].items()} == {
        "none": "none",
        "udal": "udal",
    }
    assert "LA (Inf)" in capsys.readouterr().out
    assert all(axes.has_data() for number in plt.get_fignums() for axes in plt.figure(number).axes)
    assert len(plt.get_fignums()) == 5
    plt.close("all")


def test_it_is_stored_without_outputs(cells):
    assert [cell["id"] for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
