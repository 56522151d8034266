"""Fonts for names in any script: Matplotlib's default lacks Chinese, Japanese, Korean, Thai, Indic scripts and more."""

import functools
import sys
import warnings

import matplotlib
from absl import logging
from matplotlib import font_manager

from udal_tf.reporting.terminal import wrapped

# A placeholder font: it maps every code point to a box.
_BOXES = "Last Resort"
# Characters that a message names.
_MOST_NAMED = 20
# Characters that have been said to be in no font.
_said: set[int] = set()


def families(text: str) -> list[str]:
    """The font families for a text: the figure's own, then installed ones for the glyphs that it lacks.

    A character without a glyph in any installed font is drawn as a box.

    Returns:
      Names for Matplotlib's `fontfamily`, which takes each glyph from the first family that has it.
    """
    own = matplotlib.rcParams["font.family"]
    missing = frozenset(map(ord, text)) - _covered(font_manager.findfont(font_manager.FontProperties()))
    # Line breaks and the like need no glyph.
    return [*own, *_further(frozenset(point for point in missing if chr(point).isprintable()))]


@functools.cache
def _further(missing: frozenset[int]) -> tuple[str, ...]:
    """Few installed families that together cover as many of the glyphs as possible, best coverage first."""
    if not missing:
        return ()
    _list_new_fonts()
    chosen = []
    regular = {font.name: font.fname for font in font_manager.fontManager.ttflist if font.style == "normal"}
    while missing:
        shared = {name: len(missing & _covered(path)) for name, path in regular.items() if not name.startswith(_BOXES)}
        best = max(sorted(shared), key=lambda name: shared[name], default=None)
        if best is None or not shared[best]:
            break
        chosen.append(best)
        missing -= _covered(regular[best])
    _say_once(missing)
    return tuple(chosen)


def _say_once(missing: frozenset[int]) -> None:
    """Names the characters that no font has, instead of Matplotlib, which warns of each at every drawing."""
    if new := missing - _said:
        _said.update(new)
        some = "".join(map(chr, sorted(new)[:_MOST_NAMED])) + ("…" if len(new) > _MOST_NAMED else "")
        print(wrapped(f"warning: no installed font has {some}: drawn as boxes"), file=sys.stderr)
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from", UserWarning)


def _list_new_fonts() -> None:
    """Adds fonts that were installed after Matplotlib cached its list."""
    listed = {font.fname for font in font_manager.fontManager.ttflist}
    for path in set(font_manager.findSystemFonts()) - listed:
        try:
            font_manager.fontManager.addfont(path)
        except (OSError, RuntimeError, NotImplementedError) as error:
            # Bitmap fonts and broken files, which Matplotlib's own list skips as well.
            logging.debug("skipped font %s: %s", path, error)


@functools.cache
def _covered(path: str) -> frozenset[int]:
    """The code points in a font file; none if the file no longer exists."""
    try:
        return frozenset(font_manager.get_font(path).get_charmap())
    except OSError:
        return frozenset()
