"""The cells that were run, kept for later sessions in a file of the user's own.

INVARIANT: what is kept is what was typed as a cell: never a result, never what was typed at a prompt (a passphrase), and
no invitation token. Only the user may read the file.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

import platformdirs

#: (session, number of the cell in it, its text)
Cell = tuple[int, int, str]

MAX_CELLS = 5_000
MAX_CHARACTERS = 5_000_000
MAX_CELL = 100_000
TRIM_EVERY = 100
_OFF = {"0", "off", "no", "false"}
_TOKEN = re.compile(r"(bastion1\.)[A-Za-z0-9_\-+/=.~]+")
_TABLE = """
CREATE TABLE IF NOT EXISTS cells (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL, line INTEGER NOT NULL, time REAL NOT NULL, code TEXT NOT NULL
)"""
_TRIM = """
DELETE FROM cells WHERE id <= (
    SELECT MAX(id) FROM (
        SELECT id, ROW_NUMBER() OVER newest AS cells, SUM(LENGTH(code)) OVER newest AS characters FROM cells
        WINDOW newest AS (ORDER BY id DESC)
    ) WHERE cells > ? OR characters > ?
)"""


def history_path() -> Path | None:
    """Return where the history is kept: BASTION_HISTORY, else the user's state directory; None where that is "0" or "off"."""
    given = os.environ.get("BASTION_HISTORY")
    if given is None:
        return Path(platformdirs.user_state_dir("bastionlab")) / "history.sqlite"
    return None if not given.strip() or given.strip().lower() in _OFF else Path(given).expanduser()


class History:
    """The cells of this session and of those before it.

    Args:
        path: of the file; None to remember this session only.

    A file that cannot be used never stops a cell: a broken one is put aside, and where none can be written this session
    is remembered and no other.
    """

    def __init__(self, path: Path | None) -> None:
        self._session: int | None = None
        self._since_trim = 0
        self._db = _open(path)
        with suppress(sqlite3.Error):
            self._trim()

    def remember(self, line: int, code: str) -> None:
        """Keep a cell. line: its execution count."""
        if not code.strip() or len(code) > MAX_CELL:
            return
        with suppress(sqlite3.Error), self._db:
            if self._session is None:
                self._db.execute("BEGIN IMMEDIATE")  # two kernels that begin at once get two numbers
                self._session = self._last_session() + 1
            self._db.execute(
                "INSERT INTO cells (session, line, time, code) VALUES (?, ?, ?, ?)",
                (self._session, line, time.time(), _TOKEN.sub(r"\1…", code)),
            )
            self._since_trim += 1
            if self._since_trim >= TRIM_EVERY:
                self._trim()

    def tail(self, n: int | None) -> list[Cell]:
        """Return the last `n` cells, oldest first; None: all."""
        return self._select("ORDER BY id DESC LIMIT ?", -1 if n is None else max(0, n))[::-1]

    def range(self, session: int | None, start: int | None, stop: int | None) -> list[Cell]:
        """Return cells `start` to before `stop` of a session: its number, 0 for this one, -1 for the one before it."""
        session = session or 0
        if session <= 0:
            session += self._number()
        return self._select(
            "WHERE session = ? AND line >= ? AND line < ? ORDER BY id", session, start or 0, stop or 1 << 60
        )

    def search(self, pattern: str | None, n: int | None = None, *, unique: bool = False) -> list[Cell]:
        """Return the last `n` cells like a pattern with * and ?, oldest first. unique: each text once, where it was last."""
        cells = [cell for cell in self.tail(None) if fnmatchcase(cell[2], pattern or "*")]
        if unique:
            cells = list({cell[2]: cell for cell in reversed(cells)}.values())[::-1]
        return cells[-n:] if n else cells

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _select(self, rest: str, *values: int) -> list[Cell]:
        try:
            return self._db.execute(f"SELECT session, line, code FROM cells {rest}", values).fetchall()  # noqa: S608 - ours
        except sqlite3.Error:
            return []

    def _last_session(self) -> int:
        return int(self._db.execute("SELECT COALESCE(MAX(session), 0) FROM cells").fetchone()[0])

    def _number(self) -> int:
        """Return the number of this session: the next one, as long as it has no cell."""
        if self._session is not None:
            return self._session
        try:
            return self._last_session() + 1
        except sqlite3.Error:
            return 1

    def _trim(self) -> None:
        self._since_trim = 0
        self._db.execute(_TRIM, (MAX_CELLS, MAX_CHARACTERS))
        self._db.commit()


def _open(path: Path | None) -> sqlite3.Connection:
    for _ in range(2 if path is not None else 0):
        try:
            return _opened(str(_own_file(path)))  # type: ignore[arg-type]
        except sqlite3.OperationalError:
            break  # locked, or no database can be kept here
        except sqlite3.DatabaseError:
            with suppress(OSError):
                path.replace(path.with_name(path.name + ".broken"))  # type: ignore[union-attr]
        except OSError:
            break
    return _opened(":memory:")


def _own_file(path: Path) -> Path:
    """Make sure of a file that nobody else may read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)
    return path


def _opened(name: str) -> sqlite3.Connection:
    db = sqlite3.connect(name, timeout=1.0)
    try:
        # a power cut may cost the last cells, but no cell waits for the disk
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA auto_vacuum = FULL")
        db.execute("PRAGMA secure_delete = ON")
        db.execute(_TABLE)
        db.commit()
    except sqlite3.Error:
        db.close()
        raise
    return db
