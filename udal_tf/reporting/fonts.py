"""Fonts for names in any script: Matplotlib's own lacks Chinese, Japanese, Korean, Thai, those of India and more."""

import functools

import matplotlib
from absl import logging
from matplotlib import font_manager

# A font of boxes, one for each script, which has every sign and shows none.
_BOXES = "Last Resort"


def families(text: str) -> list[str]:
    """The families to draw a text with: the figure's own, then installed ones for the signs that it lacks.

    A sign that no installed font has is drawn as a box.

    Returns:
      Names for Matplotlib's `fontfamily`, which takes each sign from the first that has it.
    """
    own = matplotlib.rcParams["font.family"]
    missing = frozenset(map(ord, text)) - _signs(font_manager.findfont(font_manager.FontProperties()))
    # Line breaks and the like are no signs.
    return [*own, *_further(frozenset(sign for sign in missing if chr(sign).isprintable()))]


@functools.cache
def _further(missing: frozenset[int]) -> tuple[str, ...]:
    """Installed families that together have as many of the signs as can be had: few, those with most of them first."""
    if not missing:
        return ()
    _list_new_fonts()
    chosen = []
    regular = {font.name: font.fname for font in font_manager.fontManager.ttflist if font.style == "normal"}
    while missing:
        shared = {name: len(missing & _signs(path)) for name, path in regular.items() if not name.startswith(_BOXES)}
        best = max(sorted(shared), key=lambda name: shared[name], default=None)
        if best is None or not shared[best]:
            break
        chosen.append(best)
        missing -= _signs(regular[best])
    return tuple(chosen)


def _list_new_fonts() -> None:
    """Adds what was installed since Matplotlib last looked, which it does once and then keeps a list of."""
    listed = {font.fname for font in font_manager.fontManager.ttflist}
    for path in set(font_manager.findSystemFonts()) - listed:
        try:
            font_manager.fontManager.addfont(path)
        except (OSError, RuntimeError, NotImplementedError) as error:
            # Fonts of bitmaps and broken files, which Matplotlib's own list leaves out, too.
            logging.debug("%s is left out: %s", path, error)


@functools.cache
def _signs(path: str) -> frozenset[int]:
    """The code points that a font file has; none where it is gone since Matplotlib listed it."""
    try:
        return frozenset(font_manager.get_font(path).get_charmap())
    except OSError:
        return frozenset()
