"""reporting.fonts: class names in scripts that Matplotlib's own font lacks."""

import warnings

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure

from udal_tf.reporting import assessment_plots, contact_sheet, fonts, plotting

OWN = matplotlib.rcParams["font.family"]


def write_font(path, family, characters):
    """A font whose glyphs are all the same square."""
    pen = TTGlyphPen(None)
    for place, corner in enumerate([(0, 0), (0, 700), (700, 700), (700, 0)]):
        (pen.lineTo if place else pen.moveTo)(corner)
    pen.closePath()
    glyphs = {".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()}
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap({ord(character): "square" for character in characters})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (800, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes the installed fonts Matplotlib's own and those given as family=characters."""
    own = [font for font in font_manager.fontManager.ttflist if font.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])

    def install(**characters_of):
        monkeypatch.setattr(font_manager.fontManager, "ttflist", list(own))
        fonts._further.cache_clear()
        for family, characters in characters_of.items():
            write_font(tmp_path / f"{family}.ttf", family, characters)
            font_manager.fontManager.addfont(tmp_path / f"{family}.ttf")

    yield install
    fonts._further.cache_clear()


def test_latin_greek_and_cyrillic_need_no_further_font(installed):
    installed(Squares="äβж猫")
    assert fonts.families("Käfer βήτα жук 12 $x_1$\n…→") == OWN


def test_characters_without_a_glyph_are_named_once(installed, capsys):
    installed(Squares="犬")
    fonts._said.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("猫鳥", "猫鳥", "鳥犬"):
            figure = Figure()
            figure.text(0, 0, name, fontfamily=fonts.families(name))
            figure.canvas.draw()
    assert capsys.readouterr().err == "warning: no installed font has 猫鳥: drawn as boxes\n"


def test_the_family_that_has_the_most_of_the_missing_glyphs_comes_first_and_none_in_vain(installed):
    installed(Cats="猫", Pets="猫犬", Birds="鳥", Fish="魚")
    assert fonts.families("a猫犬鳥") == [*OWN, "Pets", "Birds"]


def test_a_sign_that_no_font_has_asks_for_none(installed):
    installed(Cats="猫")
    assert fonts.families("猫魚") == [*OWN, "Cats"]
    assert fonts.families("魚") == OWN


def test_a_font_that_is_gone_since_it_was_listed_has_no_glyphs(installed, tmp_path):
    installed(Cats="猫")
    (tmp_path / "Cats.ttf").unlink()
    assert fonts.families("猫") == OWN


def test_a_font_installed_since_matplotlib_listed_them_is_found_and_a_broken_one_left_out(
    installed, tmp_path, monkeypatch
):
    installed()
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    write_font(tmp_path / "new.ttf", "Cats", "猫")
    found = [str(tmp_path / name) for name in ("broken.ttf", "new.ttf")]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: found)
    assert fonts.families("猫") == [*OWN, "Cats"]


NAMES = ("猫", "犬")


def draw_axis(path):
    figure = Figure()
    plotting.name_classes(figure.add_subplot().xaxis, NAMES)
    figure.savefig(path)


def draw_sheet(path):
    contact_sheet.draw(np.zeros((2, 1, 4, 4, 3), np.uint8), NAMES, [("weak", 1)], "猫犬", path)


def draw_confusions(path):
    assessment_plots.confusion_matrices({"EMA": [[3, 1], [0, 4]]}, NAMES, path)


def draw_mistakes(path):
    wrong = [assessment_plots.Mistake(np.zeros((4, 4, 1), np.uint8), "猫/犬.png", *NAMES, 0.9)]
    assessment_plots.mistakes(wrong, path)


@pytest.mark.parametrize("draw", [draw_axis, draw_sheet, draw_confusions, draw_mistakes])
def test_every_image_with_names_draws_them(draw, installed, tmp_path, capsys):
    installed(Cats="猫", Dogs="犬")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib warns of each glyph that it lacks.
        draw(tmp_path / "names.png")
    installed()
    fonts._said.clear()
    draw(tmp_path / "boxes.png")
    assert "drawn as boxes" in capsys.readouterr().err
    assert (tmp_path / "names.png").read_bytes() != (tmp_path / "boxes.png").read_bytes()
