"""Plays random cases against the row oracle in shards: `make fuzz-policy CASES=100000`, `SEED=1` for other ones.

A shard is two hundred cases that hypothesis draws by the shard's own seed, and independent of all others. Each says what
became of its cases; a finding is printed with what plays it again, and the others go on. `--out` keeps a line of JSON per
shard, and shards that are in it are not played again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

# one core per process: small tables are not quicker on more
if __name__ == "__main__":
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[1])]
# ruff: noqa: E402 - where they lie is known now
from hypothesis import HealthCheck, Phase, given, seed, settings
from random_queries import Case, cases
from row_play import ENOUGH, ONE, SEVERAL, TALLY, describe, play, read

#: cases of a shard
SIZE = 200


def shard(number: int, size: int) -> list[str]:
    """Play some cases, two thirds of them single queries, the rest sequences; return findings, as texts."""
    found: list[str] = []

    def tried(case: Case, *, remembers: bool) -> None:
        try:
            findings = play(case, remembers=remembers)
        except Exception:  # noqa: BLE001 - a case that fails is a finding, and the others go on
            found.append(describe(case, []) + "\n" + traceback.format_exc(limit=-4))
            return
        if findings:
            found.append(describe(case, findings))

    def played(count: int, most: int) -> None:
        @seed(number * 10 + most)
        @settings(
            max_examples=max(1, count), deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=cases(most))
        def plays(case: Case) -> None:
            tried(case, remembers=most > 1)

        plays()

    played(size - size // 3, 1)
    played(size // 3, 6)
    return found


def report(counts: Counter[str]) -> list[str]:
    """Lines about cases that were played, with the share of allowed cells that left."""
    lines = [f"  {name}: {n}" for name, n in sorted(counts.items())]
    for of in (ONE, SEVERAL):
        released = counts[f"cells shown, {of}"] + counts[f"cells merged, {of}"]
        lines.append(f"  of allowed cells released, {of}: {released / max(1, counts[f'cells allowed, {of}']):.1%}")
    return lines


def enough(counts: Counter[str]) -> bool:
    """Whether at least 95% of what the oracle allows left."""
    for of in (ONE, SEVERAL):
        released = counts[f"cells shown, {of}"] + counts[f"cells merged, {of}"]
        if (allowed := counts[f"cells allowed, {of}"]) >= ENOUGH and released < 0.95 * allowed:
            return False
    return True


def again(text: str) -> int:
    """Play one case again."""
    case = read(text)
    findings = play(case, remembers=case.most > 1)
    print(describe(case, findings))
    return bool(findings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--every", type=int, default=1, help="play every nth shard, for n processes")
    parser.add_argument("--minutes", type=float, default=None, help="begin no shard after so long")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--again", default=None)
    given_ = parser.parse_args()
    if given_.again is not None:
        return again(given_.again)
    total: Counter[str] = Counter()
    begun, findings = time.monotonic(), 0
    done = set()
    if given_.out is not None and given_.out.exists():
        done = {json.loads(line)["shard"] for line in given_.out.read_text().splitlines()}
    for at in range(given_.first, -(-given_.cases // SIZE), given_.every):
        number = given_.seed * 1_000_000 + at
        if number in done:
            continue
        if given_.minutes is not None and time.monotonic() - begun > 60 * given_.minutes:
            break
        TALLY.start()
        spent = time.process_time()
        found = shard(number, min(SIZE, given_.cases - at * SIZE))
        spent = time.process_time() - spent
        findings += len(found)
        total += TALLY.counts
        print(f"shard {number}: {TALLY.counts['cases']} cases, {len(found)} findings, {spent:.0f} s", flush=True)
        for text in found:
            print(f"finding in shard {number}\n{text}", flush=True)
        if given_.out is not None:
            line = {
                "shard": number, "seconds": round(spent, 1), "counts": TALLY.counts, "findings": found,
                "hidden": TALLY.hidden, "unknown": TALLY.unknown,
            }  # fmt: skip
            with given_.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
    print("\n".join([f"{total['cases']} cases, {findings} findings", *report(total)]))
    return int(bool(findings) or not enough(total))


if __name__ == "__main__":
    sys.exit(main())
