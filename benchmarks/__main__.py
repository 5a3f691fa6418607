"""Run all measurements and print a Markdown table; `--write` puts it into docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

import polars as pl
from bastion_server import start

from bastion import Connection, Identity
from bastion.client.endpoints import write_profile
from bastion_kernel.install import install
from benchmarks.large import measure_large
from benchmarks.tiny import measure
from benchmarks.transfer import measure_transfer

CSV = Path(__file__).parents[1] / "notebooks" / "data" / "titanic.csv"


def main() -> None:
    """Start a server, measure, print."""
    install()
    rows = []
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
                owner.client.polars.send_df(pl.read_csv(CSV), name="titanic", sanitized_columns=["Name"], unit="row")
                titanic = user.client.polars.get_df("titanic")
                query = titanic.group_by("Pclass").agg(pl.col("Survived").mean())

                def fetch() -> float:
                    query.fetch()
                    return user.last.elapsed if user.last is not None else 0.0

                rows += measure(Path(folder) / "profile.toml", CSV, fetch)
                rows += measure_transfer(owner, user)
                rows += measure_large(owner, user)
    lines = ["| what | median (least to most) | goal |", "|---|---|---|"]
    lines += [f"| {r['what']} | {r['measured']} | {r['goal']} |" for r in rows]
    machine = f"Python {platform.python_version()}, Polars {pl.__version__}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    text = "\n".join([machine, "", *lines, ""])
    sys.stdout.write(text)
    if "--write" in sys.argv:
        page = Path(__file__).parents[1] / "docs" / "benchmarks.md"
        before, mark, rest = page.read_text(encoding="utf-8").partition("<!-- measured -->\n")
        _, end, after = rest.partition("<!-- end -->")
        page.write_text(before + mark + text + end + after, encoding="utf-8")


if __name__ == "__main__":
    main()
