"""Where in a TOML text each key stands."""

from __future__ import annotations

import re
import tomllib

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}\n#]*")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)


def key_lines(text: str) -> dict[str, int]:
    """Return the line (from 1) of every key, table and list element, by path: "roles.age", "safe_zone.of[1].user_id".

    text: valid TOML. Where two keys have one path (a quoted key with a dot in it) the first counts.
    """
    return _Reader(text.replace("\r\n", "\n")).read()


def line_of(text: str, path: str, *, nearest: bool = False) -> int | None:
    """Return the line of one path, None where the text has no such key; nearest: else that of the key around it."""
    try:
        lines = key_lines(text)
    except RecursionError:
        return None
    while path not in lines:
        shorter = re.sub(r"(\[\d+\]|(^|\.)[^.\[]*)$", "", path)
        if not nearest or shorter == path:
            return None
        path = shorter
    return lines[path]


class _Reader:
    """A cursor over valid TOML; the values themselves are left to tomllib."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._found: dict[str, int] = {}
        self._tables: dict[str, int] = {}  # arrays of tables: their number of elements so far

    def read(self) -> dict[str, int]:
        table = ""
        self._skip(_SPACE)
        while self._at < len(self._text):
            if self._peek() == "[":
                table = self._header()
            else:
                self._assignment(table)
            self._skip(_SPACE)
        return self._found

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return match[0]

    def _note(self, path: str) -> None:
        self._found.setdefault(path, self._text.count("\n", 0, self._at) + 1)

    def _header(self) -> str:
        array = self._text.startswith("[[", self._at)
        self._at += 1 + array
        path = ""
        keys = self._keys()
        for number, key in enumerate(keys, 1):
            path = f"{path}.{key}".removeprefix(".") if path else key
            self._note(path)
            if array and number == len(keys):
                self._tables[path] = self._tables.get(path, 0) + 1
            if path in self._tables:
                path = f"{path}[{self._tables[path] - 1}]"
                self._note(path)
        self._skip(_SPACE)
        self._at += 1 + array
        return path

    def _assignment(self, table: str) -> None:
        path = table
        for key in self._keys():
            path = f"{path}.{key}" if path else key
            self._note(path)
        self._skip(_SPACE)
        self._at += 1  # =
        self._value(path)

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            if self._peek() in "\"'":
                quoted = self._string()
                keys.append(next(iter(tomllib.loads(f"{quoted} = 0"))))
            else:
                keys.append(self._skip(_BARE))
            before = self._at
            self._skip(_SPACE)
            if self._peek() != ".":
                self._at = before
                return keys
            self._at += 1

    def _string(self) -> str:
        for pattern in _STRINGS:
            if match := pattern.match(self._text, self._at):
                self._at = match.end()
                return match[0]
        msg = "a string without an end"
        raise ValueError(msg)

    def _value(self, path: str) -> None:
        self._skip(_SPACE)
        match self._peek():
            case '"' | "'":
                self._string()
            case "[":
                self._list(path)
            case "{":
                self._table(path)
            case _:
                self._skip(_SCALAR)

    def _list(self, path: str) -> None:
        self._at += 1
        number = 0
        while not self._closed("]"):
            self._note(f"{path}[{number}]")
            self._value(f"{path}[{number}]")
            number += 1

    def _table(self, path: str) -> None:
        self._at += 1
        while not self._closed("}"):
            self._assignment(path)

    def _closed(self, bracket: str) -> bool:
        """Go on to the next element of a list or table; True behind its last."""
        self._skip(_SPACE)
        if self._peek() == ",":
            self._at += 1
            self._skip(_SPACE)
        if self._peek() == bracket:
            self._at += 1
            return True
        return False
