"""udal_tf.losses and udal_tf.alignment: what they hand on, under the names of the paper."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import udal_tf
from udal_tf import alignment, core, losses
from udal_tf.core import moving_average, schedules

PACKAGE = pathlib.Path(udal_tf.__file__).parent


@pytest.mark.parametrize("module", [alignment, losses], ids=["alignment", "losses"])
def test_they_only_hand_on_what_core_and_keras_api_compute(module):
    docstring, *statements, names = ast.parse(pathlib.Path(module.__file__).read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr) and isinstance(names, ast.Assign)
    assert {type(statement) for statement in statements} == {ast.ImportFrom}
    below = ("udal_tf.core.", "udal_tf.keras_api.losses")
    assert all(statement.module.startswith(below) for statement in statements)
    handed_on = [alias.asname or alias.name for statement in statements for alias in statement.names]
    assert sorted(handed_on) == module.__all__
    assert all(f"`{name}`" in module.__doc__ for name in module.__all__)


def test_the_papers_symbols_are_the_functions_of_core():
    assert alignment.p_target is core.alignment.tempered
    assert alignment.p_model is moving_average.distribution
    assert alignment.alpha is schedules.alpha
    assert losses.cross_entropy is core.losses.cross_entropy


def test_the_package_itself_imports_no_tensorflow():
    code = "import sys, udal_tf; print('tensorflow' in sys.modules, 'udal_tf.losses' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert told.stdout == "False False\n"


def test_they_are_attributes_of_the_package_without_an_import_of_their_own(monkeypatch):
    monkeypatch.delattr(udal_tf, "alignment")
    monkeypatch.delattr(udal_tf, "losses")
    assert udal_tf.alignment is alignment
    assert udal_tf.losses is losses


def test_other_names_are_refused_as_by_any_module():
    with pytest.raises(AttributeError, match="module 'udal_tf' has no attribute 'loses'"):
        _ = udal_tf.loses


def test_the_page_of_the_method_lists_every_one_of_them():
    page = (PACKAGE.parent / "docs" / "method.md").read_text(encoding="utf-8")
    for module in (alignment, losses):
        short = module.__name__.removeprefix("udal_tf.")
        assert sorted(set(re.findall(rf"`{short}\.(\w+)`", page))) == module.__all__
