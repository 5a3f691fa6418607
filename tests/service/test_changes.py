"""What happens to queries, saved frames and requests when datasets, policies and access change."""

from __future__ import annotations

import asyncio

import polars as pl
import pytest
from bastion_plan.canonical import encode
from bastion_plan.errors import InputError, ServerError
from bastion_plan.nodes import Scan, Slice
from bastion_policy.model import Policy as Rules
from bastion_server.service.journal import Journal, about
from bastion_server.workers.errors import worker_error
from bastion_wire import messages as m
from in_process import Asked, with_service

from bastion import BastionError, Denied
from bastion.policy import Aggregation, Log, Policy


def closing(service, dataset):
    record = service.store.datasets.get(dataset)
    service.store.datasets.set_facts(record.facts.with_policy(Rules.default()), by="olga", now=2.0)


def shutting_out(service, dataset):
    service.store.datasets.set_allow(dataset, ())


def deleting(service, dataset):
    service.store.datasets.delete(dataset, now=2.0)


@pytest.mark.parametrize("change", [closing, shutting_out, deleting])
@pytest.mark.parametrize("when", ["_execute", "_release"])
def test_an_answer_judged_by_what_holds_no_longer_does_not_leave(tmp_path, change, when):
    async def use(service, dataset):
        query = m.Query(encode(Slice(Scan(dataset), 0, 5)))
        asked = Asked(query, "alice")
        await service.handle(asked)
        assert isinstance(asked.answers[0], m.Table)
        real = getattr(service.queries, when)

        async def meanwhile(*arguments, **options):
            change(service, dataset)
            return await real(*arguments, **options)

        setattr(service.queries, when, meanwhile)
        asked = Asked(query, "alice")
        with pytest.raises(InputError) as caught:
            await service.handle(asked)
        assert caught.value.code == "input.dataset.changed"
        assert asked.answers == []
        last = service.store.audit.show(limit=1)[-1]
        assert last.summary == "withheld: input.dataset.changed"

    asyncio.run(with_service(tmp_path, use))


def test_a_change_that_cannot_be_written_down_is_not_made(tmp_path):
    async def use(service, dataset):
        journal = Journal(service.store)

        def change():
            service.store.datasets.set_allow(dataset, ("bob",))
            return None, about([dataset], now=1.0, kind="policy", who="olga", summary="x")

        service.store.audit._failed = True
        with pytest.raises(ServerError) as caught:
            await journal.change(change)
        assert caught.value.code == "server.audit.failed"
        assert service.store.datasets.get(dataset).allow == ("*",)
        service.store.audit._failed = False
        await journal.change(change)
        assert service.store.datasets.get(dataset).allow == ("bob",)

        def fails_late():
            service.store.datasets.set_allow(dataset, ("eve",))
            service.store.database.after_commit(lambda: None)
            service.store.database._writer.execute("COMMIT")  # so that the real commit fails
            return None, about([dataset], now=1.0, kind="policy", who="olga", summary="y")

        with pytest.raises(ServerError):
            await journal.change(fails_late)
        assert service.store.audit.show(limit=1)[-1].summary == "did not take effect: y"

    asyncio.run(with_service(tmp_path, use))


def test_a_load_that_is_not_waited_for_is_kept_or_closed(tmp_path):
    async def use(service, dataset):
        record = service.store.datasets.get(dataset)
        waiting = asyncio.create_task(service.files.descriptors([record]))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        while service.files._loading:
            await asyncio.sleep(0.01)
        assert list(service.files._open) == [(dataset, 1)]
        service.files.forget(dataset)
        waiting = asyncio.create_task(service.files.descriptors([record]))
        await asyncio.sleep(0)
        service.files.forget(dataset)
        with pytest.raises(ServerError):
            await waiting
        assert not service.files._open

    asyncio.run(with_service(tmp_path, use))


# ---- through a real server ----------------------------------------------------------------------------------------------


def test_new_rows_without_a_policy_keep_the_old_one(world):
    send = world.owner.client.polars.send_df
    frame = pl.DataFrame({"who": [f"p{n}" for n in range(50)], "a": range(50)})
    send(frame, name="kept", sanitized_columns=["who"], policy=Policy.default(), unit="row")
    second = send(frame, name="kept", replace=True)
    roles = {c.name: str(c.role) for c in second.dataset.facts.columns}
    assert roles["who"] == "hidden"
    assert second.dataset.facts.unit is None
    with pytest.raises(Denied):
        world.user.client.polars.get_df("kept").group_by("who").agg(pl.len()).fetch()
    with pytest.raises(BastionError) as caught:
        send(frame, name="kept", replace=True, policy=Policy.default(), unit="who")
    assert caught.value.code == "policy.unit"


def test_a_saved_frame_whose_table_is_gone_says_so(world):
    world.owner.client.polars.send_df(pl.DataFrame({"a": [n % 5 for n in range(50)]}), name="base", unit="row")
    saved = world.user.client.polars.get_df("base").filter(pl.col("a") > 0).save()
    assert saved.select(pl.len()).fetch().item() == 40
    again = world.user.client.polars.get_df("base").filter(pl.col("a") > 0).save()
    assert again.name != saved.name
    world.owner.set_policy("base", allow=["bob"])
    with pytest.raises(BastionError) as caught:
        saved.select(pl.len()).fetch()
    assert caught.value.code.startswith("plan.bind.")
    world.owner.set_policy("base", allow=["*"])
    world.owner.client.polars.delete_df("base")
    with pytest.raises(BastionError) as gone:
        saved.select(pl.len()).fetch()
    assert gone.value.code == caught.value.code
    saved.delete()


@pytest.mark.parametrize("names", [["a b"], ["../x"], ["x" * 100], [f"n{n}" for n in range(1001)]])
def test_access_lists_name_identities(world, names):
    with pytest.raises(BastionError) as caught:
        world.owner.set_policy("titanic", allow=names)
    assert caught.value.code == "input.allow"


def test_an_empty_change_and_a_policy_that_cannot_be_enforced(world):
    with pytest.raises(BastionError) as caught:
        world.owner._run(world.owner._ask(m.SetPolicy("titanic")))
    assert caught.value.code == "input.policy.nothing"
    with pytest.raises(BastionError) as caught:
        world.owner.set_policy("titanic", policy=Policy.private(epsilon=1.0, delta=0))
    assert caught.value.code == "policy.unsupported"


def test_that_a_query_needs_no_approval_is_on_record_before_it_is_told(world):
    plan = world.user.client.polars.get_df("titanic").select(pl.col("Fare").mean())
    with pytest.raises(BastionError) as caught:
        world.user._run(world.user._ask(m.RequestAccess(encode(plan.plan), "why")))
    assert caught.value.code == "input.request.not-needed"
    records = [r for r in world.owner.audit("titanic", 50) if r.plan_hash == plan.plan_hash]
    assert [r.kind_of for r in records] == ["intent", "outcome"]


def test_a_flood_of_requests_is_stopped_before_it_costs_a_run(world):
    frame = world.other.client.polars.get_df("titanic")
    code = ""
    for rows in range(1, 30):
        try:
            world.other._run(world.other._ask(m.RequestAccess(encode(frame.head(rows).plan), "flood")))
        except BastionError as error:
            code = error.code
            break
    assert code == "input.request.too-many"
    size = world.owner.verify_audit().size
    with pytest.raises(BastionError):
        world.other._run(world.other._ask(m.RequestAccess(encode(frame.head(99).plan), "flood")))
    assert world.owner.verify_audit().size == size


@pytest.mark.parametrize("reason", ["memory", "time", "crashed"])
def test_a_run_that_was_killed_is_on_record_in_red_before_it_is_told(tmp_path, reason):
    async def use(service, dataset):
        async def killed(*arguments):
            raise worker_error(reason)

        service.queries._execute = killed
        asked = Asked(m.Query(encode(Slice(Scan(dataset), 0, 5))), "alice")
        with pytest.raises(ServerError):
            await service.handle(asked)
        intent, outcome = service.store.audit.show(limit=2)
        assert intent.kind_of == "intent"
        assert outcome.summary == f"failed: server.worker.{reason}"
        assert outcome.red

    asyncio.run(with_service(tmp_path, use))


def test_what_leaves_unsafely_under_log_is_red(world):
    world.owner.client.polars.send_df(
        pl.DataFrame({"a": range(50)}), name="logged", policy=Policy(Aggregation(10), Log()), unit="row"
    )
    frame = world.user.client.polars.get_df("logged").head(3)
    assert frame.fetch().height == 3
    outcome = [r for r in world.owner.audit("logged", 20) if r.plan_hash == frame.plan_hash][-1]
    assert outcome.red
    assert "although unsafe" in outcome.summary
