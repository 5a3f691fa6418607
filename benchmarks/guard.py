"""(g) What the guard costs: guarded queries against plain Polars on the same file, by profile, before and after 1,000 releases.

`python -m benchmarks guard --rows 1e6`. Every guarded run is a question that its audience never asked: a fresh audience, or
one with a history of its own. Three sides take turns: plain Polars in a warm process of its own; *alone*, which is the judge
and the pool of workers without server, wire, log and history; and the whole way through a server and the SDK.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from bastion_plan.nodes import Node
from bastion_policy.facts import DatasetFacts
from bastion_server.process import Handle

from bastion import Identity
from benchmarks.places import (
    Alone,
    Place,
    Plain,
    Question,
    connected,
    fetched,
    few,
    policies,
    questions,
    resident,
    table,
)
from benchmarks.timing import ratio, spread

ROWS = 10_000_000
RUNS = 3
#: seconds after which a question is not asked again
PATIENCE = 20.0
RELEASES = 1_000
#: epsilon of the first noisy answer; each further run pays more, for the same price is a repetition
PRICE = 5.0


def goal(profile: str, rows_per_unit: int, question: Question) -> float | None:
    """Return how many times as long as plain Polars the guard may take."""
    if profile == "default":
        return 1.3 if rows_per_unit == 1 else 4.0 if question.exact else 2.0
    return 2.5 if profile == "strict" else None


Side = Callable[[], float]


@dataclass
class Turns:
    """Seconds of the sides of one question, by side; plain Polars is the first."""

    seconds: dict[str, list[float]]

    @classmethod
    def taken(cls, runs: int, sides: Mapping[str, Side]) -> Turns:
        """Run the sides in turns, not longer than patience allows."""
        turns, begin = cls({name: [] for name in sides}), time.perf_counter()
        for number in range(runs):
            if number and time.perf_counter() - begin > PATIENCE:
                break
            for name, side in sides.items():
                turns.seconds[name].append(side())
        return turns

    def row(self, what: str, allowed: float | None, refused: str) -> dict[str, str]:
        """Return the row of the table. allowed: times plain Polars. refused: the code of what was not answered."""
        plain, *others = self.seconds.items()
        parts, goals = [f"{plain[0]} {spread(plain[1])}"], []
        for side, seconds in others:
            times = ratio(seconds, plain[1])
            parts.append(f"{side} {spread(seconds)} = {times:.1f}x")
            if allowed is not None:
                goals.append(f"{side} {'met' if times <= allowed else 'MISSED'}")
        parts.append(f"{len(plain[1])} run(s)")
        if refused:
            parts.append(f"not released: {refused}")
        return {
            "what": what,
            "measured": "; ".join(parts),
            "goal": f"<= {allowed}x: {', '.join(goals)}" if goals else "",
        }


def measure_guard(
    rows: int = ROWS, runs: int = RUNS, releases: int = RELEASES, per_units: Sequence[int] = (1, 10)
) -> list[dict[str, str]]:
    """Return rows of the table."""
    found = []
    for rows_per_unit in per_units:
        with tempfile.TemporaryDirectory() as folder:
            found += _measure_table(Path(folder), rows_per_unit, rows, runs, releases)
    return found


def _measure_table(folder: Path, rows_per_unit: int, rows: int, runs: int, releases: int) -> list[dict[str, str]]:
    place, name = Place(folder, rows, runs), f"rows{rows_per_unit}"
    shape = f"{rows / 1e6:g}M rows, {rows_per_unit} row(s) per unit"
    data, path = table(rows_per_unit, rows), folder / "table.arrow"
    data.write_ipc(path, compression="uncompressed")
    profiles, asked = policies(rows_per_unit), questions(rows)
    with place.served() as server:
        with connected(server, place.owner) as owner:
            owner.client.polars.send_df(data, name=name, policy=profiles["default"])
        first = next(place.fresh)
        numbering = _first(server, first, name)
    disk = place.fill(name, data, releases)
    del data
    with place.served() as server, Plain(path, rows) as plain, Alone(path) as alone:
        found = [
            {
                "what": f"(g) the first question of a table, which numbers its people / asked again after a restart, {shape}",
                "measured": f"{numbering:.2f} s / {_first(server, first, name):.2f} s",
                "goal": "",
            }
        ]
        asking = _Asking(place, server, plain, alone, name, rows_per_unit, runs)
        waiting = iter(place.filled)
        found.append(asking.memory(next(waiting), disk, f"{releases:,} releases of {few(rows)} cells, {shape}"))
        for profile, policy in profiles.items():
            with connected(server, place.owner) as owner:
                owner.set_policy(name, policy)
            # noise for a million cells is drawn one by one, for minutes
            some = [i for i, question in enumerate(asked) if profile != "private" or not question.exact]
            found += [asking.empty(profile, number, f"{shape}, history empty") for number in some]
        for profile in ("default", "strict"):
            with connected(server, place.owner) as owner:
                owner.set_policy(name, profiles[profile])
            for number in (i for i, question in enumerate(asked) if question.after):
                users = [next(waiting) for _ in range(runs)]
                found.append(asking.after(profile, number, f"{shape}, after {releases:,} releases", users))
    return found


def _first(server: Handle, user: Identity, name: str) -> float:
    """Return the seconds of somebody's question that makes the server read or number the people."""
    with connected(server, user) as connection:
        begin = time.perf_counter()
        refused = fetched(connection.client.polars.get_df(name).group_by("k").agg(pl.col("x").mean()))
        if refused:
            raise RuntimeError(f"the first question was not answered: {refused}")
        return time.perf_counter() - begin


@dataclass
class _Asking:
    """Asks questions of one table. refused: the code of the last question that was not answered."""

    place: Place
    server: Handle
    plain: Plain
    alone: Alone
    name: str
    rows_per_unit: int
    runs: int
    refused: str = ""

    def empty(self, profile: str, number: int, shape: str) -> dict[str, str]:
        """Ask as audiences that asked nothing before."""
        question, price = questions(self.place.rows)[number], PRICE

        def fresh() -> float:
            with connected(self.server, next(self.place.fresh)) as user:
                return self._timed(question.ask(user.client.polars.get_df(self.name)), None)

        def noisy() -> float:
            nonlocal price
            price += 1
            with connected(self.server, self.place.owner) as user:
                return self._timed(question.ask(user.client.polars.get_df(self.name)), price)

        if profile == "private":
            return self._row(profile, number, shape, {"server": noisy})
        plan, facts = self._plan(question)

        def alone() -> float:
            begin = time.perf_counter()
            self.alone.run(plan, facts)
            return time.perf_counter() - begin

        return self._row(profile, number, shape, {"alone": alone, "server": fresh})

    def after(self, profile: str, number: int, shape: str, users: Sequence[Identity]) -> dict[str, str]:
        """Ask as audiences with a history."""
        question, waiting = questions(self.place.rows)[number], iter(users)

        def asked() -> float:
            with connected(self.server, next(waiting)) as user:
                frame = user.client.polars.get_df(self.name)
                # their history is read from the disk
                fetched(frame.select(pl.len()))
                return self._timed(question.ask(frame), None)

        return self._row(profile, number, shape, {"server": asked})

    def memory(self, user: Identity, sizes: Mapping[str, float], what: str) -> dict[str, str]:
        """Have the server read a history from its disk."""
        before = resident(self.server.pid)
        with connected(self.server, user) as connection:
            took = self._timed(connection.client.polars.get_df(self.name).select(pl.len()), None)
        grown = resident(self.server.pid) - before
        megabytes = {name: f"{size / 1e6:.0f} MB" for name, size in sizes.items()}
        return {
            "what": f"(g) memory of the history of an audience, {what}",
            "measured": f"{megabytes['arrays']} of arrays, {megabytes['disk']} on disk; reading it took {took * 1e3:.0f} ms with a count, "
            f"and the server grew by {grown:.0f} MB; the numbers of the people: {megabytes['roster']} on disk",
            "goal": "",
        }

    def _timed(self, query: Any, epsilon: float | None) -> float:
        begin = time.perf_counter()
        self.refused = fetched(query, epsilon)
        return time.perf_counter() - begin

    def _row(self, profile: str, number: int, shape: str, sides: Mapping[str, Side]) -> dict[str, str]:
        question, self.refused = questions(self.place.rows)[number], ""
        self.plain.run(number)
        turns = Turns.taken(self.runs, {"plain": lambda: self.plain.run(number), **sides})
        what = f"(g) {profile}, {question.name}, {shape}"
        return turns.row(what, goal(profile, self.rows_per_unit, question), self.refused)

    def _plan(self, question: Question) -> tuple[Node, DatasetFacts]:
        with connected(self.server, self.place.owner) as owner:
            frame = owner.client.polars.get_df(self.name)
            assert frame.dataset is not None
            return question.ask(frame).plan, frame.dataset.facts
