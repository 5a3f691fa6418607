"""Every attack on record against a live server, under each profile, and once more with its defending rule switched off.

What is asserted is that the secret is not obtained, not that an error was raised; and that it is, without the rule.
All are played by `make test-all` and `make attack-report`; those not of the fixed sample are marked slow, so that
`pytest --collect-only -m "not slow" tests/attacks/wire` names what `make test` plays.
"""

from __future__ import annotations

import pytest
from attack_list import ATTACKS, FAMILIES, NAMED, PROFILES, by_family, sample
from wire_arena import HARMLESS, Arena
from wire_worlds import N, unnamed

import bastion.expressions as pl

SAMPLE = sample()
NAMES = [pytest.param(a.name, marks=() if a.name in SAMPLE else pytest.mark.slow, id=a.name) for a in by_family()]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_the_secret_is_not_obtained(arena: Arena, name: str, profile: str) -> None:
    attack = ATTACKS[name]
    played = arena.play(attack, profile)
    if profile in attack.reached:
        assert played.got, "the documented limit does not hold any more: write it down as stopped"
        return
    assert not played.got, f"{attack.what} Told: {played.told}"


@pytest.mark.parametrize("name", NAMES)
def test_the_secret_is_obtained_without_the_rule(arena: Arena, name: str) -> None:
    attack = ATTACKS[name]
    played = arena.play(attack, attack.off)
    assert played.got, f"{attack.what} Missed: {played.missed}; told: {played.told}"


@pytest.mark.parametrize("profile", PROFILES)
def test_harmless_questions_are_answered(arena: Arena, profile: str) -> None:
    """A server that answers nothing would hold every attack."""
    with arena.attacker(ATTACKS[HARMLESS], profile, 0) as scientist:
        people = scientist.value(scientist.T.select(pl.len()), who="b")
        mean = scientist.value(scientist.T.select(pl.col("salary").mean()), who="b")
    far = {"default": 1e-9, "strict": 0.02, "private": 0.5}[profile]
    assert people == pytest.approx(N, rel=far)
    assert mean == pytest.approx(unnamed(0)["salary"].mean(), rel=far)


def test_there_are_enough_attacks_of_every_family() -> None:
    assert len(ATTACKS) >= 500
    assert {a.family for a in ATTACKS.values()} == set(FAMILIES)


def test_the_sample_has_every_rule_of_every_family() -> None:
    assert len(SAMPLE) >= 130
    assert set(ATTACKS) >= NAMED
    assert {(a.family, a.rule) for a in ATTACKS.values()} == {(ATTACKS[n].family, ATTACKS[n].rule) for n in SAMPLE}
