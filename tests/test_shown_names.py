"""Names on one line, and those that no class can have."""

import os

import pytest

from udal_tf.shown_names import shown, unfit


@pytest.mark.parametrize(
    "name, text",
    [
        ("cat 1.png", "cat 1.png"),
        ("ネコ/naïve – №5.png", "ネコ/naïve – №5.png"),
        # Joiners and variation selectors are part of words and of emoji.
        ("می\u200cخواهم 👩\u200d🔬", "می\u200cخواهم 👩\u200d🔬"),
        ("a\nb\r\tc\x00", r"a\nb\r\tc\x00"),
        ("\x1b]0;title\x07\x9b", r"\x1b]0;title\x07\x9b"),
        ("line\u2028paragraph\u2029next\x85", r"line\u2028paragraph\u2029next\x85"),
        ("exe\u202egnp.x", r"exe\u202egnp.x"),
        (os.fsdecode(b"\xff\xfe/caf\xe9.png"), r"\xff\xfe/caf\xe9.png"),
        ("\ud800half", r"\ud800half"),
    ],
)
def test_what_breaks_a_line_is_escaped_and_nothing_else(name, text):
    assert shown(name) == text
    assert len(shown(name).splitlines()) == 1 and shown(name).encode("utf-8")
    assert shown(shown(name)) == text


def test_a_class_may_have_any_name_that_stays_on_a_line():
    assert [unfit(name) for name in ("cat", "ネコ", "می\u200cخواهم", "a b/c")] == [""] * 4
    assert unfit("a\nb") == unfit("a\u2028b") == "has a line break or another control character"
    assert unfit(os.fsdecode(b"\xff")) == "is not UTF-8"
