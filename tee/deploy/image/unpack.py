"""Unpack the wheels of a lock file into a folder: the files that are checked against their hashes, and nothing else.

    python3 unpack.py requirements.lock WHEELS TARGET

An installer writes when, from where and by whom; this does not, so that the same wheels give the same files.
"""

from __future__ import annotations

import hashlib
import re
import sys
import zipfile
from pathlib import Path, PurePosixPath

_LINE = re.compile(r"([A-Za-z0-9_.-]+)==(\S+) --hash=sha256:([0-9a-f]{64})")


def main(lock: Path, wheels: Path, target: Path) -> None:
    """Unpack. Ends with a sentence where a wheel is missing, or a line or a path is not as it must be."""
    found = {hashlib.sha256(wheel.read_bytes()).hexdigest(): wheel for wheel in sorted(wheels.glob("*.whl"))}
    for line in lock.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if not match:
            sys.exit(f"unpack.py: {line[:80]!r} is no line NAME==VERSION --hash=sha256:…")
        name, version, digest = match.groups()
        if digest not in found:
            sys.exit(f"unpack.py: {wheels} has no wheel of {name} {version} with the hash of the lock file")
        with zipfile.ZipFile(found[digest]) as wheel:
            for item in wheel.infolist():
                _unpack(wheel, item, target)


def _unpack(wheel: zipfile.ZipFile, item: zipfile.ZipInfo, target: Path) -> None:
    parts = PurePosixPath(item.filename).parts
    if item.is_dir():
        return
    if item.filename.startswith("/") or ".." in parts:
        sys.exit(f"unpack.py: {item.filename!r} leaves the folder")
    if parts[0].endswith(".data"):
        if parts[1] not in ("purelib", "platlib"):
            return  # programs, headers and manuals: a server calls none
        parts = parts[2:]
    path = target.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wheel.read(item))
    path.chmod(0o755 if path.suffix == ".so" or ".so." in path.name else 0o644)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
