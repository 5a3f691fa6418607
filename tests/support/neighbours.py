"""Worlds that differ by one person: everybody else's rows stay what they are, and no sum moves by more than noise is made for.

Of each plan that the private profile takes, for each person who may be gone:
- rows before noise (as the judge rewrote them): every other person has the very same rows, bit by bit, in the same order of
  places; the person who is gone has none; places are different; where people are believed to have one row each they have;
- cells: each vector and each score of a quantile moves within its stated bounds, in no more cells than stated;
- a plan that runs in one world runs in all: whether it fails is an answer.

    POLARS_MAX_THREADS=16 PYTHONPATH=tests/support python tests/support/neighbours.py FIRST PLANS
"""

from __future__ import annotations

import math
import struct
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.canonical import decode, encode
from bastion_plan.errors import BastionError
from bastion_policy.private.plans import Cells
from bastion_policy.private.pricing import Priced
from bastion_policy.private.rows import PLACE, UNIT, Refused, Rows, RowTyping
from bastion_policy.private.statistics import DENOMINATOR
from bastion_server.engine.lower import lower
from bastion_server.engine.probe import Fails, probe
from bastion_server.private.mechanisms import quantile_scores
from bastion_server.private.rehearsal import of_nobody
from bastion_server.private.release import Exact, _histograms
from neighbour_plans import PEOPLE, Maker
from noisy import Desk
from polars.exceptions import PanicException, PolarsError
from query import Q

#: tables of statistics that are asked of each plan
ASKED = 4
Worlds = Mapping[int, Desk]


class Broken(AssertionError):
    """One person decides more than the promise allows."""


def held(ok: bool, why: str) -> None:
    if not ok:
        raise Broken(why)


def bits(value: Any) -> Any:
    """A value that is equal to another one where all its bits are; of not-a-number there is one, and of nought, whose sign is read nowhere."""
    if not isinstance(value, float):
        return value
    return "nan" if math.isnan(value) else struct.pack("<d", value or 0.0)


def without(desk: Desk, person: int) -> Desk:
    """The world in which one person is in no table. Rows of nobody stay."""
    kept = pl.col("pid").ne_missing(person)
    return Desk({k: replace(t, frame=t.frame.filter(kept)) for k, t in desk.tables.items()})


def rows_of(plan: n.Node, desk: Desk) -> Rows:
    bound = bind(plan, desk.facts)
    return RowTyping(bound, desk.facts, 2).rows(bound.root)


def by_person(rows: Rows, desk: Desk) -> dict[Any, list[Any]]:
    frame = lower(rows.plan, {k: t.frame.lazy() for k, t in desk.tables.items()}).collect()
    frame = frame.with_columns(pl.col(c).to_physical() for c, t in frame.schema.items() if t.is_temporal())
    held(frame[PLACE].n_unique() == frame.height, "two rows have one place")
    found: dict[Any, list[Any]] = {}
    for row in frame.sort(PLACE).select(*rows.columns, UNIT).rows():
        found.setdefault(row[-1], []).append(tuple(map(bits, row[:-1])))
    return found


def check_rows(rows: Rows, here: Desk, worlds: Worlds) -> None:
    mine = by_person(rows, here)
    if rows.single:
        held(all(len(v) == 1 for v in mine.values()), "people who are said to have one row have several")
    for gone, there in worlds.items():
        theirs = by_person(rows, there)
        held(gone not in theirs, f"person {gone} is gone and has rows")
        left = {p: v for p, v in mine.items() if p != gone}
        changed = [p for p in left.keys() | theirs.keys() if left.get(p) != theirs.get(p)]
        held(not changed, f"without {gone}, others change: {[(p, left.get(p), theirs.get(p)) for p in changed][:2]}")


def check_cells(priced: Priced, here: Desk, worlds: Worlds) -> None:
    first = here.measured(priced)
    for gone, there in worlds.items():
        for cells, *pair in zip(priced.draft.cells, first, there.measured(priced), strict=True):
            try:
                _check_pair(cells, pair)
            except Broken as broken:
                raise Broken(f"{broken} with {gone}") from None


def _check_pair(cells: Cells, pair: list[Exact]) -> None:
    keys, columns = [k.column for k in cells.keys], [f"#~v{i}" for i in range(len(cells.parts))]
    one, two = ({r[: len(keys)]: r[len(keys) :] for r in e.sums.select(*keys, *columns).rows()} for e in pair)
    every, nothing = one.keys() | two.keys(), (0,) * len(columns)
    for i, part in enumerate(cells.parts):
        moved = [abs(one.get(k, nothing)[i] - two.get(k, nothing)[i]) for k in every]
        most = part.bound * (cells.caps.rows if part.per_row else 1)
        held(max(moved, default=0) <= most, f"part {i} moves by {max(moved, default=0)}")
        held(sum(map(bool, moved)) <= cells.caps.groups, f"part {i} moves in {sum(map(bool, moved))} cells")
        held(math.sqrt(sum(v * v for v in moved)) <= cells.l2(i), f"L2 of part {i}")
    place = {k: j for j, k in enumerate(sorted(every, key=repr) if cells.threshold else cells.domain)}
    for i, (quantile, _) in enumerate(cells.quantiles):
        changed = 0
        for a, b in zip(*(_histograms(cells, quantile, e.bins[i], place) for e in pair), strict=True):
            scores = [quantile_scores(v, quantile.numerator, DENOMINATOR) for v in (a, b)]
            held(int(np.max(np.abs(scores[0] - scores[1]))) <= cells.linf(i), f"scores of quantile {i}")
            changed += not np.array_equal(a, b)
        held(changed <= cells.caps.groups, f"quantile {i} moves in {changed} cells")


def rehearsed(plans: Iterable[n.Node], desk: Desk) -> bool:
    """Whether plans run on nobody: what does not is refused before it is paid."""
    try:
        for plan in plans:
            probe(nobodys := of_nobody(plan, desk.facts), {})
            lower(nobodys, {}).collect()
    except (Fails, PolarsError, PanicException, BastionError, RecursionError):
        return False
    return True


def play(seed: int, counts: Counter[str]) -> str:
    """Play one plan; returns what is wrong, or nothing."""
    made = Maker(seed)
    here = made.desk
    plan, names = made.plan()
    worlds = {person: without(here, person) for person in range(PEOPLE)}
    rows = rows_of(plan, here)
    counts["rows"] += 1
    if rehearsed([rows.plan], here):
        try:
            check_rows(rows, here, worlds)
        except (Broken, PolarsError, PanicException, BastionError) as error:
            return f"rows: {error}\n{plan}"
    for _ in range(ASKED):
        asked = made.asked(plan, names)
        try:
            priced = here.priced(Q(decode(encode(asked))), 1.0)
        except (BastionError, Refused, RecursionError):
            continue
        if not rehearsed([p for c in priced.draft.cells for p in (c.plan, *(q for _, q in c.quantiles))], here):
            continue
        counts["statistics"] += 1
        try:
            check_cells(priced, here, worlds)
        except (Broken, PolarsError, PanicException, BastionError) as error:
            return f"cells: {error}\n{asked}"
    return ""


def wrong(first: int, plans: int) -> tuple[list[str], Counter[str]]:
    """Play plans; returns what is wrong, and how many of each kind were played."""
    counts: Counter[str] = Counter()
    found = [f"seed {seed}: {why}" for seed in range(first, first + plans) if (why := play(seed, counts))]
    return found, counts


if __name__ == "__main__":
    told, played = wrong(*map(int, sys.argv[1:3]))
    print(dict(played), *told, sep="\n")
    sys.exit(bool(told))
