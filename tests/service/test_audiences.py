"""Who counts as one, on a real server: policies may change it as long as nothing that anybody was told is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars
import pytest
from bastion_plan.canonical import encode
from bastion_plan.errors import ServerError
from bastion_policy.model import Policy as Rules
from bastion_server import start
from bastion_server.service.audiences import check, settle
from bastion_wire import messages as m
from in_process import OPEN, Asked, with_service
from query import Q

import bastion.policy as bp
from bastion import BastionError, Connection, Denied, Identity, pl

N = 200
PEOPLE = polars.DataFrame(
    {"id": range(N), "age": [20 + i % 50 for i in range(N)], "pay": [1000.0 + (i * 37) % 500 for i in range(N)]}
)
TARGET = 7
PAY = PEOPLE["pay"][TARGET]
YOUNG = PEOPLE.filter(polars.col("age") < 45)["pay"].sum()
ROLES = {"id": "quasi", "age": "quasi", "pay": bp.measure(0, 2000)}
young = pl.col("age") < 45
near = young & (pl.col("id") != TARGET)


class Place:
    """A server with some people. Each test has a unit domain and tables of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.test = folder, 0
        self.olga = Identity.create("olga")
        self.users = {name: Identity.create(name) for name in ("alice", "bob", "carol")}
        self.start()

    def start(self) -> None:
        self.server = start(self.folder, owners=[self.olga], users=list(self.users.values()))
        connect = [self.olga, *self.users.values()]
        self.open = {
            i.name: Connection(self.server.endpoint, identity=i, server_key=self.server.server_key) for i in connect
        }
        self.owner = self.open["olga"]

    def stop(self) -> None:
        for connection in self.open.values():
            connection.close()
        self.server.stop()

    def name(self, name: str) -> str:
        return f"{name}-{self.test}"

    def policy(self, **changes: Any) -> bp.Policy:
        fields: dict[str, Any] = {"unit": "id", "unit_domain": f"people-{self.test}", "roles": ROLES}
        return bp.Policy(bp.Aggregation(10), bp.Review(), **(fields | changes))

    def send(self, name: str, *, replace: bool = False, **changes: Any) -> None:
        self.owner.client.polars.send_df(PEOPLE, self.policy(**changes), name=self.name(name), replace=replace)

    def change(self, name: str, **changes: Any) -> None:
        self.owner.set_policy(self.name(name), self.policy(**changes))

    def told(self, who: str, name: str, condition: Any) -> float | None:
        """The sum of pay that leaves, if any."""
        frame = self.open[who].dataset(self.name(name)).filter(condition)
        try:
            table = frame.select(pl.col("pay").sum()).fetch()
        except Denied:
            return None
        return table["pay"][0] if table.height else None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    found = Place(tmp_path_factory.mktemp("audiences") / "server")
    yield found
    found.stop()


@pytest.fixture
def place(running: Place) -> Place:
    running.test += 1
    return running


def refused(call: Any) -> BastionError:
    with pytest.raises(BastionError) as caught:
        call()
    assert caught.value.code == "policy.audience"
    return caught.value


def test_a_history_goes_on_when_the_policy_gets_audiences(place):
    place.send("people")
    assert place.told("alice", "people", young) == YOUNG
    place.change("people", audiences={"team": ["alice", "bob"]})
    assert place.told("alice", "people", near) == YOUNG, "the difference is one person's pay"
    assert place.told("bob", "people", near) == YOUNG, "he knows what she was told"
    place.change("people", audiences={"crew": ["alice", "bob", "carol"]})
    assert place.told("carol", "people", near) == YOUNG, "an audience under another name, and with more members"
    place.stop()
    place.start()
    assert place.told("carol", "people", near) == YOUNG


def test_a_history_goes_on_in_a_second_table_whose_policy_has_audiences(place):
    place.send("people")
    assert place.told("alice", "people", young) == YOUNG
    place.send("again", audiences={"team": ["alice", "bob"]})
    for table in ("again", "people"):
        for who in ("alice", "bob"):
            assert place.told(who, table, near) in (None, YOUNG)
    assert place.told("carol", "again", near) == YOUNG - PAY, "was told nothing before"


def test_an_audience_of_one_table_is_one_in_all_tables_of_these_people(place):
    place.send("people")
    place.send("again", audiences={"team": ["alice", "bob"]})
    place.send("third", audiences={"team": ["carol"]})
    assert place.told("alice", "people", young) == YOUNG
    for who in ("bob", "carol"):
        assert place.told(who, "people", near) == YOUNG


def test_different_histories_are_never_put_together(place):
    place.send("people")
    assert place.told("alice", "people", young) == YOUNG
    assert place.told("bob", "people", near) == YOUNG - PAY, "another audience"
    one = {"team": ["alice", "bob"]}
    error = refused(lambda: place.change("people", audiences=one))
    assert (
        error.message == "audiences.team: 'alice' and 'bob' were told different things about these people, each alone."
    )
    assert error.reason == "What was released to each would be forgotten by the other."
    assert error.next_step.startswith(
        "Keep them apart, or upload the table under another name and in another unit domain"
    )
    assert place.owner.dataset(place.name("people")).dataset.facts.policy.audiences is None
    refused(lambda: place.send("again", audiences=one))
    refused(lambda: place.send("people", replace=True, audiences=one))
    assert place.name("again") not in {card.facts.name for card in place.owner.cards()}
    assert place.owner.dataset(place.name("people")).dataset.facts.version == 1
    assert place.told("alice", "people", near) == YOUNG
    place.send("apart", audiences=one, unit_domain=f"others-{place.test}")
    place.change("people", audiences={"team": ["alice", "carol"]})
    assert place.told("carol", "people", near) == YOUNG


def test_who_shared_a_history_is_not_put_apart(place):
    together = {"team": ["alice", "bob"]}
    place.send("people", audiences=together)
    assert place.told("alice", "people", young) == YOUNG
    for other in (None, {"team": ["alice"]}, {"team": ["alice", "carol"]}, {"a": ["alice"], "b": ["bob"]}):
        error = refused(lambda other=other: place.change("people", audiences=other))
        assert error.message.endswith(
            "'alice' and 'bob' were told the same about these people, and the policy puts them apart."
        )
        assert (
            error.reason == "What one of an audience was told the others know; histories of their own would forget it."
        )
        assert '= ["alice", "bob"] }' in error.next_step
        assert "use the access list (allow)" in error.next_step
    refused(lambda: place.send("people", replace=True))
    place.send("again")
    place.owner.client.polars.delete_df(place.name("people"))
    assert place.told("bob", "again", near) in (None, YOUNG), "what one table's policy said holds when it is gone"
    error = refused(lambda: place.send("third"))
    assert 'Write audiences = { team = ["alice", "bob"] }' in error.next_step
    place.send("third", audiences=together)
    place.owner.set_policy(place.name("third"), allow=["alice"])
    assert place.name("third") not in {card.facts.name for card in place.open["bob"].cards()}


def test_the_line_of_the_audience_is_named(place):
    place.send("people")
    for who in ("alice", "bob"):
        place.told(who, "people", young)
    text = 'unsafe = "review"\n[safe_zone]\naggregation = 10\n[audiences]\nteam = ["alice", "bob"]\n'
    error = refused(lambda: place.owner.set_policy(place.name("people"), text))
    assert error.message.startswith("Line 5 of policy.toml: audiences.team: ")
    assert error.details["line"] == 5


def test_who_was_told_nothing_is_put_together_and_apart(place):
    place.send("people", audiences={"team": ["alice", "bob"]})
    place.change("people", audiences={"team": ["alice", "carol"], "rest": ["bob"]})
    place.change("people")
    assert place.told("alice", "people", young) == YOUNG
    assert place.told("bob", "people", near) == YOUNG - PAY
    place.change("people", roles={**ROLES, "age": "public"})


def test_what_was_approved_counts_for_who_joins(place):
    place.send("people")
    rows = place.open["alice"].dataset(place.name("people")).filter(near)
    with pytest.raises(Denied) as denied:
        rows.select(pl.col("pay").sum(), pl.col("pay").first().alias("p")).fetch()
    request = denied.value.request("for the report")
    place.owner.approve(request.id)
    told = denied.value.wait(60)["pay"][0]
    place.change("people", audiences={"team": ["alice", "bob"]})
    assert place.told("bob", "people", young) == told, "answered as what was approved"


def test_edges_go_on_too(place):
    """Eight questions at a threshold are answered to an audience, whatever its policy says meanwhile."""
    place.send("people")
    place.change("people", audiences={"team": ["alice", "bob"]})
    answered, rules = 0, set()
    for i in range(12):
        if i == 5:
            place.change("people", audiences={"crew": ["alice", "bob", "carol"]})
        who = ("alice", "bob")[i % 2]
        frame = place.open[who].dataset(place.name("people"))
        some = frame.filter(pl.col("pay") > 1490 + i / 7, pl.col("age") < 30 + i).select(pl.len())
        try:
            some.fetch()
            answered += 1
        except Denied as error:
            rules.add(error.rule)
    assert (answered, rules) == (8, {"edge-budget"})


def test_a_budget_that_is_spent_stays_spent(place):
    rules = bp.Policy.private(epsilon=2.0, delta=1e-6, unit="id", roles=ROLES)
    rules = msgspec.structs.replace(rules, unit_domain=f"people-{place.test}")
    name, other = place.name("noisy"), place.name("noisy too")
    place.owner.client.polars.send_df(PEOPLE, rules, name=name)

    def ask(who: str, table: str, above: int) -> polars.DataFrame:
        return place.open[who].dataset(table).filter(pl.col("age") > above).select(pl.len()).fetch(epsilon=1.5)

    first = ask("alice", name, 20)
    spent = place.owner.budget().filter(datasets=name)["spent"].item()
    assert spent > 1.4
    together = msgspec.structs.replace(rules, audiences={"team": ("alice", "bob")})
    place.owner.set_policy(name, together)
    assert place.owner.budget().filter(datasets=name)["spent"].item() == spent
    place.owner.client.polars.send_df(PEOPLE, together, name=other)
    for who in ("alice", "bob"):
        for table in (name, other):
            with pytest.raises(Denied) as denied:
                ask(who, table, 30)
            assert denied.value.rule == "guard.budget.spent"
    place.owner.set_policy(name, rules)
    with pytest.raises(Denied):
        ask("alice", name, 30)
    assert first.height == 1
    (team,) = place.owner.exposure(name).message.audiences
    assert team.members == ("alice", "bob"), "the second table's policy puts them together"


def test_the_owner_reads_of_one_audience(place):
    place.send("people")
    assert place.told("alice", "people", young) == YOUNG
    place.change("people", audiences={"team": ["alice", "bob"]})
    place.told("bob", "people", young)
    (found,) = place.owner.exposure(place.name("people")).message.audiences
    assert (found.audience, found.members, found.answers) == ("@team", ("alice", "bob"), 2)
    place.send("again")
    place.told("bob", "again", young)
    (found,) = place.owner.exposure(place.name("again")).message.audiences
    assert found.members == ("alice", "bob"), "by the other table's policy"


# -- in process: what happens at once, and who has lost their key

RULES = msgspec.structs.replace(Rules.default(), unit="row", roles={"a": bp.measure(0, 100)})
TEAM = msgspec.structs.replace(RULES, audiences={"team": ("alice", "bob")})


def question(dataset: str, limit: int) -> m.Query:
    return m.Query(encode(Q(dataset).filter(pl.col("a") < limit).select(pl.col("a").sum()).plan))


def told(asked: Asked) -> bool:
    return any(isinstance(answer, m.Table) for answer in asked.answers)


def changing(service: Any, dataset: str, policy: Rules) -> None:
    before = service.store.datasets.get(dataset).facts
    with service.store.transaction():
        facts = before.with_policy(policy)
        settle(service.store, facts, service.known, before)
        service.store.datasets.set_facts(facts, by="olga", now=2.0)


def test_a_question_that_runs_while_the_audiences_change_is_not_answered(tmp_path):
    async def use(service, dataset):
        keep = service.queries.histories.keep

        async def meanwhile(history):
            changing(service, dataset, TEAM)
            await keep(history)

        service.queries.histories.keep = meanwhile
        asked = Asked(question(dataset, 50), "alice")
        with pytest.raises(ServerError) as caught:
            await service.handle(asked)
        assert caught.value.code == "server.history.stale"
        assert not told(asked)
        service.queries.histories.keep = keep
        asked = Asked(question(dataset, 50), "alice")
        await service.handle(asked)
        assert told(asked)
        assert service.store.histories.audiences(dataset) == ("@team",)
        assert service.store.audiences.asked(dataset) == {"alice": "@team", "bob": "@team"}

    asyncio.run(with_service(tmp_path, use, policy=RULES))


@pytest.mark.parametrize("policy", [RULES, OPEN], ids=["guarded", "open"])
def test_who_has_two_histories_of_an_earlier_release_is_told_what_needs_none(tmp_path, policy):
    async def use(service, dataset):
        with service.store.transaction(), service.store.database.transaction() as connection:
            connection.execute("INSERT INTO audiences VALUES (?, 'alice', '!alice')", (dataset,))
        asked = Asked(question(dataset, 50), "alice")
        if policy is RULES:
            with pytest.raises(BastionError) as caught:
                await service.handle(asked)
            assert caught.value.code == "policy.audience"
            assert service.store.audit.show(limit=1)[-1].summary == "failed: policy.audience"
        else:
            await service.handle(asked)
        assert told(asked) is (policy is OPEN)
        other = Asked(question(dataset, 50), "bob")
        await service.handle(other)
        assert told(other)

    asyncio.run(with_service(tmp_path, use, policy=policy))


def test_who_lost_their_key_need_not_be_listed_and_still_shares_the_history(tmp_path):
    async def use(service, dataset):
        changing(service, dataset, TEAM)
        await service.handle(Asked(question(dataset, 50), "alice"))
        facts = service.store.datasets.get(dataset).facts.with_policy(RULES)
        refused(lambda: check(service.store, facts, lambda name: True))
        service.known = lambda name: name != "bob"
        changing(service, dataset, RULES)
        assert service.store.audiences.with_(dataset, "bob") == ("alice", "bob"), "should he come back"

    asyncio.run(with_service(tmp_path, use, policy=RULES))
