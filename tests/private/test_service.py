"""The private profile through a real server: SDK, refusals, noise drawn once, budgets of all audiences, restarts, voids."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from bastion_plan.canonical import encode
from bastion_plan.errors import ServerError
from bastion_server import start
from bastion_server.process import Handle
from bastion_server.workers.lease import Lease
from bastion_wire import messages as m
from in_process import Asked, with_service
from query import Q

from bastion import BastionError, Connection, Denied, Identity
from bastion import pl as b
from bastion.policy import Aggregation, AtLeastNOf, DifferentialPrivacy, Log, Policy, Review, UserId, measure, quasi

ROLES = {
    "pid": "identifier", "group": quasi("a", "b", "c"), "town": "quasi", "income": measure(0, 100_000), "ill": "sensitive",
}  # fmt: skip


def people(count: int = 4_000) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    return pl.DataFrame(
        {
            "pid": np.arange(count),
            "group": rng.choice(["a", "b", "c"], count, p=[0.5, 0.3, 0.2]),
            "town": [*rng.choice(["north", "south"], count - 1), "hermitage"],
            "income": rng.normal(40_000, 12_000, count).clip(0, 100_000),
            "ill": rng.random(count) < 0.2,
        }
    )


@dataclass
class Place:
    folder: Path
    olga: Identity
    alice: Identity
    bob: Identity
    server: Handle

    def connect(self, who: Identity) -> Connection:
        return Connection(self.server.endpoint, identity=who, server_key=self.server.server_key)

    def restart(self, *, killed: bool = False) -> None:
        self.server.kill() if killed else self.server.stop()
        self.server = start(self.folder, owners=[self.olga], users=[self.alice, self.bob])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("private")
    olga, alice, bob = (Identity.create(name) for name in ("olga", "alice", "bob"))
    found = Place(folder, olga, alice, bob, start(folder, owners=[olga], users=[alice, bob]))
    yield found
    found.server.stop()


def table(place: Place, name: str, policy: Policy | None = None, frame: pl.DataFrame | None = None) -> None:
    policy = policy or Policy.private(epsilon=2.0, delta=1e-6, unit="pid", roles=ROLES)
    with place.connect(place.olga) as owner:
        owner.client.polars.send_df(people() if frame is None else frame, policy, name=name)


def test_a_query_is_answered_within_its_error_bars(place):
    table(place, "patients")
    with place.connect(place.alice) as alice:
        patients = alice.dataset("patients")
        query = patients.group_by("group").agg(b.len(), b.col("income").mean().alias("mean"), b.col("ill").sum())
        assert query.verdict.outcome == "release"
        estimate = query.summarize(epsilon=1.0)
        assert (estimate.noisy, estimate.cost, estimate.affordable, estimate.left) == (
            True,
            1.0,
            True,
            pytest.approx(2),
        )
        assert alice.budget()["spent"].to_list() == [0.0], "looking costs nothing"
        found = query.fetch(epsilon=1.0).sort("group")
        exact = people().group_by("group").agg(pl.len(), pl.col("income").mean().alias("mean"), pl.col("ill").sum())
        exact = exact.sort("group")
        assert found["group"].to_list() == ["a", "b", "c"]
        bars = dict(zip(estimate.bars["column"], estimate.bars["error"], strict=True))
        # three times the bar is six deviations: never
        for column in ("len", "ill"):
            assert (found[column].cast(pl.Int64) - exact[column].cast(pl.Int64)).abs().max() < 3 * bars[column]
        wide = 3 * bars["mean"] * 1_000 / exact["len"].min()
        assert (found["mean"] - exact["mean"]).abs().max() < wide
        assert (found["len"] != exact["len"]).any(), "there is noise"
        note = alice.last.note
        assert note.noisy
        assert note.cost == 1.0
        (budget,) = note.budget
        assert budget.datasets == ("patients",)
        assert budget.spent == pytest.approx(1.0, rel=1e-3)
        assert 1.6 < budget.left < 2, "squares are added up, not epsilons"
        from bastion.render.tables import text

        shown = text(found, note)
        assert "This answer cost epsilon 1." in shown
        assert f"Budget of patients: epsilon {budget.left:.3g} left of 2" in shown


def test_what_fails_whatever_the_rows_are_costs_nothing(place):
    table(place, "tried")
    with place.connect(place.alice) as alice:
        tried = alice.dataset("tried")
        for query in (
            tried.filter(b.col("town").str.slice(0, -2) == "no").select(b.len()),
            tried.group_by("group").agg(b.len()).select(b.col("group").str.slice(0, -1)),
            tried.select(b.col("pid").len(), b.col("income").cast(b.UInt8).clip(-5, 500).median()),
        ):
            with pytest.raises(BastionError) as refused:
                query.fetch()
            assert refused.value.code == "plan.call"
            assert refused.value.next_step
        assert alice.budget().filter(datasets="tried")["spent"].to_list() == [0.0]
        assert tried.select(b.len()).fetch(epsilon=0.1).height == 1
        grouped = tried.group_by("group").agg(b.len(), b.col("ill").sum())
        assert grouped.sample(2, seed=1).fetch(epsilon=0.1).height == 2, "of no rows there would be no sample"
        assert grouped.select(1 / (b.col("len") - 1)).fetch(epsilon=0.1).height == 3
        assert tried.group_by("town").agg(b.len()).sort("town").head(2).fetch(epsilon=0.1).height == 2


def test_people_of_four_tables_are_counted(place):
    roles = {"pid": "identifier", "x": measure(0, 2)}
    policy = Policy.private(2.0, 1e-6, unit="pid", max_rows=2, roles=roles)
    for name in "abcd":
        frame = pl.DataFrame({"pid": np.arange(2_000), "x": [1] * 2_000})
        table(place, f"of_{name}", msgspec.structs.replace(policy, unit_domain="four"), frame)
    with place.connect(place.alice) as alice:
        first, *others = (alice.dataset(f"of_{name}") for name in "abcd")
        for other in others:
            first = first.join(other.select("pid"), on="pid")
        assert abs(first.select(b.len()).fetch(epsilon=1.0).item() - 2_000) < 100


def test_asking_again_gives_the_same_noise_and_costs_nothing(place):
    table(place, "averaged")
    with place.connect(place.alice) as alice, place.connect(place.bob) as bob:
        query = alice.dataset("averaged").select(b.col("income").sum())
        first = query.fetch().item()
        again = {query.fetch().item() for _ in range(5)} | {query.fetch(epsilon=0.05).item()}
        assert again == {first}, "an average of repeated answers is the answer"
        assert query.summarize().cost == 0
        assert bob.dataset("averaged").select(b.col("income").sum()).fetch().item() == first, "whoever asks"
        assert alice.budget().filter(datasets="averaged")["answers"].to_list() == [1]


def test_the_budget_is_one_for_everybody_and_ends(place):
    table(place, "spent")
    with place.connect(place.alice) as alice, place.connect(place.bob) as bob:

        def fresh(connection, number):
            return connection.dataset("spent").filter(b.col("income") > number).select(b.len())

        fresh(alice, 1).fetch(epsilon=1.5)
        with pytest.raises(Denied) as denied:
            fresh(bob, 2).fetch(epsilon=1.5)
        assert denied.value.rule == "guard.budget.spent"
        assert denied.value.outcome == "refuse"
        reason = denied.value.reason
        assert reason.startswith("The privacy budget of spent does not suffice: epsilon 1.")
        assert reason.endswith("is left of 2, and this query would cost 1.5.")
        left = bob.budget().filter(datasets="spent")["left"].item()
        assert fresh(bob, 3).summarize(epsilon=1.5).affordable is False
        fresh(bob, 4).fetch(epsilon=left * 0.999)
        with pytest.raises(Denied) as denied:
            fresh(alice, 5).fetch()
        assert "ask again what was answered before" in denied.value.fix
        assert fresh(alice, 1).fetch().height == 1, "what was paid for stays"
        assert bob.budget().filter(datasets="spent")["spent"].item() <= 2.0


def test_twenty_at_once_never_overspend(place):
    table(place, "raced")
    with place.connect(place.alice) as alice, place.connect(place.bob) as bob:
        outcomes: list[str] = []

        def ask(connection, number):
            query = connection.dataset("raced").filter(b.col("income") > number).select(b.len())
            try:
                query.fetch(epsilon=0.9)
                outcomes.append("answered")
            except Denied as denied:
                outcomes.append(denied.rule)

        threads = [threading.Thread(target=ask, args=((alice, bob)[i % 2], i)) for i in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stands = alice.budget().filter(datasets="raced")
        assert stands["answers"].item() == outcomes.count("answered") == 4, "0.9 fits four times into 2, in squares"
        assert stands["spent"].item() <= 2.0
        assert set(outcomes) == {"answered", "guard.budget.spent"}


def test_saved_frames_are_paid_for_by_what_they_are_made_of(place):
    """Saving a table under another name buys nothing, whoever saved it."""
    policy = Policy.private(epsilon=2.0, delta=1e-6, unit="pid", roles=ROLES)
    table(place, "kept", msgspec.structs.replace(policy, savable=True))
    with place.connect(place.alice) as alice, place.connect(place.bob) as bob:
        saved = [
            connection.dataset("kept").filter(b.col("income") > i).save(f"kept by {connection.identity} {i}")
            for i, connection in enumerate((alice, alice, bob, bob, alice))
        ]
        for i, frame in enumerate(saved[:4]):
            if i % 2:  # a saved frame of a saved frame
                frame = frame.filter(b.col("income") > 10 + i).save(f"again {i}")
            frame.select(b.len()).fetch(epsilon=0.9)
        with pytest.raises(Denied, match="The privacy budget of kept does not suffice") as denied:
            saved[4].select(b.len()).fetch(epsilon=0.9)
        assert denied.value.rule == "guard.budget.spent"
        for connection in (alice, bob):
            budgets = connection.budget()
            (stands,) = budgets.filter(datasets="kept").to_dicts()
            assert (stands["answers"], stands["spent"] <= 2.0) == (4, True)
            assert not [names for names in budgets["datasets"] if "by alice" in names or "again" in names]


def test_nothing_is_measured_before_it_is_paid_for(tmp_path, monkeypatch):
    """A query that fits pays between its trial and its first look at the rows; one that does not is never run."""
    frame = pl.DataFrame({"x": [i % 2 for i in range(100)]})
    policy = Policy.private(epsilon=2.0, unit="row", roles={"x": measure(0, 1)})
    did: list[str] = []

    def noting(what, of):
        def note(self, *args, **options):
            did.append(what(self) if callable(what) else what)
            return of(self, *args, **options)

        return note

    holding: set[int] = set()

    async def bind(self, datasets, **options):
        holding.add(id(self))
        await bound(self, datasets, **options)

    async def use(service, dataset):
        ledger = type(service.store.ledger)
        monkeypatch.setattr(ledger, "spend", noting("pay", ledger.spend))
        for name in ("run", "run_to_file"):
            run = getattr(Lease, name)
            monkeypatch.setattr(Lease, name, noting(lambda at: "rows" if id(at) in holding else "no rows", run))

        async def ask(number, epsilon):
            did.clear()
            plan = Q(dataset).filter(b.col("x") > number).select(b.col("x").sum()).plan
            asked = Asked(m.Query(encode(plan), epsilon=epsilon), "alice")
            await service.handle(asked)
            (answer,) = asked.answers
            return answer

        assert isinstance(await ask(-1, 1.5), m.Table)
        assert did.index("pay") < did.index("rows")
        answer = await ask(-2, 1.5)
        assert isinstance(answer, m.Denial)
        assert answer.rule == "guard.budget.spent"
        assert did[-1] == "pay"
        assert "rows" not in did

    bound = Lease.bind
    monkeypatch.setattr(Lease, "bind", bind)
    asyncio.run(with_service(tmp_path, use, frame, policy))


def test_no_cell_at_all_is_an_empty_table(place):
    few = people(60).with_columns(pl.col("pid").alias("ward").cast(pl.String))
    policy = Policy.private(epsilon=2.0, delta=1e-6, unit="pid", roles=ROLES | {"ward": "quasi"})
    table(place, "wards", policy, few)
    with place.connect(place.alice) as alice:
        numbers = [b.col("ill").sum(), b.col("income").mean(), b.col("income").median().alias("middle"), b.len()]
        found = alice.dataset("wards").group_by("ward").agg(*numbers).fetch(epsilon=0.2)
        assert (found.height, found.columns) == (0, ["ward", "ill", "income", "middle", "len"])
        assert found["ill"].dtype.is_integer()


def test_keys_that_are_not_declared_are_named_only_where_many_are(place):
    table(place, "towns")
    with place.connect(place.alice) as alice:
        query = alice.dataset("towns").group_by("town").agg(b.len())
        found = query.fetch(epsilon=1.9)
        assert sorted(found["town"]) == ["north", "south"], "nobody learns of the hermit"
        assert "shown only where many people are in them" in " ".join(alice.last.note.notes)


@pytest.mark.parametrize(
    ("make", "rule", "words"),
    [
        (lambda t: t, "row-level", "single people's rows"),
        (lambda t: t.head(5).select(b.len()), "private-node", "first or last rows"),
        (lambda t: t.sort("income").head(5).select(b.col("income").sum()), "private-node", "first or last rows"),
        (lambda t: t.sample(5).select(b.len()), "private-node", "sample"),
        (lambda t: t.select(b.col("income").max()), "private-statistic", "max()"),
        (lambda t: t.with_columns(r=b.col("income").rank()).select(b.col("r").sum()), "private-function", "rank()"),
        (lambda t: t.with_columns(m=b.col("income").mean().over("group")).select(b.len()), "private-window", "over()"),
        (lambda t: t.join(t, on="pid").select(b.len()), "private-node", "appears twice"),
        (lambda t: t.filter(b.col("pid") == 3).select(b.col("income").sum()), "identifier", "identifies people"),
        (lambda t: t.select((b.col("income") ** b.col("income")).sum()), "private-function", "pow()"),
        (lambda t: t.group_by("group").agg(b.len()).select(b.len()), "", ""),
    ],
)
def test_what_cannot_be_answered_is_refused_for_nothing(place, make, rule, words):
    with place.connect(place.alice) as alice:
        query = make(alice.dataset("patients"))
        before = alice.budget().filter(datasets="patients")["spent"].item()
        if not rule:
            assert query.fetch().item() == 3, "the number of declared groups is public"
            return
        assert query.verdict.outcome == "refuse"
        assert query.summarize().noisy is False
        with pytest.raises(Denied) as denied:
            query.fetch()
        assert denied.value.rule == rule
        assert words in denied.value.reason
        assert alice.budget().filter(datasets="patients")["spent"].item() == before


@pytest.mark.parametrize("epsilon", [0, -1, float("nan"), float("inf"), "much"])
def test_an_epsilon_that_means_nothing(place, epsilon):
    with place.connect(place.alice) as alice:
        query = alice.dataset("patients").select(b.len())
        with pytest.raises(BastionError) as caught:
            query.fetch(epsilon=epsilon)
        assert caught.value.code == "input.epsilon"


@pytest.mark.parametrize("epsilon", [-1.0, 1e-12, 1e300])
def test_a_client_that_speaks_the_wire_gets_no_more(place, epsilon):
    """The server checks for itself; nothing of this is paid for but what an honest client may pay for."""
    with place.connect(place.alice) as alice:
        body = m.Query(encode(alice.dataset("patients").select(b.col("income").median()).plan), epsilon=epsilon)
        before = alice.budget().filter(datasets="patients")["spent"].item()
        answer = alice._run(alice._open_session.query(body, None))
        assert isinstance(answer, m.Denial)
        assert answer.rule in ("epsilon", "guard.budget.spent")
        assert alice.budget().filter(datasets="patients")["spent"].item() == before


def test_spending_survives_a_restart_and_a_kill(place):
    table(place, "durable")
    with place.connect(place.alice) as alice:
        first = alice.dataset("durable").select(b.len()).fetch(epsilon=0.5).item()
    place.restart()
    with place.connect(place.alice) as alice:
        assert alice.budget().filter(datasets="durable")["spent"].item() == pytest.approx(0.5, rel=1e-3)
        assert alice.dataset("durable").select(b.len()).fetch().item() == first
    place.restart(killed=True)
    with place.connect(place.alice) as alice:
        assert alice.budget().filter(datasets="durable")["answers"].item() == 1


def test_a_crash_between_payment_and_answer_stays_paid(place):
    """The server is killed as soon as the payment shows; the answer, which takes longer to measure, never leaves."""
    count = 1_500_000
    frame = pl.DataFrame({"pid": np.arange(count) // 5, "x": np.linspace(0, 1, count)})
    policy = Policy.private(1.0, unit="pid", max_rows=3, roles={"pid": "identifier", "x": measure(0, 1)})
    table(place, "crashed", policy, frame)
    got: list[object] = []
    with place.connect(place.alice) as alice, place.connect(place.bob) as watching:
        query = alice.dataset("crashed").select(b.col("x").median(), b.col("x").quantile(0.2).alias("q"))

        def ask() -> None:
            try:
                got.append(query.fetch(epsilon=0.5))
            except BastionError as error:
                got.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        deadline = time.monotonic() + 60
        while watching.budget().filter(datasets="crashed")["answers"].item() == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not got, "the answer was quicker than the kill: the table is too small for this machine"
        place.restart(killed=True)
        thread.join(60)
        assert isinstance(got[0], BastionError)
    with place.connect(place.alice) as alice:
        stands = alice.budget().filter(datasets="crashed")
        assert (stands["answers"].item(), stands["spent"].item()) == (1, pytest.approx(0.5, rel=1e-3))
        with pytest.raises(Denied, match="does not suffice"):
            alice.dataset("crashed").select(b.len()).fetch(epsilon=0.95)


def test_a_failing_measurement_is_answered_in_kind(place):
    """A server that gives queries no time for so much data: same table, same price, and a red line for the owner."""
    folder = place.folder.parent / "hurried"
    count = 1_500_000
    frame = pl.DataFrame({"pid": np.arange(count) // 3, "g": ["a", "b", "c"] * (count // 3), "x": np.ones(count)})
    policy = Policy.private(
        1.0, unit="pid", max_rows=2, max_groups=2,
        roles={"pid": "identifier", "g": quasi("a", "b", "c"), "x": measure(0, 1)},
    )  # fmt: skip
    with (
        start(folder, owners=[place.olga], users=[place.alice]) as server,
        Connection(server.endpoint, identity=place.olga, server_key=server.server_key) as owner,
    ):
        owner.client.polars.send_df(frame, policy, name="big")
    with (
        start(folder, owners=[place.olga], users=[place.alice], seconds=0.05) as server,
        Connection(server.endpoint, identity=place.olga, server_key=server.server_key) as owner,
        Connection(server.endpoint, identity=place.alice, server_key=server.server_key) as alice,
    ):
        query = alice.dataset("big").group_by("g").agg(b.len(), b.col("x").median())
        for _ in range(40):  # on a busy machine the time may end before the measurement, which costs nothing
            with suppress(ServerError):
                found = query.fetch(epsilon=0.9)
                break
        assert found["g"].to_list() == ["a", "b", "c"]
        assert sum(found.null_count().row(0)) == 0
        assert alice.last.note.cost == 0.9
        assert found["len"].max() < 1_000, "nobody was found, as the measurement failed"
        assert any(r.red and "answered with noise as if nobody" in r.summary for r in owner.audit("big"))


def test_an_exact_answer_voids_the_stated_epsilon_visibly(place):
    """The owner lets bob see groups of ten exactly; what alice was promised of noise no longer holds."""
    zone = AtLeastNOf(1, [DifferentialPrivacy(2.0), AtLeastNOf(2, [UserId("bob"), Aggregation(10)])])
    table(place, "mixed", Policy(zone, Review(), unit="pid", roles=ROLES))
    with place.connect(place.alice) as alice, place.connect(place.bob) as bob:
        assert alice.dataset("mixed").select(b.len()).fetch().item() > 0
        assert alice.budget().filter(datasets="mixed")["void"].item() is None
        assert bob.dataset("mixed").select(b.len()).fetch().item() == 4_000
        void = alice.budget().filter(datasets="mixed")["void"].item()
        assert void.startswith("an exact answer left without noise on ")
        alice.dataset("mixed").select(b.len()).fetch()
        assert "but the stated epsilon no longer holds: an exact answer" in alice.last.note.budget[0].sentence


def test_an_approval_and_a_logged_answer_void_it_too(place):
    reviewed = Policy(DifferentialPrivacy(2.0), Review(), unit="pid", roles=ROLES)
    table(place, "reviewed", reviewed)
    table(place, "logged", Policy(DifferentialPrivacy(2.0), Log(), unit="pid", roles=ROLES))
    with place.connect(place.olga) as owner, place.connect(place.alice) as alice:
        query = alice.dataset("reviewed").select(b.col("income").max())
        with pytest.raises(Denied) as denied:
            query.fetch()
        filed = denied.value.request("the highest income, for a plot")
        assert alice.budget().filter(datasets="reviewed")["void"].item() is None, "asking is no answer"
        owner.approve(filed.id)
        assert query.fetch().item() == pytest.approx(people()["income"].max())
        assert "approved by the owner" in alice.budget().filter(datasets="reviewed")["void"].item()
        alice.dataset("logged").select(b.col("income").max()).fetch()
        assert "only logged" in alice.budget().filter(datasets="logged")["void"].item()


def test_new_versions_go_on_with_the_same_ledger(place):
    table(place, "versions")
    with place.connect(place.olga) as owner, place.connect(place.alice) as alice:
        query = alice.dataset("versions").select(b.len())
        first = query.fetch(epsilon=0.5).item()
        owner.client.polars.send_df(people().head(3_999), name="versions", replace=True)
        again = alice.dataset("versions").select(b.len())
        assert again.summarize(epsilon=0.5).cost == 0.5, "other rows, other noise, to be paid for"
        second = again.fetch(epsilon=0.5).item()
        assert isinstance(first, int)
        assert isinstance(second, int)
        stands = alice.budget().filter(datasets="versions")
        assert stands["answers"].item() == 2
        assert stands["spent"].item() == pytest.approx(0.5 * 2**0.5, rel=0.05)
