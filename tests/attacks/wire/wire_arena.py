"""The server under attack, its owner, the tables under each policy, and the attackers."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import msgspec
import polars
import zmq
from attack_list import ATTACKS, Attack, right
from bastion_plan.canonical import encode
from bastion_plan.nodes import Node
from bastion_policy.model import Aggregation, Log, Policy, Review, Suppress, TrueRule
from bastion_policy.policy import WEAKENABLE
from bastion_policy.roles import Role, RoleKind
from bastion_server import start
from bastion_wire import messages as m
from query import Q
from wire_line import Line
from wire_without import RULES, python
from wire_worlds import EVERYBODY_ELSE, SECRETS, TABLES, role_of

from bastion import Connection, Identity

EPSILON = 0.5
HARMLESS = "plain_rows"  #: the attack whose identities ask harmless questions, too
#: tries of an attack without its defending rule: one success shows that it is one
TRIES = 3
ROUNDS = 8  #: how often in a row a guess must be right in both worlds where answers are noisy
_AUDIT = ("history", "linear_audit", "saturation")


def policy_of(setting: str, roles: dict[str, Role], unit: str) -> Policy:
    """Return the policy of a profile or switch."""
    zone, review = Aggregation(10), Review()
    match setting:
        case "default" | "leverage" | "squares" | "alone" | "shared" | "strangers" | "self" | "approved":
            return Policy(zone, review, unit=unit, roles=roles)
        case "strict":
            return Policy(zone, Suppress(), unit=unit, roles=roles, profile="strict")
        case "private":
            return msgspec.structs.replace(Policy.private(epsilon=EPSILON, unit=unit), roles=roles)
        case "open":
            return Policy(TrueRule(), Log(), unit=unit, roles=roles)
        case "names":
            return Policy(TrueRule(), Log(), unit=unit, roles=roles | {"name": Role(RoleKind.QUASI)})
        case "k":
            return Policy(Aggregation(1), review, unit=unit, roles=roles, weaken=tuple(WEAKENABLE))
        case "dominance" | "homogeneity":
            return Policy(zone, review, unit=unit, roles=roles, weaken=(setting,))
        case "history":
            return Policy(zone, review, unit=unit, roles=roles, weaken=_AUDIT)
        case "unit":
            return Policy(zone, review, unit="row", roles=roles)
    raise AssertionError(setting)


class Arena:
    """One server with all tables. A context manager.

    without: the rule that its server leaves out.
    """

    def __init__(self, folder: Path, names: Sequence[str] = (), without: str = "") -> None:
        self.folder, self.names, self.without = folder, names, without
        self._beside: dict[str, Arena] = {}
        self.olga, self.oscar = Identity.create("olga"), Identity.create("oscar")
        self.people = {
            f"{name}-{i}": Identity.create(f"{name.replace('_', '-')}-{i}"[:60])
            for name in names or ATTACKS
            for i in "ab"
        }
        # written as the owner's shell would; adding them one by one reads all of them each time
        keys = folder / "keys" / "users"
        keys.mkdir(mode=0o700, parents=True)
        for who in self.people.values():
            (keys / f"{who.name}.pub").write_text(who.public.to_text())
        with patch.object(sys, "executable", python(without, folder) if without else sys.executable):
            self.server = start(folder, owners=[self.olga, self.oscar])
        self.context: zmq.Context[Any] = zmq.Context()
        self.owner = Connection(self.server.endpoint, identity=self.olga, server_key=self.server.server_key)
        self._second: Connection | None = None
        self._tables: dict[tuple[Any, ...], str] = {}
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for arena in self._beside.values():
            arena.__exit__()
        self._hang_up()
        self.context.destroy(linger=0)
        self.server.stop()

    def restart(self, how: str = "stop") -> None:
        """Stop the server, or kill it as a power cut would, and start it again on its directory."""
        folder = self.server.directory
        self._hang_up()
        self.server.kill() if how == "kill" else self.server.stop()
        self.server = start(folder)
        self.owner = Connection(self.server.endpoint, identity=self.olga, server_key=self.server.server_key)

    @property
    def second(self) -> Connection:
        """Another owner, of tables of their own; in league with the attacker."""
        if self._second is None:
            self._second = Connection(self.server.endpoint, identity=self.oscar, server_key=self.server.server_key)
        return self._second

    def _hang_up(self) -> None:
        self.owner.close()
        if self._second is not None:
            self._second.close()
            self._second = None

    def upload(self, setting: str, frame: polars.DataFrame, unit: str, **changes: Any) -> tuple[str, str]:
        """Upload a table under a policy; return its id and name."""
        self._count += 1
        roles = {c: role_of(c) for c in frame.columns}
        policy = msgspec.structs.replace(policy_of(setting, roles, unit), **changes)
        name = f"table-{self._count}"
        sent = self.owner.client.polars.send_df(frame, policy, name=name)
        return sent.dataset_id, name

    def table(self, setting: str, world: int, name: str, key: object = None) -> tuple[str, str]:
        """Return id and name of one of the worlds' tables, uploaded at its first use; a fresh one for each key."""
        place = (setting, world, name, key)
        if place not in self._tables:
            make, unit = TABLES[name]
            self._tables[place] = self.upload(setting, make(world), unit)  # type: ignore[assignment]
        return self._tables[place]  # type: ignore[return-value]

    def attacker(self, attack: Attack, setting: str, world: int, turn: int = 0) -> Attacker:
        """Return a fresh attacker: an identity that has asked nothing of these tables yet."""
        return Attacker(self.of(setting), attack, setting, world, turn)

    def of(self, setting: str) -> Arena:
        """Return where a setting is played: beside a server of its own where it takes a rule out."""
        if setting not in RULES or setting == self.without:
            return self
        if setting not in self._beside:
            folder = self.folder.with_name(f"{self.folder.name}-without-{setting}")
            self._beside[setting] = Arena(folder, self.names, setting)
        return self._beside[setting]

    def play(self, attack: Attack, setting: str) -> Played:
        """Play an attack until it fails, or has been right in both worlds (ROUNDS times where answers are noisy).

        Without its rule it has some tries: last digits depend on threads, and clocks on what else runs.
        """
        for _ in range(TRIES - 1 if setting == attack.off else 0):
            played = self._play(attack, setting)
            if played.got:
                return played
        return self._play(attack, setting)

    def _play(self, attack: Attack, setting: str) -> Played:
        if setting == "private" and not attack.own:
            # most plans are refused before any noise is drawn: tables of one's own are for those that are not
            first = self._turn(attack, setting, -1, 0)
            if first.missed and first.told and not any("answered" in t or "epsilon" in t for t in first.told):
                return first
        # a number to six digits is no guess: without its rule an attack shows that once
        worlds = (0,) if setting == attack.off and not isinstance(attack.truth[0], bool) else (0, 1)
        told: list[str] = []
        for turn in range(ROUNDS if setting == "private" else 1):
            for world in worlds:
                played = self._turn(attack, setting, turn, world)
                told += played.told
                if played.missed:
                    return Played(False, tuple(told), played.missed)
        return Played(True, tuple(told), None)

    def _turn(self, attack: Attack, setting: str, turn: int, world: int) -> Played:
        with self.attacker(attack, setting, world, turn) as attacker:
            found = attack.run(attacker)
        got = right(attack, world, found)
        return Played(got, tuple(attacker.told), None if got else (world, found))


@dataclass(frozen=True)
class Played:
    """How an attack went. told: what the server said, in codes; missed: the world and the wrong guess."""

    got: bool
    told: tuple[str, ...]
    missed: tuple[int, Any] | None


@dataclass
class Attacker:
    """A scientist who is after one person's secret. A context manager: it hangs up."""

    arena: Arena
    attack: Attack
    setting: str
    world: int
    turn: int = 0
    asked: int = 0
    told: list[str] = field(default_factory=list)
    lines: dict[str, Line] = field(default_factory=dict)
    others: polars.DataFrame = field(default_factory=lambda: EVERYBODY_ELSE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self.lines.values():
            line.close()

    # -- tables

    @property
    def key(self) -> object:
        """Tables of one's own where the attack changes them or spends what all share (not in turn -1)."""
        return (self.attack.name, self.turn) if self.attack.own or self.noisy else None

    @property
    def noisy(self) -> bool:
        """Whether answers cost epsilon, of which these tables have some left."""
        return self.setting == "private" and (self.turn >= 0 or self.attack.own)

    def table(self, name: str) -> Q:
        """Return one of the worlds' tables as a plan."""
        return Q(self.arena.table(self.setting, self.world, name, self.key)[0])

    @property
    def T(self) -> Q:
        """The table of people."""
        return self.table("people")

    def upload(self, frame: polars.DataFrame, unit: str = "id", **changes: Any) -> tuple[str, str]:
        """The owner uploads a further table under the same policy; returns its id and name."""
        return self.arena.upload(self.setting, frame, unit, **changes)

    @property
    def secret(self) -> dict[str, object]:
        """The secrets of this world (for what the owner does, never for the attacker)."""
        return SECRETS[self.world]

    # -- asking

    def identity(self, who: str = "a") -> Identity:
        """Return an identity of this attack: "a" or "b"."""
        return self.arena.people[f"{self.attack.name}-{who}"]

    def line(self, who: str = "a") -> Line:
        """Return the session of an identity of this attack."""
        if who not in self.lines:
            server = self.arena.server
            self.lines[who] = Line(self.arena.context, server.endpoint, server.server_key, self.identity(who))
        return self.lines[who]

    def say(self, body: Any, who: str = "a") -> Any:
        """Send any message; return the body of its answer."""
        answer = self.line(who).ask(body)[0]
        if isinstance(answer, m.Failed):
            self.told.append(f"failed: {answer.code}")
        return answer

    def ask(self, plan: Q | Node, who: str = "a") -> polars.DataFrame:
        """Return the answer, else its safe part, else an empty table."""
        node = plan.plan if isinstance(plan, Q) else plan
        # where answers are paid for, the first two get nearly all there is
        self.asked += 1
        body, table = self.line(who).query(node, epsilon=0.45 * EPSILON if self.noisy and self.asked <= 2 else 0.0)
        if isinstance(body, m.Denial):
            self.told.append(f"{body.outcome}: {body.rule}")
            if body.has_safe_part:
                body, table = self.line(who).query(node, "safe_part")
        if isinstance(body, m.Failed):
            self.told.append(f"failed: {body.code}")
        if table is not None:
            self.told.append("answered")
        return table if table is not None else polars.DataFrame()

    def failed(self, plan: Q) -> bool:
        """Whether the server says that the plan failed, which no denial is."""
        body, _ = self.line().query(plan.plan)
        self.told.append(f"failed: {body.code}" if isinstance(body, m.Failed) else "answered or denied")
        return isinstance(body, m.Failed)

    def value(self, plan: Q, column: str | None = None, who: str = "a") -> Any:
        """Return the only value of an answer, None where there is none."""
        table = self.ask(plan, who)
        if not table.height or not table.width:
            return None
        return table[column or table.columns[0]][0]

    # -- asking the owner

    @property
    def thief(self) -> str:
        """Who uses what identity "a" was given: somebody else, unless the binding is switched off."""
        return "a" if self.setting == "self" else "b"

    def approve(self, plan: Q, seconds: float = 0.0, **grant: Any) -> bool:
        """File a request for a plan, which the owner approves at once; False where it cannot be filed.

        seconds: how long the approval holds; 0 for once.
        """
        filed = self.say(m.RequestAccess(encode(plan.plan), "for the study"))
        if not isinstance(filed, m.Request):
            return False
        if seconds:
            grant["until"] = time.time() + seconds
        self.arena.owner.approve(filed.info.id, **grant)
        return True

    def approved(self, plan: Q, **grant: Any) -> polars.DataFrame:
        """Return the answer that the owner approved, else an empty table."""
        return (
            self.ask(plan) if self.setting in ("open", "names") or self.approve(plan, **grant) else polars.DataFrame()
        )

    def again(self, plan: Q) -> polars.DataFrame:
        """Ask for what was not approved; where that rule is off the owner approves it too."""
        return self.approved(plan) if self.setting == "approved" else self.ask(plan)

    def replace(self, frame: polars.DataFrame) -> None:
        """The owner uploads a new version of the table of people."""
        _, name = self.arena.table(self.setting, self.world, "people", self.key)
        self.arena.owner.client.polars.send_df(frame, name=name, replace=True)

    def tells(self, make: Any) -> bool:
        """Whether the answers differ between two thresholds that have the target's salary between them, or not."""
        one, two = self.ask(make(81_000.0)), self.ask(make(82_000.0))
        return not one.equals(two)


def values(table: polars.DataFrame, name: str) -> list[Any]:
    """Return a column as a list, empty where there is none."""
    return table[name].to_list() if name in table.columns else []


def where(table: polars.DataFrame, column: str, value: Any, wanted: str) -> Any:
    """Return the value of `wanted` in the row where `column` is `value`, None where there is none."""
    if column not in table.columns or wanted not in table.columns:
        return None
    found = table.filter(polars.col(column) == value)[wanted]
    return found[0] if len(found) else None


def minus(one: Any, *rest: Any) -> Any:
    """Return a difference, None where a part is missing."""
    return None if one is None or any(r is None for r in rest) else one - sum(rest)
