"""The grids: every cell resolves, stands in the paper's tables, has a folder and a cost of its own."""

import json
import pathlib
import re

import pytest

from udal_tf import registry
from udal_tf.config import flat, given_on_command_line, is_identity, resolve
from udal_tf.reporting import paper
from udal_tf.reporting.runs import identity_of, shown, tuples
from udal_tf.sweep import grids

FLAGS = str(pathlib.Path(__file__).resolve().parents[1] / "flags")
SIZES = {"table1": 120, "table2": 150, "table3": 60, "table4": 13, "fig1": 13, "fig3a": 65, "fig3b": 60, "fig3c": 65}
SIZES |= {"table1_open": 165, "table3_adam": 60, "digits": 45, "digits_fixmatch": 30, "fashion": 45}


def cells_of(name, further=()):
    cells, errors = grids.cells(grids.GRIDS[name], FLAGS, further)
    assert errors == []
    return cells


@pytest.mark.parametrize("name", grids.GRIDS)
def test_every_cell_resolves_and_has_a_folder_of_its_own(name):
    cells = cells_of(name)
    assert len(cells) == SIZES.get(name, len(cells))
    assert len({cell.name for cell in cells}) == len(cells)
    assert len({(flat(cell.config.to_dict())["method"], str(cell.config)) for cell in cells}) == len(cells)


def test_cells_of_several_folders_of_images_are_called_by_them():
    block = grids.Block("", {"dataset": "folder", "data_dir": ["a/mushrooms", "b/birds"], "method": "none"})
    cells, errors = grids.cells([block], FLAGS)
    assert errors == []
    assert [cell.name for cell in cells] == [
        "folder_mushrooms_b1_fixmatch_none_fold1",
        "folder_birds_b1_fixmatch_none_fold1",
    ]
    assert [resolve(cell.config.to_dict()["data"] | {"method": "none"}).train.workdir for cell in cells] == [
        f"runs/{cell.name}" for cell in cells
    ]


def expected_of(table):
    return [
        identity_of(table.settings_of(row, place))
        for row in table.rows
        for place, value in enumerate(row.values)
        if value is not None
    ]


@pytest.mark.parametrize("table", paper.TABLES.values(), ids=lambda table: table.name)
def test_a_tables_grid_trains_exactly_the_papers_cells(table):
    expected = expected_of(table)
    trained = []
    for cell in cells_of(table.name):
        values = tuples(flat(cell.config.to_dict()))
        trained.append({name: value for name, value in values.items() if is_identity(name) and name != "fold"})
    assert all(settings in expected for settings in trained)
    assert all(settings in trained for settings in expected)


def test_a_cell_that_two_grids_share_has_one_name():
    table1, figure = ({cell.name for cell in cells_of(name)} for name in ("table1", "fig3b"))
    assert table1 & figure == {f"cifar10lt_g100_b0.1_fixmatch_udal_fold{fold}" for fold in range(1, 6)}


def test_settings_that_leave_the_recipe_are_in_the_name():
    cell = cells_of("digits", ("--epochs=1", "--strong_ops=Rotate,ShearX,ShearY,Color,Contrast"))[0]
    assert cell.name.startswith("digitslt_g12_b0.1_supervised_none_fold1_strong_ops")
    assert cell.name.endswith("_epochs1")
    assert "," not in cell.name


@pytest.mark.parametrize(
    ("grid", "part", "images"),
    [
        ("table1", "g50_b0.1_fixmatch_udal_fold1", 65_536 * 960),
        ("table1", "g50_b0.1_fixmatch_crest+_fold1", 6 * 65_536 * 960),
        ("table1", "g50_b0.1_mixmatch_udal_fold1", 131_072 * 192),
        ("table4", "b0.1_supervised_none_fold1_epochs3000", 3000 * 501 * 256),
        ("table4", "b0.1_fixmatch_crest+_fold1", 6000 * 501 * 2816),
        ("digits", "b0.1_supervised_none_fold1", 1000 * 32),
    ],
)
def test_images_count_every_view_of_every_generation(grid, part, images):
    (cell,) = [cell for cell in cells_of(grid) if cell.name.endswith(part)]
    assert cell.images == images


def test_views_are_those_of_the_base_learners():
    for base, record in registry.BASE_LEARNERS.items():
        config = resolve({"base": base, "method": "none", **({"strong_views": 3} if base == "remixmatch" else {})})
        made = registry.resolved(record.learner)(config.method, config.own.base)
        unlabeled = sum(of_set == "unlabeled" for _, of_set, _ in made.views)
        assert unlabeled == record.views_per_unlabeled_image(config.own.base)


def test_a_grid_file_takes_lists_as_axes(tmp_path):
    path = tmp_path / "grid.json"
    path.write_text(json.dumps([{"settings": {"method": ["none", "udal"], "fold": [1, 2], "epochs": 2}}]))
    cells, errors = grids.cells(grids.read_grid(path), FLAGS)
    assert (len(cells), errors) == (4, [])
    assert cells[0].arguments == ("--method=none", "--fold=1", "--epochs=2")


@pytest.mark.parametrize("text", ["{", "{}", "[]", '[{"flag": "x"}]', "[3]"])
def test_a_file_that_is_no_grid_is_refused(tmp_path, text):
    path = tmp_path / "grid.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="grid.json"):
        grids.read_grid(path)


def test_what_completes_a_cells_settings_does_not_change_its_name():
    blocks = [grids.Block("", {"dataset": "folder", "fold": [1, 2]})]
    plain, _ = grids.cells(blocks, FLAGS)
    completed, _ = grids.cells(blocks, FLAGS, (), lambda given: resolve({**given, "images": "these", "depth": 22}))
    assert [cell.name for cell in completed] == [cell.name for cell in plain]
    assert [(cell.config.data.images, cell.config.own.arch.depth) for cell in completed] == [("these", 22)] * 2


def test_every_cell_that_does_not_resolve_is_named():
    blocks = [grids.Block("", {"fold": [1, 9]}), grids.Block("no.flags"), grids.Block("", {"nothing": 1})]
    cells, errors = grids.cells(blocks, FLAGS)
    assert len(cells) == 1
    assert len(errors) == 3
    assert "--fold must be at least 1 and at most 5, got 9" in errors[0]
    assert "no.flags" in errors[1]
    assert "nothing" in errors[2]


def differences_by_flagfile(grid, twin_prefix):
    """For each twin's flagfile of a grid: the settings in which it leaves the flagfile that it names as its twin."""
    files = {block.flagfile for block in grids.GRIDS[grid]}
    found = {}
    for file in sorted(name for name in files if name.startswith(twin_prefix)):
        text = (pathlib.Path(FLAGS) / file).read_text(encoding="utf-8")
        (named,) = re.findall(r"Twin of (\S+\.flags)", text)
        assert named in files
        ours, theirs = (identity_of(given_on_command_line([f"--flagfile={FLAGS}/{name}"])) for name in (file, named))
        found[file] = {name: value for name, value in ours.items() if value != theirs[name]}
        first = pathlib.Path(FLAGS) / f"{grid.split('_')[0]}_{file.partition('_')[2]}"
        assert file in first.read_text(encoding="utf-8"), "a row names its twins, too"
    return found


def test_the_open_rows_of_table_1_differ_from_their_twins_in_what_is_open():
    assert differences_by_flagfile("table1_open", "table1-") == {
        "table1-k0_fixmatch_da.flags": {"k": 0.0},
        "table1-k0_fixmatch_da_la.flags": {"k": 0.0},
        "table1-ramp0_mixmatch_none.flags": {"unlabeled_ramp": 0.0},
        "table1-ramp0_mixmatch_udal.flags": {"unlabeled_ramp": 0.0},
        "table1-ramp0_mixmatch_crest+.flags": {"unlabeled_ramp": 0.0},
        "table1-t08_mixmatch_crest+.flags": {"alpha_min": 0.8, "select_alpha": 2.0, "schedule_level": 5.0},
    }


def test_the_adam_twins_of_table_3_have_darps_recipe():
    recipe = {"optimizer": "adamw", "learning_rate": 0.002, "schedule": "constant", "weight_decay": 0.02}
    recipe |= {"epochs": 500, "steps_per_epoch": 500, "unlabeled_ratio": 1}
    assert differences_by_flagfile("table3_adam", "table3-") == {
        "table3-adam_fixmatch_none.flags": recipe,
        "table3-adam_fixmatch_darp.flags": recipe,
    }


def test_a_setting_that_six_digits_do_not_say_keeps_all_of_them_on_a_command_line():
    assert [shown(value) for value in (0.1, 2.0, 1 / 0.7, 1e-4)] == ["0.1", "2", "1.4285714285714286", "0.0001"]
