"""The linear audit holds the known attacks, its capacity and its stored form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bastion_plan.errors import InputError, ServerError
from bastion_policy.audit import AuditRules, AuditState, Capacity, Clearance, Row, decode, encode, partition
from bastion_policy.audit.primes import HIGH, LOW, Weights, draw, is_prime, product
from bastion_policy.audit.space import Space

SEED = b"seed of the tests"
ALL = np.arange(100)


def start(units: int = 100, **rules) -> AuditState:
    return AuditState.start(units, AuditRules(**{"k": 10, "share": None} | rules), SEED)


def released(state: AuditState, *rows: Row) -> AuditState:
    for row in rows:
        verdict = state.consider([row])
        assert verdict.cleared, verdict.rule
        state = state.commit(verdict)
    return state


def test_individual_tracker() -> None:
    """Everybody minus everybody but the target."""
    state = released(start(), Row.of(ALL))
    verdict = state.consider([Row.of(ALL[1:])])
    assert (verdict.clearance, verdict.rule, verdict.state) == (Clearance.REFUSED, "unit", None)


def test_three_cover() -> None:
    """A|B + B|C + A|C - 2 (A|B|C without t) with t in one of them: no two differ by fewer than k units."""
    a, b, c = ALL[:20], ALL[20:40], ALL[40:60]
    state = released(start(), Row.of(np.r_[a, b]), Row.of(np.r_[b, c]), Row.of(np.r_[a, c]))
    assert state.consider([Row.of(np.r_[a, b, c][1:])]).rule == "unit"
    assert state.consider([Row.of(np.r_[a, b, c])]).cleared


def test_additive_tracker() -> None:
    """(A and t) + ... : A|t + B - A|B gives t, though no pair of them is close."""
    a, b, t = ALL[:30], ALL[30:60], 99
    state = released(start(), Row.of(np.r_[a, t]), Row.of(np.r_[a, b]))
    assert state.consider([Row.of(b)]).rule == "unit"


def test_complementary_suppression_with_margins() -> None:
    """Two by two cells: margins and three cells give the hidden fourth."""
    cells = [ALL[:40], ALL[40:70], ALL[70:95], ALL[95:]]
    rows, columns = (np.r_[cells[0], cells[1]], np.r_[cells[2], cells[3]]), (np.r_[cells[0], cells[2]],)
    state = released(start(), Row.of(rows[0]), Row.of(rows[1]), Row.of(columns[0]))
    assert not state.consider([Row.of(cells[0])], hidden=[Row.of(cells[3])]).cleared
    # a hidden cell of many people (hidden by dominance) is protected as well, now and later
    large = [ALL[:40], ALL[40:60], ALL[60:80], ALL[80:]]
    state = released(start(), Row.of(np.r_[large[0], large[1]]), Row.of(np.r_[large[2], large[3]]))
    state = state.commit(state.consider([], hidden=[Row.of(large[3])]))
    state = released(state, Row.of(np.r_[large[1], large[3]]))
    assert state.consider([Row.of(large[2])]).rule == "suppressed"
    assert state.consider([Row.of(large[1])]).rule == "suppressed"
    assert decode(encode(state), state.rules).consider([Row.of(large[2])]).rule == "suppressed"


def test_hidden_cell_that_is_known_already_is_told() -> None:
    state = released(start(), Row.of(ALL[:50]), Row.of(ALL))
    verdict = state.consider([Row.of(ALL[:25])], hidden=[Row.of(ALL[50:])])
    assert verdict.cleared and verdict.exposed == (0,)


@pytest.mark.parametrize("pairs", [False, True])
def test_pair_with_an_insider(pairs: bool) -> None:
    """The insider 50 knows the own value; the difference of two tables of 13 gives the neighbour's, 51."""
    state = released(start(pairs=pairs), Row.of(np.r_[ALL[:12], 50]))
    assert state.consider([Row.of(np.r_[ALL[:12], 51])]).rule == "support"
    assert state.consider([Row.of(ALL[:12])]).rule == "unit"


def test_equal_set_is_free_and_a_nearly_equal_one_is_not() -> None:
    state = released(start(), Row.of(ALL[:50]))
    again = state.consider([Row.of(ALL[:50])])
    assert again.cleared and again.state is state
    assert state.consider([Row.of(ALL[:50], np.full(50, 7.25))]).state is state
    assert state.consider([Row.of(ALL[:45])]).rule == "atom"
    assert state.consider([Row.of(ALL[:40])]).cleared


def test_weights_are_exact() -> None:
    """0.1 is the fraction that float64 holds: the same weights cancel, others do not."""
    weights = np.r_[np.full(50, 0.1), 0.3]
    state = released(start(), Row.of(ALL[:51], weights))
    assert state.consider([Row.of(ALL[:50])]).rule == "unit"
    assert state.consider([Row.of(ALL[:51], weights * np.nan)]).rule == "weights"
    assert state.consider([Row.of(ALL[:51], np.full(51, 2**53 + 1))]).rule == "weights"
    big = Weights(draw(SEED)).residues(np.array([1e300, 5e-324, -0.1, 3.0]), 0)
    assert (np.abs(big) < HIGH).all() and big[3] == 3 and (big != 0).all()


def test_partition_and_release_in_order() -> None:
    cells = partition(ALL, ALL // 25)
    assert [r.units.size for r in cells] == [25] * 4
    found = start().releasable([*cells, Row.of(ALL[:24]), Row.of(ALL[:5]), Row.of(ALL)])
    assert found.accepted == (0, 1, 2, 3, 6)
    assert {i: v.rule for i, v in found.refused.items()} == {4: "unit", 5: "population"}
    assert found.base.commit(found).rank == 4


def test_commit_takes_only_the_state_that_was_asked() -> None:
    state = start()
    one, two = state.consider([Row.of(ALL)]), state.consider([Row.of(ALL[1:])])
    after = state.commit(one)
    with pytest.raises(ServerError):
        after.commit(two)
    with pytest.raises(ServerError):
        after.commit(after.consider([Row.of(ALL[1:])]))


def test_rank_budget_and_reserved_margins() -> None:
    state = AuditState.start(100, AuditRules(k=10, share=0.05), SEED)
    state = state.commit(state.reserve(partition(ALL, ALL // 34)))
    assert state.rank == 3
    rows = [Row.of(ALL[i : i + 30]) for i in (10, 45)]
    rules = [state.consider([r]).rule for r in rows] + [state.consider(rows).rule]
    assert "saturation" in rules
    assert state.consider([Row.of(ALL)]).cleared  # a margin stays answerable


def test_leverage_cap() -> None:
    weights = np.r_[np.ones(40), 30.0]
    assert start(tau=0.5).consider([Row.of(ALL[:41], weights)]).rule == "leverage"
    assert start().consider([Row.of(ALL[:41], weights)]).cleared
    assert start(tau=0.1).consider([Row.of(ALL[:10])]).cleared


@pytest.mark.parametrize(
    ("capacity", "rule"),
    [({"atoms": 2}, "atoms"), ({"rank": 1}, "rank"), ({"entries": 2}, "entries"), ({"batch": 1}, "batch")],
)
def test_beyond_capacity_is_no_clearance(capacity: dict[str, int], rule: str) -> None:
    state = start(capacity=replace(Capacity(), **capacity))
    verdict = state.consider([Row.of(ALL[:50]), Row.of(ALL[20:80])])
    assert (verdict.clearance, verdict.rule, verdict.state) == (Clearance.BEYOND_CAPACITY, rule, None)


def test_doubt_is_no_clearance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The primes do not agree on what is independent: what was cleared before is refused, alone and among others."""
    state, rows = released(start(), Row.of(ALL)), [Row.of(ALL[:50])]
    assert state.consider(rows).cleared
    monkeypatch.setattr(Space, "enter", lambda *_: None)
    verdict = state.consider(rows)
    assert (verdict.clearance, verdict.rule, verdict.state) == (Clearance.REFUSED, "doubt", None)
    found = state.releasable(rows)
    assert found.accepted == ()
    assert [v.rule for v in found.refused.values()] == ["doubt"]
    assert found.base.rank == state.rank


def test_units_beyond_capacity_and_units_that_do_not_exist() -> None:
    small = AuditState.start(100, AuditRules(capacity=Capacity(units=50)), SEED)
    assert small.consider([Row.of(ALL[:20])]).clearance is Clearance.BEYOND_CAPACITY
    assert start().consider([Row.of(np.arange(90, 120))]).clearance is Clearance.BEYOND_CAPACITY


def test_new_units_join_the_untouched() -> None:
    state = released(start(), Row.of(ALL)).grown(20)
    assert state.atoms.sizes.tolist() == [100, 20]
    assert state.consider([Row.of(np.arange(101))]).rule == "unit"
    assert state.consider([Row.of(np.arange(120))]).cleared
    assert state.grown(5).atoms.sizes.tolist() == [100, 25]


def test_stored_form_survives_and_refuses_damage() -> None:
    rng = np.random.default_rng(3)
    state = start(400)
    for _ in range(6):
        state = state.releasable([Row.of(rng.random(400) < 0.5), Row.of(ALL[:90], rng.random(90))]).state
    text = encode(state)
    again = decode(text, state.rules)
    assert encode(again) == text and again.rank == state.rank > 3
    for row in (Row.of(np.arange(399)), Row.of(np.arange(200))):
        assert again.consider([row]).clearance is state.consider([row]).clearance
    for bad in (b"", text[:-1], text[:40] + bytes([text[40] ^ 1]) + text[41:]):
        with pytest.raises(ServerError):
            decode(bad, state.rules)
    with pytest.raises(ServerError):
        decode(text, replace(state.rules, capacity=Capacity(rank=2)))


def test_memory_is_what_is_stated() -> None:
    rng = np.random.default_rng(4)
    state = start(2_000)
    state = state.commit(state.consider([Row.of(rng.random(2_000) < 0.5) for _ in range(50)]))
    atoms = state.atoms.sizes.size
    assert state.size <= 4 * 2_000 + 50 * atoms * 13


def test_arithmetic_is_exact() -> None:
    primes = draw(SEED)
    assert len(set(primes)) == 3 and all(is_prime(p) and LOW < p < HIGH for p in primes)
    rng = np.random.default_rng(5)
    for prime in primes:
        left, right = (rng.integers(-(prime // 2), prime // 2 + 1, s) for s in ((7, 600), (600, 50)))
        exact = (left.astype(object) @ right.astype(object)) % prime
        assert (product(left.astype(float), right.astype(float), prime).astype(np.int64) % prime == exact).all()


@pytest.mark.parametrize("units", [[3, 2], [1, 1], [-1, 2]])
def test_malformed_populations_are_errors(units: list[int]) -> None:
    with pytest.raises(InputError):
        Row.of(units)
