"""What was released is remembered when the server is stopped, or killed, and started again."""

from __future__ import annotations

import pytest
from attack_list import ATTACKS
from wire_arena import Arena, minus
from wire_worlds import AGE, SECRETS, SEX

import bastion.expressions as pl

mine, target = pl.col("sex") == SEX, pl.col("age") == AGE
SALARY = float(SECRETS[0]["salary"])  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_difference_across_a_restart(tmp_path_factory: pytest.TempPathFactory, how: str) -> None:
    attack = ATTACKS["half_minus_one"]
    before, after = {}, {}
    with Arena(tmp_path_factory.mktemp("restarted"), [attack.name]) as arena:
        for found, condition in ((before, mine), (after, mine & ~target)):
            for setting in ("default", "strict", "private", "history"):
                with arena.attacker(attack, setting, 0) as scientist:
                    found[setting] = scientist.value(scientist.T.filter(condition).select(pl.col("salary").sum()))
            if not after:
                arena.restart(how)
    got = {s: minus(before[s], after[s]) for s in before}
    assert got.pop("history") == pytest.approx(SALARY)
    assert set(got) == {"default", "strict", "private"}
    for profile, difference in got.items():
        assert difference != pytest.approx(SALARY, rel=1e-3), profile
