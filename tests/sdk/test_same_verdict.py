"""The verdict a scientist sees before anything runs is the server's own: on generated plans, under policies of every kind.

What the client knows comes through the wire (cards of datasets, as this identity may see them), and so do the plans.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import polars as pl
import pytest
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.canonical import decode, encode
from bastion_plan.errors import BastionError
from bastion_plan.expressions import Alias, Call, Column
from bastion_policy.facts import DatasetFacts, column_facts
from bastion_policy.model import Policy, from_toml
from bastion_server.channel.keys import Principal
from bastion_server.service.catalogue import Catalogue, MemoryFiles
from bastion_server.service.queries import QueryService
from bastion_server.service.uploads import seal
from bastion_server.store import Datasets, Store
from bastion_server.workers import memfd
from bastion_server.workers.pool import WorkerPool
from bastion_wire import messages as m
from bastion_wire.codec import decode_reply, decode_request, encode_reply, encode_request
from fake_session import fake_connection
from generators import random_expression

from bastion.client.frames import RemoteLazyFrame
from bastion.policy import Aggregation, AtLeastNOf, FalseRule, Reject, Review, TrueRule, UserId

SAMPLE = 16 * int(os.environ.get("BASTION_FUZZ_CASES", "25"))
ALL = 10_000
WHO = ("alice", "bob", "carol", "eve")
PEOPLE = pl.DataFrame(
    {
        "id": range(60),
        "name": [f"n{i}" for i in range(60)],
        "age": [float(20 + i % 40) for i in range(60)],
        "class": [i % 3 for i in range(60)],
        "sex": ["m" if i % 2 else "f" for i in range(60)],
        "ok": [i % 5 == 0 for i in range(60)],
        "day": [date(2024, 1, 1 + i % 28) for i in range(60)],
    }
)
_ROLES = """
[roles]
id = "identifier"
name = "hidden"
age = { role = "measure", lower = 0, upper = 100 }
class = "quasi"
sex = "quasi"
ok = "sensitive"
day = "public"
"""
POLICIES = {
    "default": 'unsafe = "review"\nunit = "id"\n[safe_zone]\naggregation = 10\n',
    "roles": f'unsafe = "review"\nunit = "id"\n[safe_zone]\naggregation = 10\n{_ROLES}',
    "reject": f'unsafe = "reject"\nunit = "id"\n[safe_zone]\naggregation = 5\n{_ROLES}',
    "log": f'unsafe = "log"\nunit = "row"\n[safe_zone]\naggregation = 3\n{_ROLES}',
    "strict": f'profile = "strict"\nunsafe = "suppress"\nunit = "id"\n[safe_zone]\naggregation = 10\n{_ROLES}',
}


def policies() -> dict[str, Policy]:
    found = {name: from_toml(text) for name, text in POLICIES.items()}
    found["open"] = Policy.open()
    found["private"] = Policy.private(3.0, unit="id")
    found["closed"] = Policy(safe_zone=FalseRule(), unsafe_handling=Review())
    found["only alice"] = Policy(safe_zone=UserId("alice"), unsafe_handling=Reject())
    found["two of"] = Policy(
        safe_zone=AtLeastNOf(n=2, of=[UserId("alice"), UserId("bob"), Aggregation(10)]), unsafe_handling=Review()
    )
    found["reviewed for bob"] = Policy(
        safe_zone=Aggregation(20),
        unsafe_handling=Review(),
        review_zone=AtLeastNOf(n=1, of=[UserId("bob"), UserId("carol")]),
    )
    found["anything goes"] = Policy(safe_zone=TrueRule(), unsafe_handling=Reject())
    return found


class Both:
    """The client's verdict and the server's, of one set of datasets."""

    def __init__(self, service: QueryService, catalogue: Catalogue) -> None:
        self.service = service
        self.clients: dict[str, Any] = {}
        for who in WHO:
            principal = Principal(who, ("user",), "", b"")
            cards = tuple(catalogue.card(record, principal) for record in catalogue.visible(who).values())
            told = decode_reply(encode_reply(1, m.Datasets(cards))).body
            connection = fake_connection({}, flavour="async")
            connection._datasets = {card.facts.id: card for card in told.datasets}
            connection._identity = type("Known", (), {"name": who})()
            self.clients[who] = connection

    def here(self, plan: n.Node, who: str) -> Any:
        try:
            frame = RemoteLazyFrame(self.clients[who], plan)
            return frame.verdict, tuple(frame.plan_schema.items())
        except BastionError as error:
            return error.code

    async def there(self, plan: n.Node, who: str) -> Any:
        asked = decode_request(encode_request(1, m.Query(encode(plan), "explain"))).body
        try:
            subject, static = await self.service.subject(asked.plan, who)
        except BastionError as error:
            return error.code
        told = decode_reply(
            encode_reply(1, m.Explained(subject.plan_hash, static, tuple(subject.bound.schema.items())))
        ).body
        return told.verdict, told.schema


async def with_both(folder: Path, use: Callable[[Both], Any]) -> None:
    store = Store.open(folder, time.time())
    buffer = io.BytesIO()
    PEOPLE.write_ipc(buffer)
    try:
        async with await WorkerPool.start() as pool:
            async with await pool.acquire() as lease:
                found = await lease.register(memfd.sealed(buffer.getvalue()))
            for name, policy in policies().items():
                facts = DatasetFacts(
                    id=Datasets.new_id(), name=name, version=1, columns=column_facts(found.schema, found.facts, policy),
                    policy=policy, owner="olga",
                )  # fmt: skip
                store.datasets.add(
                    facts, found.facts, now=1.0, sealed=seal(store, found.file, found.size), allow=("*",)
                )
            catalogue = Catalogue(store)
            await use(Both(QueryService(store, pool, MemoryFiles(store, 0), catalogue, None, None), catalogue))  # type: ignore[arg-type]
    finally:
        store.close()


def random_plan(rng: Random, facts: dict[str, DatasetFacts]) -> n.Node:
    """Return a plan over one or two datasets that binds, mostly; of one to four steps."""
    plan: Any = n.Scan(rng.choice(sorted(facts)))
    for _ in range(rng.randint(1, 4)):
        for _ in range(12):
            try:
                schema = bind(plan, facts).schema
                larger = _step(rng, plan, schema, facts)
                bind(larger, facts)
            except BastionError:
                continue
            plan = larger
            break
    if rng.random() < 0.05:
        plan = n.Filter(plan, Column("nobody knows"))
    return plan


def _step(rng: Random, plan: Any, schema: Any, facts: dict[str, DatasetFacts]) -> Any:
    names = list(schema)

    def column() -> Column:
        return Column(rng.choice(names))

    def made(i: int) -> Alias:
        return Alias(random_expression(rng, schema, rng.randint(1, 3)), f"x{i}")

    def statistic(i: int) -> Alias:
        function = rng.choice(
            ["sum", "mean", "min", "max", "median", "std", "var", "count", "n_unique", "first", "len"]
        )
        call = Call("pl.len") if function == "len" else Call(function, (column(),))
        return Alias(call, f"s{i}")

    some = range(rng.randint(1, 2))
    match rng.randrange(12):
        case 0 | 1 | 2:
            return n.GroupBy(plan, tuple(column() for _ in some), tuple(statistic(i) for i in some))
        case 3 | 4:
            return n.Select(plan, tuple(statistic(i) for i in some))
        case 5:
            return n.Select(plan, tuple(made(i) for i in some))
        case 6:
            return n.WithColumns(plan, tuple(made(i) for i in some))
        case 7:
            return n.Filter(plan, random_expression(rng, schema, 2))
        case 8:
            return n.Filter(plan, Call("gt", (column(), Column(rng.choice(names)))))
        case 9:
            return rng.choice([n.Sort(plan, (column(),)), n.Reverse(plan), n.Slice(plan, 0, rng.randint(0, 9))])
        case 10:
            key = column()
            return n.Join(
                plan, n.Scan(rng.choice(sorted(facts))), rng.choice(["inner", "left", "semi", "anti"]), (key,), (key,)
            )
        case _:
            return rng.choice(
                [n.Unique(plan, (column(),)), n.DropNulls(plan), n.WithRowIndex(plan, "row"), n.Sample(plan, 5)]
            )


async def compare(both: Both, cases: range) -> Counter[str]:
    """Compare verdicts, findings, columns, schemas and errors; return how often which outcome came."""
    seen: Counter[str] = Counter()
    for seed in cases:
        rng = Random(seed)
        who = rng.choice(WHO)
        facts = {key: card.facts for key, card in both.clients[who]._datasets.items()}
        plan = decode(encode(random_plan(rng, facts)))
        here, there = both.here(plan, who), await both.there(plan, who)
        assert here == there, (seed, who, plan)
        seen["error" if isinstance(here, str) else str(here[0].outcome)] += 1
    return seen


def run(folder: Path, cases: range) -> Counter[str]:
    seen: Counter[str] = Counter()

    async def use(both: Both) -> None:
        seen.update(await compare(both, cases))

    asyncio.run(with_both(folder, use))
    return seen


def test_the_clients_verdict_is_the_servers(tmp_path):
    seen = run(tmp_path, range(SAMPLE))
    assert seen["release"] > SAMPLE / 10
    assert seen["review"] > SAMPLE / 10
    assert seen["refuse"] > SAMPLE / 20
    assert seen["error"] < SAMPLE / 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_clients_verdict_is_the_servers_on_ten_thousand_plans(tmp_path):
    seen = run(tmp_path, range(1_000_000, 1_000_000 + ALL))
    assert sum(seen.values()) == ALL


def test_a_client_with_old_facts_is_found_out(tmp_path):
    """The comparison sees a difference where there is one."""

    async def use(both: Both) -> None:
        connection = both.clients["alice"]
        strict = next(c for c in connection._datasets.values() if c.facts.name == "reject")
        other = next(c for c in connection._datasets.values() if c.facts.name == "open")
        swapped = m.Dataset(_with(strict.facts, policy=other.facts.policy))
        connection._datasets = {**connection._datasets, strict.facts.id: swapped}
        plan = n.Slice(n.Scan(strict.facts.id), 0, 3)
        assert both.here(plan, "alice") != await both.there(plan, "alice")

    asyncio.run(with_both(tmp_path, use))


def _with(facts: DatasetFacts, **changes: Any) -> DatasetFacts:
    return msgspec.structs.replace(facts, **changes)
