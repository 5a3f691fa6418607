"""Runs the measured harnesses at length and writes docs/utility.md: `python tests/support/utility_report.py docs/utility.md`.

Everything is drawn from fixed seeds; only the seconds differ from run to run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import harness_averaging
import harness_membership
import harness_outliers
import harness_private
import harness_reconstruction
import harness_search
import harness_search_private
import harness_trackers
from bastion_policy.model import Policy
from explorers import Data, Session, adult, explore, titanic

OFF = ("history", "linear_audit", "saturation")
SEEDS = range(3)
INTRODUCTION = """# What the guard costs and what it keeps
Written by `make utility-report` from fixed seeds; [guard.md](guard.md) says what is promised. Nothing on this page is
measured with the product's own audit: populations are found out from the released numbers and the data, and what follows from
them is computed by elimination modulo a prime and by singular values (`tests/support/harness_algebra.py`).
"""


def row(cells: Iterable[object]) -> str:
    """Return a row of a table."""
    return "| " + " | ".join(str(c) for c in cells) + " |"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    return "\n".join([row(head), "|" + "---|" * len(head), *map(row, rows)]) + "\n"


def percent(value: float) -> str:
    """Return a share in percent."""
    return f"{100 * value:.1f}%"


# -- explorers


def explorers(queries: int, on_adult: int) -> str:
    """Return what random explorers are shown, and who follows."""
    text = f"""## Explorers
Random sessions of {queries} queries of titanic and {on_adult} of adult.csv.gz: 0- to 3-way tables with up to two filters, a count and mostly a mean of one column, k = 10,
default profile, one history per session, unsafe cells left out (`Suppress`). *Cells* are numbers about at least 10 people (who
have a value): shown as themselves (the same population again included), answered as a stored population, inside the remainder
row, or hidden. *Recovered*: people whose value follows exactly from all answers together / groups of 2 to 9 people whom no answer
tells apart / cells of fewer than 10 people / hidden cells. The same session without the history and the audit is beside it.
The goals: at least 90% shown or in a remainder row, at most 5% hidden, nobody and no cell of few people recovered. A hidden cell that
is recovered was withheld for its values, or follows from what was answered before it was asked.
Where a goal is missed, `tests/attacks/test_harness_explorers.py` says why: of adult, seed 1, all means of age of one table, which is known, of
people whom hours of work chose, are withheld for their bits (74 cells).

"""
    head = ["data, seed", "cells", "themselves", "stored", "of them k or more away", "remainder", "hidden", "seconds"]
    head += ["recovered", "by singular values", "recovered without the rules"]
    rows, unexplained = [], 0
    data: list[Data] = [titanic()]
    more = adult() if on_adult else None
    data += [more] if more is not None else []
    for source in data:
        for seed in SEEDS:
            start = time.perf_counter()
            count = queries if source.name == "titanic" else on_adult
            session = explore(source, seed, count)
            without = explore(source, seed, count, weaken=OFF)
            unexplained += len(session.unexplained) + len(without.unexplained)
            shares = [percent(session.share(o)) for o in ("own", "merged", "remainder", "hidden")]
            shares.insert(2, str(sum(d >= session.k for d in session.distances)))
            cells = [f"{source.name}, {seed}", sum(session.outcomes.values()), *shares, f"{session.seconds:.1f}"]
            rows.append([*cells, _recovered(session), session.by_svd(), _recovered(without)])
            print(rows[-1], f"{time.perf_counter() - start:.0f} s", flush=True)
    text += table(head, rows)
    if more is None:
        text += "\nadult.csv.gz was not there, or not asked for.\n"
    return text + f"\nNumbers for which no population was found: {unexplained}.\n"


def _recovered(session: Session) -> str:
    found = session.recovered()
    return f"{found.people} / {found.groups} / {found.small} / {found.hidden}"


# -- attacks


def trackers(worlds: int) -> str:
    """Return what trackers, covers and margins get."""
    text = f"""## Trackers, covers, margins
{worlds} random worlds of 40 to 120 people per attack ({worlds // 4} of the long session), k = 5, in each a target whom the attacker knows by
all quasi columns. *Got*: worlds in which the target's value (or the smallest cell of the margins) was obtained by combining all
answers; in brackets, worlds in which anybody's value follows for one who knows of whom each answer really is.

"""
    policies = {
        "default": harness_trackers.default(),
        "strict": harness_trackers.strict(),
        "snap rule alone": harness_trackers.default(("linear_audit", "saturation")),
        "audit alone": harness_trackers.default(("history",)),
        "without both": harness_trackers.default(OFF),
    }
    rows = []
    for name in harness_trackers.ATTACKS:
        count = worlds // 4 if name == "everything" else worlds
        cells: list[object] = [name.replace("_", " ")]
        for policy in policies.values():
            found = harness_trackers.run(name, range(count), policy)
            cells.append(f"{len(found.got)} ({len(found.people)}) of {found.worlds}")
        rows.append(cells)
        print(cells, flush=True)
    return text + table(["attack", *policies], rows)


def dominated(worlds: int) -> str:
    """Return what is learnt of cells that one person dominates."""
    text = f"""## Dominated cells
A cell of about 20 people of whom one makes up nearly all of the sum, which is withheld; {worlds} worlds per way around it. Worlds in which
its sum follows exactly from answers that pass, for an attacker who asked for the cell before / who never did.

"""
    policies = {
        "default": harness_trackers.default(),
        "strict": harness_trackers.strict(),
        "without the rules": harness_trackers.default((*OFF, "dominance")),
    }
    rows = []
    for name in harness_outliers.WAYS:
        cells: list[object] = [name.replace("_", " ")]
        for policy in policies.values():
            got = [len(harness_outliers.run(name, range(worlds), policy, curious=c).got) for c in (True, False)]
            cells.append(f"{got[0]} / {got[1]} of {worlds}")
        rows.append(cells)
        print(cells, flush=True)
    return text + table(["way", *policies], rows)


def reconstruction(seeds: int) -> str:
    """Return how well bits are guessed."""
    text = f"""## Reconstruction of a Boolean column
80 people who all differ in the quasi columns, half of whom have the secret; sums over random halves of the table; guessing is right
for 50%. Share of bits that are right by least squares / by a mixed-integer program (2 seconds), mean of {seeds} worlds; in brackets, the
answers that are independent. This is what exact answers cannot prevent: the rank budget slows it. Use `Policy.private`.
Strict answers are rounded, and the attacker is told of whom they are.

"""
    counts = (10, 20, 40, 80)
    policies = {
        "open": Policy.open(),
        "audit without its budget": harness_reconstruction.default(("saturation",)),
        "default": harness_reconstruction.default(),
        "strict": harness_reconstruction.strict(),
    }
    rows = []
    for name, policy in policies.items():
        runs = [harness_reconstruction.reconstruct(s, policy, counts, patience=2.0) for s in range(seeds)]
        cells: list[object] = [name]
        for at in range(len(counts)):
            one, two, rank = (
                float(np.mean([getattr(r[at], n) for r in runs])) for n in ("least_squares", "integers", "rank")
            )
            cells.append(f"{100 * one:.0f}% / {100 * two:.0f}% ({rank:.0f})")
        rows.append(cells)
        print(cells, flush=True)
    for epsilon in (1.0, 10.0):
        found = [np.mean([harness_private.reconstruct(s, epsilon, c) for s in range(seeds)]) for c in counts]
        rows.append([f"private, epsilon {epsilon:g} in all", *(f"{100 * f:.0f}%" for f in found)])
    return text + table(["policy", *(f"{c} asked" for c in counts)], rows)


def averaging(worlds: int) -> str:
    """Return what many wordings give."""
    text = f"""## Averaging
{len(harness_averaging.WORDINGS)} wordings of one question, and the same set with a known person in or out of it, in {worlds} worlds.

"""
    rows: list[list[object]] = []
    for name, policy in {
        "default": harness_trackers.default(),
        "strict": harness_trackers.strict(),
        "without history and audit": harness_trackers.default(OFF),
    }.items():
        found = harness_averaging.average(range(worlds), policy)
        errors = f"{100 * np.mean(found.error):.2f}% / {100 * np.mean(found.averaged):.2f}%"
        rows.append(
            [
                name,
                max(found.same),
                f"{found.withheld} of {found.questions}",
                max(found.near),
                f"{found.told} of {worlds}",
                errors,
            ]
        )
    text += table(
        ["policy", "different answers to a question, at most", "withheld", "answers per set and its neighbours, at most", "worlds in which the change told a salary",
         "error of one answer / of the mean of all"], rows,
    )  # fmt: skip
    errors = [f"{harness_private.averaged_error(1.0, m, 200):.2f}" for m in (1, 4, 16)]
    return text + (
        f"\nUnder `Policy.private(epsilon=1)` a plan's noise is drawn once and given again. The error of a count as the mean of 1, 4 and "
        f"16 plans that share the budget: {', '.join(errors)} people.\n"
    )


def membership(worlds: int) -> str:
    """Return how well members are told."""
    many = 8 * worlds

    def area(found: float, tested: int) -> str:
        # of so many unseen members and as many others (Hanley and McNeil 1982)
        a = min(max(found, 1 - found), 1 - 1e-9)
        spread = a * (1 - a) + (tested - 1) * (a / (2 - a) + 2 * a * a / (1 + a) - 2 * a * a)
        return f"{found:.2f} ± {2 * (spread / tested**2) ** 0.5:.2f}"

    text = f"""## Membership
Whether a known person is among 60, told by a logistic regression on the answers to 8 tables ({worlds} worlds of each kind under the
exact policies, {many} with noise; half of them to learn from): area under the curve, 0.5 is guessing, with twice its standard error. The
stranger knows the person's record only; the insider knows everybody else's, too, against which exact answers do not help.

"""
    rows: list[list[object]] = []
    for name, policy in {
        "open": Policy.open(),
        "default": harness_membership.default(),
        "strict": harness_membership.strict(),
    }.items():
        found = harness_membership.membership(policy, worlds)
        rows.append([name, area(found.stranger, worlds // 2), f"{found.insider:.2f}", ""])
    for epsilon in (1.0, 5.0):
        noisy = harness_private.membership(epsilon, many, strangers=many)
        rows.append(
            [
                f"private, epsilon {epsilon:g} in all",
                area(noisy.stranger, many // 2),
                area(noisy.insider, many // 2),
                f"{noisy.most:.2f}",
            ]
        )
    return text + table(["policy", "stranger", "insider", "no test can exceed"], rows)


def searching(cases: int) -> str:
    """Return what a search over random plans finds."""
    text = """## Search
Random plans of all registered functions, alone or a few together, each asked in worlds that differ in one person's secret and in
everybody else's. A finding is a session of which some released number, or difference or ratio of two, an outcome or an error, follows
the secret however the others are drawn. Under the private profile plans are drawn until as many are taken; each is measured before noise
with one person and without, whose values may be far beyond the bounds and who may have several rows, and a finding is a plan by
which that person can be told by more than its price (`tests/support/harness_search_private.py`).

"""
    rows = []
    for name, policy, count in (
        ("default", harness_search.default(), cases),
        ("without history and audit", harness_search.default(OFF), cases // 10),
        ("open", harness_search.open_policy(), cases // 10),
    ):
        found = harness_search.search(range(count), policy)
        rows.append([name, found.cases, found.answered, len(found.findings)])
        print(rows[-1], flush=True)
    noisy = harness_search_private.search(range(cases))
    rows.append(["private", noisy.plans, noisy.answered, len(noisy.findings)])
    return text + table(["policy", "sessions", "with an answer", "findings"], rows)


def main(arguments: Sequence[str]) -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--queries", type=int, default=40, help="of an explorer's session")
    parser.add_argument("--worlds", type=int, default=200, help="per tracker")
    parser.add_argument("--cases", type=int, default=1000, help="of the search")
    parser.add_argument("--adult", type=int, default=40, help="queries of adult.csv.gz; 0 leaves it out")
    parser.add_argument("--only", nargs="*", help="sections, by name; the file's other sections stay as they are")
    given = parser.parse_args(arguments)
    sections: dict[str, Callable[[], str]] = {
        "Explorers": lambda: explorers(given.queries, given.adult),
        "Trackers": lambda: trackers(given.worlds),
        "Dominated": lambda: dominated(max(4, given.worlds // 8)),
        "Reconstruction": lambda: reconstruction(5),
        "Averaging": lambda: averaging(max(4, given.worlds // 4)),
        "Membership": lambda: membership(max(40, given.worlds // 2)),
        "Search": lambda: searching(given.cases),
    }
    old = _sections(given.path)
    for name, write in sections.items():
        if given.only and name.lower() not in [o.lower() for o in given.only]:
            continue
        start = time.perf_counter()
        old[name] = write()
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        given.path.write_text(INTRODUCTION + "\n" + "\n".join(old[n] for n in sections if n in old))


def _sections(path: Path) -> dict[str, str]:
    """Return the sections of a report that is there already, by the first word of their titles."""
    if not path.exists():
        return {}
    parts = path.read_text().split("\n## ")[1:]
    return {p.split(None, 1)[0].strip(","): "## " + p.rstrip("\n") + "\n" for p in parts}


if __name__ == "__main__":
    main(sys.argv[1:])
