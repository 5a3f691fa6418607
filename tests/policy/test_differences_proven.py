"""What sums prove of a difference, rows do not deny, and rows are judged by the rules as they are written down."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from bastion_policy.boundary import Guard
from bastion_policy.judge_differences import Judge, Numbers, _numbers, _sums
from bastion_policy.policy import Effective
from hypothesis import assume, event, given
from hypothesis import strategies as st

GUARDS = (Guard.SUM, Guard.SQUARES, Guard.PRODUCTS)
#: numbers a column may hold; with two values, and with some far above the others
COLUMNS = (
    *([0.0, 1.0], [2.0, 5.0], [0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 5.0, 10.0]),
    *([-4.0, 0.0, 3.0, 4.0], [-8.0, *[0.0] * 6, 5.0], [-3.0, -1.0], [7.0]),
)
#: shares and p are exact in binary, so that they are the same as fractions
RULES = (
    Effective("guarded", 3, p=0.125),
    Effective("guarded", 2, p=0.125, shares=((2, 0.875),)),
    Effective("guarded", 4, p=0.5, shares=((1, 0.5), (2, 0.875))),
    Effective("guarded", 3, shares=((1, 0.5),)),
    Effective("guarded", 3),
)


@dataclass
class Case:
    """A judge, and who is in which of two populations."""

    judge: Judge
    more: Any
    less: Any


@st.composite
def cases(draw: st.DrawFn, *, nested: bool) -> Case:
    size = draw(st.integers(4, 60))
    per_person = draw(st.sampled_from([1, 1, 2, 3]))
    people = np.array(draw(st.lists(st.integers(0, max(0, size // per_person)), min_size=size, max_size=size)))
    if per_person == 1:
        people = np.arange(size)
    guard = draw(st.sampled_from(GUARDS))
    numbers = [draw(columns(size)) for _ in range(2 if guard is Guard.PRODUCTS else draw(st.sampled_from([1, 1, 2])))]
    most = int(np.bincount(people).max())
    place = np.array(draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
    less = place == 0
    more = (place != 2) if nested else (place == 1)
    judge = Judge(guard, numbers, people, most, draw(st.sampled_from(RULES)))
    return Case(judge, np.flatnonzero(more).astype(np.int32), np.flatnonzero(less).astype(np.int32))


@st.composite
def columns(draw: st.DrawFn, size: int) -> Numbers:
    values = draw(st.sampled_from(COLUMNS))
    missing, gone = draw(st.sampled_from([(0, 0), (0, 0), (3, 0), (0, 3), (2, 2)]))
    kinds = st.sampled_from([*values] * 6 + [np.nan] * missing + [np.inf] * gone)
    value = np.array(draw(st.lists(kinds, min_size=size, max_size=size)))
    here = ~np.isinf(value)
    value[~here] = np.nan
    low = draw(st.sampled_from([None, min(values), min(values) - 1]))
    high = draw(st.sampled_from([None, max(values), max(values) + 2]))
    return _numbers(value, here, low, high, draw(st.sampled_from([0, 1, 3])))


@given(cases(nested=True))
def test_what_sums_prove_no_row_denies(case: Case) -> None:
    judge = case.judge
    proven = proves(judge, case.more, case.less)
    event("proven" if proven else "not proven")
    if proven:
        assert judge.failing(np.setdiff1d(case.more, case.less), np.zeros(0, np.int32)) is None


def proves(judge: Judge, more: Any, less: Any) -> bool:
    mine, theirs = (
        _sums([None if f is None else f[items] for f in judge.features], np.zeros(items.size, int), 1)
        for items in (more, less)
    )
    return bool(judge.proven(mine - theirs, np.abs(mine) + np.abs(theirs))[0])


def test_products_are_proven_by_those_who_have_both() -> None:
    """Ten have both numbers, one of whom stands out; forty others have the one number or the other, far apart."""
    there = np.array([1.0, 2.0] * 5 + [0.0, 1000.0] * 20)
    one, two = np.append(there, np.full(40, np.nan)), np.append(there[:10], np.full(80, np.nan))
    one[9], two[50:] = 1000.0, [0.0, 1000.0] * 20
    numbers = [_numbers(x, np.ones(90, bool), 0.0, 1000.0, 0) for x in (one, two)]
    judge = Judge(Guard.PRODUCTS, numbers, np.arange(90), 1, Effective("guarded", 3, p=0.125))
    assert judge.failing(np.arange(90, dtype=np.int32), np.zeros(0, np.int32)) == "leverage"
    assert not proves(judge, np.arange(90), np.zeros(0, int))


def test_products_of_a_column_of_one_value_are_not_proven() -> None:
    numbers = [_numbers(x, np.ones(40, bool), 0.0, None, 0) for x in (np.zeros(40), np.array([0.0, 1.0] * 20))]
    judge = Judge(Guard.PRODUCTS, numbers, np.arange(40), 1, Effective("guarded", 3, p=0.125))
    assert judge.failing(np.arange(40, dtype=np.int32), np.zeros(0, np.int32)) == "leverage"
    assert not proves(judge, np.arange(40), np.zeros(0, int))


@given(cases(nested=False))
def test_rows_are_judged_by_the_rules_as_they_are_written_down(case: Case) -> None:
    found = case.judge.failing(case.more, case.less)
    expected = rules_failed(case.judge, case.more.tolist(), case.less.tolist())
    event(str(found))
    assert (found is None and not expected) or found in expected


# -- the rules, slowly and exactly


def rules_failed(judge: Judge, more: list[int], less: list[int]) -> set[str]:
    """Return the rules that a difference fails."""
    items = [(i, True) for i in more] + [(i, False) for i in less]
    gone = {int(judge.people[i]) for i, _ in items if not all(x.here[i] for x in judge.numbers)}
    known = [(i, m) for i, m in items if all(x.here[i] and not np.isnan(x.value[i]) for x in judge.numbers)]
    if len({int(judge.people[i]) for i, _ in known}) + len(gone) < judge.effective.k:
        return set()
    overlap = bool(more and less)
    failed = set()
    if overlap and 0 < len(gone) < judge.effective.k:
        # those who left may stand on either side: a third group that takes the one side out must not show the other
        for sides in ((more, []), ([], less)):
            if len({int(judge.people[i]) for side in sides for i in side}) >= judge.effective.k:
                failed |= rules_failed(judge, *sides)
    for x in judge.numbers:
        values = [(int(judge.people[i]), Fraction(float(x.value[i])), m) for i, m in known]
        if x.least and not_enough_differ(x, values, overlap):
            failed.add("homogeneity")
        low, high = Fraction(x.low), None if x.high is None else Fraction(x.high)
        top = Fraction(x.top) if 0 < len(gone) < judge.effective.k else None
        ends = [[(p, v - low) for p, v, _ in values]]
        if high is not None:
            ends.append([(p, high - v) for p, v, _ in values])
        if high is not None and overlap:
            ends.append([(p, v - low if m else high - v) for p, v, m in values])
            ends.append([(p, high - v if m else v - low) for p, v, m in values])
        mean = sum(v for _, v, _ in values) / Fraction(len(values)) if values else Fraction(0)
        squares = [(p, (v - mean) ** 2) for p, v, _ in values]
        worst = None if top is None else top * top
        if judge.guard is Guard.PRODUCTS:
            for others in either(worst):
                each = of_people(squares) + others
                if not sum(each) or clearly(max(each) * judge.effective.k, sum(each)):
                    failed.add("leverage")
            continue
        if judge.guard is Guard.SQUARES and any(
            dominated(judge, of_people(squares) + others, inexact=True) for others in either(worst)
        ):
            failed.add("dominance")
        if any(dominated(judge, of_people(end) + others) for end in ends for others in either(top)):
            failed.add("dominance")
        # seen from 0, where values may lie on both of its sides: what a person's rows come to, those of the other population taken off
        if low < 0:
            sums = [
                sum((v if m else -v for q, v, m in values if q == p), Fraction(0)) for p in {p for p, _, _ in values}
            ]
            reach = None if top is None else max(-low, low + top)
            if any(dominated(judge, [abs(x) for x in sums] + others) for others in either(reach)):
                failed.add("dominance")
    return failed


def either(top: Fraction | None) -> list[list[Fraction]]:
    """Of those who are gone: all had nothing, or one had all there is."""
    return [[]] if top is None else [[], [top]]


def of_people(values: list[tuple[int, Fraction]]) -> list[Fraction]:
    found: dict[int, Fraction] = {}
    for person, value in values:
        found[person] = found.get(person, Fraction(0)) + abs(value)
    return list(found.values())


def dominated(judge: Judge, each: list[Fraction], *, inexact: bool = False) -> bool:
    """Whether few of these people make up too much of what all of them add."""
    each, total, e = sorted(each, reverse=True), sum(each), judge.effective
    over = clearly if inexact else lambda one, two: one > two
    if not total:
        return False
    if any(over(sum(each[:n]), Fraction(share) * total) for n, share in e.shares):
        return True
    return e.p is not None and over(Fraction(e.p) * each[0], sum(each[2:]))


def clearly(one: Fraction, two: Fraction) -> bool:
    """Whether a number is above another one; cases in which rounding decides are left out."""
    assume(one == two == 0 or abs(one - two) > Fraction(1, 10**9))
    return one > two


def not_enough_differ(x: Numbers, values: list[tuple[int, Fraction, bool]], overlap: bool) -> bool:
    """Whether fewer than `least` people hold anything but one value, as they are or seen from opposite ends."""
    ends = x.two if x.two is not None else (x.low, x.high) if x.high is not None else None
    views = [[(p, v) for p, v, _ in values]]
    if overlap and ends is not None:
        turn = Fraction(ends[0]) + Fraction(ends[1])
        views.append([(p, v if m else turn - v) for p, v, m in values])
    people = {p for p, _, _ in values}
    for view in views:
        for value in {v for _, v in view} | {Fraction(-(10**6))}:
            if sum(any(v != value for p, v in view if p == person) for person in people) < x.least:
                return True
    return False
