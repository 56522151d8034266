"""The contact sheet: where its images stand, and names of any length."""

import numpy as np
from PIL import Image

from udal_tf.reporting import contact_sheet

RED, BLUE = (255, 0, 0), (0, 0, 255)


def test_images_stand_in_rows_and_columns_beside_their_names(tmp_path):
    """Red above blue in the first column, the other way round in the second."""
    images = np.empty((2, 2, 8, 8, 3), np.uint8)
    images[0, 0] = images[1, 1] = RED
    images[1, 0] = images[0, 1] = BLUE
    path = tmp_path / "made" / "sheet.png"
    contact_sheet.draw(images, ["cat\n3 labeled", "dog"], [("image", 1), ("view", 1)], "Title", path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)

    def middle(color):
        """Row and column of each of the two patches of a color, from left to right."""
        found = np.abs(pixels - color).sum(axis=2) < 30
        columns = np.flatnonzero(found.any(axis=0))
        parts = np.split(columns, np.flatnonzero(np.diff(columns) > 5) + 1)
        return [(np.flatnonzero(found[:, part].any(axis=1)).mean(), part.mean()) for part in parts]

    (red_left, red_right), (blue_left, blue_right) = middle(RED), middle(BLUE)
    assert red_left[0] < blue_left[0] and blue_right[0] < red_right[0]
    assert red_left[1] < blue_right[1] and abs(red_left[1] - blue_left[1]) < 3
    # Beside them stand names, so what is left of the first column is not white alone.
    assert (pixels[:, : int(red_left[1]) - 60] < 128).any()


def test_a_long_name_is_cut_and_takes_no_more_room_than_others(tmp_path):
    images = np.zeros((1, 1, 8, 8, 3), np.uint8)
    widths = []
    for name in ("x" * 32, "x" * 500):
        contact_sheet.draw(images, [name], [("image", 1)], "Title", tmp_path / "sheet.png")
        with Image.open(tmp_path / "sheet.png") as image:
            widths.append(image.width)
    assert widths[0] == widths[1]


def test_names_of_any_bytes_are_drawn_escaped(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(contact_sheet, "save_png", lambda figure, path: drawn.append(figure))
    images = np.zeros((1, 1, 8, 8, 3), np.uint8)
    contact_sheet.draw(images, ["\x1b[2J\udcff\nsecond"], [("image", 1)], "a\nb\udcfe", tmp_path / "sheet.png")
    texts = [text.get_text() for text in (*drawn[0].axes[0].texts, *drawn[0].texts)]
    assert texts == [r"\x1b[2J\xff" + "\nsecond", "image", r"a\nb\xfe"]


def test_names_that_look_like_formulas_are_drawn_as_they_are(tmp_path):
    images = np.zeros((1, 1, 8, 8, 3), np.uint8)
    contact_sheet.draw(images, [r"$\nothing$ at 5 $"], [("image", 1)], r"$\wrong{$", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()
