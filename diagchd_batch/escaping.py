"""Escapes text that others wrote (names of studies, readers, hosts, files) before it reaches a terminal or spreadsheet.

Every string for a terminal goes through `for_console`, a value in a line or a table of its own through `for_line`, JSON
through `json_for_console`, every cell of a delimited file through `for_cell`, and every command that a message prints
through `command_line`. A message that only names a command, without what it is to act on, writes "the command `verify`"
instead.
"""

import json
import re
import shlex
import unicodedata
from collections.abc import Callable
from typing import Any

_KEPT = "\n\t"
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control characters, invisible format characters such as bidirectional overrides, surrogates, and line separators."""

_PROGRAM = "diagchd-batch"
_SAFE_IN_DOUBLE_QUOTES = re.compile(r"[^\"$`\\!\n]*")

# A cell begins at the beginning of the text. In a spreadsheet that separates by another character, which a quote does
# not hinder, it also begins behind a semicolon, a tab or a line break.
_FORMULA = re.compile(r"(^|[;\t\n])(?=\s*[=+\-@＝＋－＠])")


def is_unsafe(character: str) -> bool:
    """Return whether a character can control a terminal or hide text. Line breaks and tabs are safe.

    Args:
        character: One character.
    """
    return character not in _KEPT and unicodedata.category(character) in _UNSAFE_CATEGORIES


def for_console(text: str) -> str:
    r"""Return text in which unsafe characters are escaped, such as ``\x1b`` for Escape.

    Args:
        text: Any text.
    """
    return _escaped(text, lambda character: character.encode("unicode_escape").decode())


def for_line(text: str) -> str:
    r"""Return text for one line of a terminal: as `for_console`, with line breaks and tabs written ``\n`` and ``\t``.

    A study whose name holds a line break can then not write lines of its own among the program's.

    Args:
        text: Any text.
    """
    return for_console(text).replace("\n", "\\n").replace("\t", "\\t")


def json_for_console(value: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None) -> str:
    """Return a value as JSON in which unsafe characters are escaped. Reading it gives the same value.

    Args:
        value: The value.
        indent: Spaces of each level; None for one line.
        default: As in `json.dumps`: converts values that JSON has not.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=default)
    return _escaped(text, lambda character: json.dumps(character)[1:-1])


def for_cell(text: str) -> str:
    """Return text for a cell of a delimited file: unsafe characters are escaped, and no spreadsheet finds a formula.

    An apostrophe is added wherever a formula could begin.

    Args:
        text: Any text.
    """
    return _FORMULA.sub(r"\1'", for_console(text))


def command_line(*words: str) -> str:
    """Return a command of this program as one line for a POSIX shell.

    Args:
        words: The command's name, its arguments and its options, unquoted.

    Returns:
        The command with every word quoted where the shell needs it. A word with characters that a terminal would not
        show as they are is written as ``$'…'``, which bash, zsh and ksh read.
    """
    return " ".join(map(_quoted, (_PROGRAM, *words)))


def as_argument(place: str) -> str:
    """Return a path or URI in a form that no command takes for an option.

    Args:
        place: The path or URI, as a person wrote it.
    """
    return f"./{place}" if place.startswith("-") else place


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(escape(character) if is_unsafe(character) else character for character in text)


def _quoted(word: str) -> str:
    if for_console(word) != word or "\n" in word or "\t" in word:
        escaped = word.encode(errors="surrogateescape").decode("latin-1")
        return "$'" + "".join(c if " " <= c <= "~" and c not in "\\'" else f"\\x{ord(c):02x}" for c in escaped) + "'"
    if "'" in word and _SAFE_IN_DOUBLE_QUOTES.fullmatch(word):
        return f'"{word}"'
    return shlex.quote(word)
