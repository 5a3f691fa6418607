"""Run measurements and print a Markdown table.

`python -m benchmarks`: all of them; `--write` puts the table into docs/benchmarks.md. `python -m benchmarks guard --rows 1e6`:
some, on smaller tables.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
from bastion_server import start

from bastion import Connection, Identity
from bastion.client.endpoints import write_profile
from bastion_kernel.install import install
from benchmarks.attestation import measure_attestation
from benchmarks.audit import measure_audit
from benchmarks.cells import measure_cells
from benchmarks.guard import measure_guard
from benchmarks.history import UNITS, measure_history
from benchmarks.large import ROWS, measure_large
from benchmarks.tiny import measure
from benchmarks.training import measure_training
from benchmarks.transfer import measure_transfer

CSV = Path(__file__).parents[1] / "notebooks" / "data" / "titanic.csv"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
Rows = list[dict[str, str]]


def measure_product(rows: int, *, tiny: bool = True, large: bool = True) -> Rows:
    """Start a server; measure tiny queries and transfer (a, d), and queries over large tables (b, c)."""
    found: Rows = []
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        olga, alice = (Identity.create(name, keys) for name in ("olga", "alice"))
        os.environ["BASTION_PROFILE"] = str(Path(folder) / "profile.toml")
        with start(Path(folder) / "server", owners=[olga], users=[alice], memory=8 << 30) as server:
            write_profile(server.endpoint, server.server_key, str(keys / "alice.key"))
            with (
                Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner,
                Connection(server.endpoint, identity=alice, server_key=server.server_key) as user,
            ):
                if tiny:
                    install()
                    owner.client.polars.send_df(
                        pl.read_csv(CSV), name="titanic", sanitized_columns=["Name"], unit="row"
                    )
                    titanic = user.client.polars.get_df("titanic")
                    query = titanic.group_by("Pclass").agg(pl.col("Survived").mean())

                    def fetch() -> float:
                        query.fetch()
                        return user.last.elapsed if user.last is not None else 0.0

                    found += measure(Path(folder) / "profile.toml", CSV, fetch)
                    found += measure_transfer(owner, user)
                if large:
                    found += measure_large(owner, user, rows)
    return found


def parts(rows: int | None) -> Mapping[str, Callable[[], Rows]]:
    """Return the measurements by name; rows: of the large tables, None for 10 million (a million people for the history)."""
    size = rows or ROWS
    return {
        "tiny": lambda: measure_product(size, large=False),
        "cells": measure_cells,
        "large": lambda: measure_product(size, tiny=False),
        "guard": lambda: measure_guard(size),
        "history": lambda: measure_history(rows or UNITS),
        "audit": measure_audit,
        "training": measure_training,
        "attestation": measure_attestation,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, and print a Markdown table.")
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="tiny, cells, large, guard, history, audit, training, attestation; default: all",
    )
    parser.add_argument("--rows", type=float, help="rows of the large tables (default 10 million)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md; all parts only")
    options = parser.parse_args(arguments)
    known = parts(int(options.rows) if options.rows else None)
    for name in options.parts:
        if name not in known:
            parser.error(f"there is no part {name!r}; there are {', '.join(known)}")
    if options.write and (options.parts or options.rows):
        parser.error("--write takes all parts at their full size")
    found, began = [], time.monotonic()
    for name in options.parts or known:
        begin = time.monotonic()
        found += known[name]()
        sys.stderr.write(f"{name}: {time.monotonic() - begin:.0f} s\n")
    lines = ["| what | median (least to most) | goal |", "|---|---|---|"]
    lines += [f"| {r['what']} | {r['measured']} | {r['goal']} |" for r in found]
    machine = f"Python {platform.python_version()}, Polars {pl.__version__}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    load = f"load average {os.getloadavg()[2]:.1f} over the last 15 minutes; all measured in {time.monotonic() - began:.0f} s"
    text = "\n".join([f"{machine}; {load}", "", *lines, ""])
    sys.stdout.write(text)
    if options.write:
        before, mark, rest = PAGE.read_text(encoding="utf-8").partition("<!-- measured -->\n")
        _, end, after = rest.partition("<!-- end -->")
        PAGE.write_text(before + mark + text + end + after, encoding="utf-8")


if __name__ == "__main__":
    main()
