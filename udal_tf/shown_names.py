"""Names of files, folders and classes as people see them: whatever bytes a name has, it stays on one line."""

import os
import shlex
import unicodedata
from collections.abc import Iterable

# Line and paragraph separators break lines, control characters also move a terminal's cursor or change its colors;
# overrides of the direction of writing reorder what stands beside the name; half a surrogate pair cannot be encoded.
_ESCAPED = {"Cc", "Zl", "Zp", "Cs"}
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# os.fsdecode maps the byte 0x80 + n, where it is not UTF-8, to the code point _UNDECODED + n.
_UNDECODED = 0xDC80


def shown(name: str | os.PathLike) -> str:
    r"""The name with everything escaped that breaks a line, a table or a terminal, or that cannot be encoded.

    Use it wherever a name is printed or drawn, not where it is read again by a program.

    >>> shown("line\nbreak")
    'line\\nbreak'
    >>> shown(os.fsdecode(b"caf\xe9"))
    'caf\\xe9'
    >>> shown("日本/naïve café.png")
    '日本/naïve café.png'
    """
    text = os.fspath(name)
    return "".join(_escape(sign) if _breaks(sign) else sign for sign in text) if not text.isprintable() else text


def command_line(arguments: Iterable[str]) -> str:
    r"""A command to type into a shell, on one line: arguments that do not fit it in Bash's form with escapes.

    >>> print(command_line(["ls", "two words", "line\nbreak's"]))
    ls 'two words' $'line\nbreak\'s'
    """
    return " ".join(map(_word, arguments))


def unfit(name: str) -> str:
    """Why a name cannot be that of a class, which tables, figures and files of every format show; "" if it can."""
    if any(unicodedata.category(sign) == "Cs" for sign in name):
        try:
            name.encode("ascii", "surrogateescape").decode("utf-8")
        except UnicodeError:
            return "is not UTF-8"
        return "cannot be read in this locale (set PYTHONUTF8=1)"
    return "has a line break or another control character" if any(map(_breaks, name)) else ""


def _word(argument: str) -> str:
    if shown(argument) == argument:
        return shlex.quote(argument)
    return "$'" + shown(argument.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def _breaks(sign: str) -> bool:
    return unicodedata.category(sign) in _ESCAPED or sign in _DIRECTION


def _escape(sign: str) -> str:
    point = ord(sign)
    if _UNDECODED <= point < _UNDECODED + 0x80:
        return f"\\x{point - _UNDECODED + 0x80:02x}"
    # As in Python: \n, \x1b, \u2028, \ud800.
    return sign.encode("unicode_escape").decode("ascii")
