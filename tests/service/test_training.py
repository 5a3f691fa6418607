"""Fits on a real server by wire: begun, paid, told of, stopped, resumed, approved, forgotten."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import zmq
from bastion_plan.canonical import decode, encode
from bastion_plan.models import graph as graphs
from bastion_plan.models.fits import Optimizer, Schedule, Split
from bastion_plan.nodes import Filter
from bastion_policy.model import Aggregation, Policy, Review, Training
from bastion_policy.private import padding
from bastion_policy.private.subsampled import epsilon_of_fit
from bastion_policy.private.verdicts import account_of
from bastion_server import start
from bastion_server.process import Handle
from bastion_wire import messages as m
from fit_line import FitLine, exact, linear, numbers, people, rows, spec

from bastion import Connection, Identity
from bastion import pl as b

pytestmark = pytest.mark.timeout(400)
LONG = 20_000
#: bytes of one person's files; seconds that a step has once its fit was stopped
DISK, GRACE = 1 << 20, 4.0
#: steps that the server lets a fit have
STEPS = 100_000
#: bytes of an answer, or of the rows of a fit
ANSWER = 8 << 20


@dataclass
class Place:
    """One server, its owner, two scientists."""

    folder: Path
    olga: Identity
    alice: Identity
    bob: Identity
    server: Handle = field(init=False)
    owner: Connection = field(init=False)
    context: zmq.Context[Any] = field(default_factory=zmq.Context)
    lines: list[FitLine] = field(default_factory=list)
    count: int = 0

    def up(self) -> None:
        self.server = start(
            self.folder,
            owners=[self.olga],
            users=[self.alice, self.bob],
            training_disk=DISK,
            training_grace=GRACE,
            training_steps=STEPS,
            answer=ANSWER,
        )
        self.owner = Connection(self.server.endpoint, identity=self.olga, server_key=self.server.server_key)

    def down(self, how: str = "stop") -> None:
        for line in self.lines:
            line.close()
        self.lines.clear()
        self.owner.close()
        self.server.kill() if how == "kill" else self.server.stop()

    def line(self, who: Identity | None = None) -> FitLine:
        self.lines.append(FitLine(self.context, self.server, who or self.alice))
        return self.lines[-1]

    def table(self, policy: Policy | None = None, **changes: Any) -> tuple[bytes, str]:
        """A fresh table: the plan of all its rows, and its name."""
        self.count += 1
        name = f"table{self.count}"
        policy = policy or Policy.private(epsilon=changes.pop("epsilon", 8.0), unit="id")
        policy = msgspec.structs.replace(policy, **changes)
        sent = self.owner.client.polars.send_df(people(), policy, name=name)
        return rows(sent.dataset_id), name


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    found = Place(tmp_path_factory.mktemp("training"), *(Identity.create(n) for n in ("olga", "alice", "bob")))
    found.up()
    yield found
    found.down()
    found.context.destroy(linger=0)


@pytest.fixture
def line(place: Place) -> FitLine:
    return place.line()


def guarded() -> Policy:
    return Policy(Aggregation(10), Review(), unit="id")


def test_rows_that_fail_whatever_they_are_cost_nothing(place: Place, line: FitLine) -> None:
    """Read behind the payment, they would be a fit of nobody."""
    plan, table = place.table()
    wrong = encode(Filter(decode(plan), (b.col("y").cast(b.UInt8).clip(-5, 500) > 0).plan))
    run = line.done(wrong, spec(), line.model())
    assert (run.state, run.code, run.step, run.spent) == ("failed", "fit.plan", 0, 0), run
    assert line.budget(table).spent == 0


def test_a_metric_that_does_not_go_with_the_model_costs_nothing(place: Place, line: FitLine) -> None:
    """Of several bits no one is right or wrong; of too many classes there is no table. A worker of its own found that out, once paid."""
    frame = people().with_columns(z=1 - pl.col("y"), several=pl.concat_list("y", 1 - pl.col("y")))
    policy = Policy.private(epsilon=8.0, unit="id")
    sent = place.owner.client.polars.send_df(frame, policy, name="metrics")
    runs = {
        "two labels": line.done(rows(sent.dataset_id), spec(loss="bce", labels=("y", "z"), steps=5, epsilon=1.0), line.model()),
        "a list": line.done(rows(sent.dataset_id), spec(loss="bce", labels=("several",), steps=5, epsilon=1.0), line.model()),
        "600 classes": line.done(rows(sent.dataset_id), spec(steps=5, epsilon=1.0), line.model(linear(600))),
    }  # fmt: skip
    spent = line.budget("metrics").spent
    for what, run in runs.items():
        assert run.state == "done", (what, run)
        for metric in ("f1", "auc", "confusion") if what == "600 classes" else ("accuracy", "f1", "auc", "mae"):
            refused = line.ask(m.TestRun(run.id, metric, epsilon=1.0))
            assert getattr(refused, "code", "") == "fit.metric", (what, metric, refused)
            assert refused.next_step
        assert line.budget("metrics").spent == spent, what
    refused = line.ask(m.TestRun(runs["two labels"].id, "accuracy", epsilon=1.0, mode="summarize"))
    assert (refused.code, refused.next_step) == ("fit.metric", "Use loss.")
    told = line.ask(m.TestRun(runs["two labels"].id, "loss", epsilon=1.0))
    assert told.noisy and line.budget("metrics").spent > spent


def test_a_fit_is_paid_told_of_measured_and_taken_home(place: Place, line: FitLine) -> None:
    plan, table = place.table()
    model = line.model()
    before = line.ask(m.Fit(plan, model, spec(), "summarize"))
    assert (before.outcome, before.affordable, before.steps, before.parameters) == ("private", True, 30, 8)
    assert 10_000 < before.memory < 10_000_000
    assert line.budget(table).spent == 0
    run = line.done(plan, spec(), model)
    assert (run.state, run.step, run.code) == ("done", 30, ""), run
    assert run.spent == pytest.approx(before.epsilon) and 0 < run.tight <= run.spent <= 2.0
    assert len(run.losses) == 3 and run.noise == before.noise
    assert line.budget(table).spent == pytest.approx(before.epsilon, rel=0.3)
    assert {p.state for p in line.pushed} >= {"running"} and all(p.id == run.id for p in line.pushed)
    paid = line.budget(table)
    cost = line.ask(m.TestRun(run.id, "accuracy", epsilon=1.5, mode="summarize"))
    assert cost.epsilon == 1.5 and line.budget(table) == paid
    metric = line.ask(m.TestRun(run.id, "accuracy", epsilon=1.5))
    assert metric.noisy and metric.value > 0.5 and metric.error > 0
    spent = line.budget(table).spent
    assert spent > paid.spent
    assert line.ask(m.TestRun(run.id, "accuracy", epsilon=1.4)) == metric
    assert line.ask(m.TestRun(run.id, "accuracy")) == metric
    assert line.budget(table).spent == spent
    body, data = line.both(m.GetWeights(run.id))
    assert body.info.id == run.id and body.info.metrics["accuracy"]["value"] == metric.value
    found = numbers(data)
    assert found["w"].shape == (2, 3) and abs(found["w"]).max() > 0
    # somebody else has no such model or fit, and the owner sees what was done with the data
    other = place.line(place.bob)
    assert other.fit(plan, spec(), model).code == "missing.model"
    for ask in (m.GetRun(run.id), m.StopRun(run.id), m.DeleteRun(run.id), m.GetWeights(run.id)):
        assert other.ask(ask).code == "missing.run"
    assert other.ask(m.ResumeRun(run.id, 5, 8.0)).code == "missing.run"
    owner = place.line(place.olga)
    assert not owner.get(run.id).mine and owner.ask(m.GetWeights(run.id)).code == "missing.run"
    said = [r.summary for r in place.owner.audit(dataset=table) if run.id in r.summary]
    assert any("done" in s for s in said) and any(s.startswith("weights of fit") for s in said)
    # forgotten: what it cost stays spent
    assert isinstance(line.ask(m.DeleteRun(run.id)), m.Done)
    assert line.ask(m.GetRun(run.id)).code == "missing.run"
    assert line.budget(table).spent == spent


def test_a_step_and_a_metric_have_the_noise_that_was_paid_for(place: Place, line: FitLine) -> None:
    """Of nobody, what comes home is noise alone: of 1,600 weights, and of the 1,600 cells of a confusion matrix."""
    plan, table = place.table()
    nobody = encode(Filter(decode(plan), (b.col("a") > 1e6).plan))
    model = line.model(linear(40, 39))
    how = spec(
        inputs=(("a",) * 39,), steps=1, rate=1.0, expected=20.0, epoch=0, optimizer=Optimizer("sgd", 1.0), split=Split()
    )
    run = line.done(nobody, how, model)
    assert (run.state, run.step) == ("done", 1)
    assert epsilon_of_fit(1.0, run.noise, 1, run.delta) <= run.spent * (1 + 1e-9) <= 2.0
    assert line.budget(table).spent >= run.spent * 0.99
    found = np.concatenate([w.ravel() for w in numbers(line.both(m.GetWeights(run.id))[1]).values()])
    moved = math.sqrt(
        1 + 0.1**2 + padding.share(run.noise, 20.0) ** 2
    )  # a person: gradient, loss, and one of their number
    paid = run.noise * how.clip * moved / how.expected
    assert len(found) == 1600 and 0.85 * paid < found.std() < 1.15 * paid
    before = line.budget(table).spent
    told = line.ask(m.TestRun(run.id, "confusion", "train", 3.0))
    cells = np.array(told.matrix).ravel()
    rho = account_of([Policy.private(epsilon=8.0)]).price(3.0).rho_value
    paid = 1 / math.sqrt(2 * rho)
    assert len(cells) == 1600 and 0.85 * paid < cells.std() < 1.5 * paid
    assert line.budget(table).spent > max(3.0, before)


def test_a_fit_is_one_while_it_runs_and_can_be_stopped_and_resumed(place: Place, line: FitLine) -> None:
    plan, table = place.table()
    long = spec(steps=LONG, epoch=0, rate=0.01, epsilon=4.0)
    model = line.model()
    first, again = line.fit(plan, long, model), line.fit(plan, long, model)
    assert first.info.id == again.info.id
    run = first.info.id
    assert line.ask(m.GetWeights(run)).code == "train.running"
    line.until(run, step=5)
    line.close()  # it goes on without anybody
    line = place.line()
    going = line.get(run)
    assert line.until(run, step=going.step + 1).state == "running"
    stopped = line.ask(m.StopRun(run)).info
    assert (stopped.state, stopped.code) == ("stopped", "train.stopped")
    assert 0 < stopped.step < LONG and stopped.spent < 4.0
    assert numbers(line.both(m.GetWeights(run))[1])
    spent = line.budget(table).spent
    refused = line.ask(m.ResumeRun(run, LONG * 4, 4.0))
    assert refused.code == "fit.resume" and "more steps are possible" in refused.message
    assert line.ask(m.ResumeRun(run, 10, 1.0)).code == "fit.resume"
    for steps in (0, -1, STEPS):
        assert line.ask(m.ResumeRun(run, steps, 4.0)).code == "fit.steps"
    assert line.budget(table).spent == spent
    resumed = line.ask(m.ResumeRun(run, 120, 4.0))
    assert resumed.info.id == run and resumed.info.noise == stopped.noise
    after = line.until(run)
    assert (after.state, after.step) == ("done", stopped.step + 120), after
    assert stopped.spent < after.spent <= 4.0 and line.budget(table).spent > spent


def test_a_worker_that_is_killed_changes_nothing_that_is_told(place: Place, line: FitLine) -> None:
    plan, table = place.table()
    run = line.fit(plan, spec(steps=LONG, epoch=20, rate=0.01, epsilon=4.0)).info.id
    before = line.until(run, step=45)
    records = len(place.owner.audit(dataset=table))
    for pid in trainers(place.server.pid):
        os.kill(pid, signal.SIGKILL)
    # it goes on as if nobody were there: that it failed would tell of rows
    going = line.until(run, step=before.step + 200)
    assert (going.state, going.code) == ("running", "") and going.spent >= before.spent, going
    assert len(place.owner.audit(dataset=table)) == records, "how long the log is, is told to everybody"
    stopped = line.ask(m.StopRun(run)).info
    assert (stopped.state, stopped.code) == ("stopped", "train.stopped"), stopped
    spent = line.budget(table).spent
    assert spent > 0 and numbers(line.both(m.GetWeights(run))[1])
    assert isinstance(line.ask(m.ResumeRun(run, 10, 4.0)), m.Run)
    after = line.until(run)
    assert (after.state, after.step) == ("done", stopped.step + 10) and after.spent >= stopped.spent, after
    assert line.budget(table).spent >= spent
    red = [r for r in place.owner.audit(dataset=table) if r.red]
    assert any("server.worker.crashed" in r.summary for r in red)


def trainers(server: int) -> list[int]:
    """Processes forked by the zygote of training workers of a server."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    below = [p for child in parents.get(server, []) for p in (child, *parents.get(child, []))]
    zygotes = [p for p in below if "bastion_server.training.zygote" in Path(f"/proc/{p}/cmdline").read_text()]
    return [p for z in zygotes for p in parents.get(z, [])] or zygotes


def test_a_step_that_takes_long_is_ended_with_its_worker_when_the_owner_stops_it(place: Place, line: FitLine) -> None:
    plan, table = place.table()
    # thousands of passes of people who are not there, of a large layer: a step of half a minute
    slow = spec(steps=3, expected=240_000.0, rate=0.5, batch=64, epoch=0)
    run = line.fit(plan, slow, line.model(linear(classes=60_000))).info.id
    owner, deadline = place.line(place.olga), time.monotonic() + 60
    while not line.get(run).spent:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = set(trainers(place.server.pid))
    began = time.monotonic()
    stopped = owner.ask(m.StopRun(run)).info
    taken = time.monotonic() - began
    assert (stopped.state, stopped.code, stopped.step) == ("stopped", "train.stopped", 0), stopped
    assert "by the owner" in stopped.problem and GRACE < taken < 15
    assert workers - set(trainers(place.server.pid))
    assert line.ask(m.GetWeights(run)).code == "train.nothing"
    # what was paid for it is spent, and the scientist goes on
    assert line.budget(table).spent > 0 and stopped.spent > 0
    assert line.done(plan, spec(epsilon=1.0)).state == "done"


def test_files_of_one_person_have_their_bounds(place: Place) -> None:
    plan, _ = place.table()
    line = place.line(place.bob)
    large = line.model(linear(classes=60_000))
    run = line.done(plan, spec(steps=1, epsilon=1.0), large)
    assert run.state == "done", run
    full = line.fit(plan, spec(epsilon=1.0))
    assert full.code == "fit.room" and "1 MB" in full.message
    assert line.ask(m.ResumeRun(run.id, 1, 2.0)).code == "fit.room"
    # another's room is another's
    other = place.line()
    assert other.done(plan, spec(steps=2, epsilon=1.0)).state == "done"
    assert isinstance(line.ask(m.DeleteRun(run.id)), m.Done)
    assert line.done(plan, spec(epsilon=1.0)).state == "done"


def test_two_fits_race_for_one_budget_and_it_is_never_overspent(place: Place, line: FitLine) -> None:
    plan, table = place.table(epsilon=1.0)
    assert line.fit(plan, spec(epsilon=1.1)).code == "fit.privacy"
    assert line.fit(plan, spec(epsilon=0.001)).code == "fit.privacy"
    other = place.line(place.bob)
    settings = {"steps": 200, "rate": 0.05, "epsilon": 0.9, "epoch": 100}
    begun = [(one, one.fit(plan, spec(split=Split(0.2, i), **settings))) for i, one in enumerate((line, other))]
    ended = [one.until(run.info.id) for one, run in begun if isinstance(run, m.Run)]
    refused = [run.rule for _, run in begun if isinstance(run, m.Denial)]  # where the first one was quick
    assert any(r.code == "train.budget" for r in ended) or refused == ["guard.budget.spent"], (ended, refused)
    assert all(r.code in ("", "train.budget") for r in ended)
    budget = line.budget(table)
    assert budget.spent <= 1.0 and budget.left < 0.9
    denied = line.fit(plan, spec(**settings))
    assert isinstance(denied, m.Denial) and denied.rule == "guard.budget.spent" and denied.outcome == "refuse"
    assert line.budget(table).spent == budget.spent
    assert not line.ask(m.Fit(plan, line.model(), spec(**settings), "summarize")).affordable


def test_a_fit_ends_where_its_data_changes(place: Place, line: FitLine) -> None:
    plan, table = place.table()
    run = line.fit(plan, spec(steps=LONG, rate=0.01)).info.id
    line.until(run, step=2)
    place.owner.client.polars.send_df(people(seed=1), name=table, replace=True)
    ended = line.until(run)
    assert (ended.state, ended.code) == ("stopped", "train.changed")
    assert line.ask(m.ResumeRun(run, 5)).code == "input.dataset.changed"
    assert line.ask(m.TestRun(run, "accuracy")).code == "input.dataset.changed"
    # what was paid for is one's own, as long as the data is open to one
    assert numbers(line.both(m.GetWeights(run))[1]) and line.get(run).losses
    place.owner.client.polars.delete_df(table)
    assert line.ask(m.GetWeights(run)).code == "input.dataset.changed"
    assert line.get(run).losses == () == next(r for r in line.ask(m.ListRuns()).runs if r.id == run).losses


def test_a_fit_is_forgotten_while_it_runs(place: Place, line: FitLine) -> None:
    plan, table = place.table()
    run = line.fit(plan, spec(steps=LONG, rate=0.01)).info.id
    line.until(run, step=2)
    assert isinstance(line.ask(m.DeleteRun(run)), m.Done)
    assert line.ask(m.GetRun(run)).code == "missing.run"
    assert line.budget(table).spent > 0
    # the next one is not kept waiting by what is left of it, and nothing of either stays open
    assert line.done(plan, spec(epsilon=1.0)).state == "done"
    links = [os.readlink(link) for link in Path(f"/proc/{place.server.pid}/fd").iterdir() if link.is_symlink()]
    assert not [link for link in links if any(name in link for name in ("memfd:rows", "memfd:weights", "memfd:answer"))]


def test_an_exact_fit_is_approved_as_it_is_and_its_weights_wait(place: Place, line: FitLine) -> None:
    refused = line.fit(place.table(guarded())[0], spec())
    assert isinstance(refused, m.Denial) and refused.rule == "training-no-budget"
    plan, table = place.table(Policy(Policy.private(epsilon=1.0).safe_zone, Review(), unit="id"))
    assert line.ask(m.RequestFit(plan, line.model(), spec(epsilon=0.5), "please")).code == "input.request.not-needed"
    made = exact(optimizer=Optimizer("sgd", 0.25, momentum=0.5), schedule=Schedule("step", period=20, gamma=0.5))
    model = line.model()
    estimate = line.ask(m.Fit(plan, model, made, "summarize"))
    assert estimate.outcome == "review" and estimate.memory > 0
    denied = line.fit(plan, made, model)
    assert isinstance(denied, m.Denial) and (denied.outcome, denied.rule) == ("review", "training-exact")
    filed = line.ask(m.RequestFit(plan, model, made, "for the study")).info
    assert filed.plan_hash == denied.plan_hash
    text = "\n".join((filed.code, filed.words, *filed.expressions))
    for word in (
        "linear 1",
        "8 numbers",
        "learning rate 0.25, momentum 0.5",
        "step, period 20, gamma 0.5",
        "30 steps",
        "3 epochs",
        "64",
        "y",
        "exact",
        "Train a model",
    ):
        assert word in text, word
    assert line.ask(m.RequestFit(plan, model, made, "once more")).info.id == filed.id
    place.owner.approve(filed.id, may_read=False)
    # the approval is of this very fit
    for other in (exact(optimizer=Optimizer("sgd", 0.3)), exact(), msgspec.structs.replace(made, steps=31)):
        assert isinstance(line.fit(plan, other, model), m.Denial)
    assert isinstance(line.fit(plan, made, line.model(linear(mode="batch"))), m.Denial)
    assert isinstance(place.line(place.bob).fit(plan, made), m.Denial)
    run = line.done(plan, made, model)
    assert (run.state, run.approved, run.losses, run.metrics) == ("done", True, (), {}), run
    for ask in (m.GetWeights(run.id), m.TestRun(run.id, "accuracy")):
        assert line.ask(ask).rule == "owner-grant"
    assert line.fit(plan, made, model).info.id == run.id  # one approval, one model
    assert not line.budget(table).void
    place.owner.approve_reading(filed.id)
    assert len(line.get(run.id).losses) == 3
    assert "without noise" in line.budget(table).void  # before the first number of it was told
    metric = line.ask(m.TestRun(run.id, "accuracy"))
    assert not metric.noisy and metric.value > 0.8
    assert abs(numbers(line.both(m.GetWeights(run.id))[1])["w"]).max() > 0
    assert line.ask(m.GetWeights(run.id)).rule == "owner-grant"  # it was for once
    assert isinstance(line.ask(m.ResumeRun(run.id, 5)), m.Denial)  # another fit


def test_what_is_no_number_or_nobody_s_business_is_not_trained_on(place: Place, line: FitLine) -> None:
    plan, _ = place.table()
    one = linear(features=1)
    model = line.model(one)
    for column, code in (("name", "fit.dtype"), ("nothing", "fit.columns")):
        answer = line.fit(plan, spec(inputs=((column,),)), model)
        assert answer.code == code and column in answer.message
    assert "One-hot" in line.fit(plan, spec(inputs=(("name",),)), model).next_step
    for many in (
        m.Fit(plan, model, spec(steps=STEPS + 1)),
        m.RequestFit(plan, model, exact(steps=STEPS + 1), "please"),
    ):
        assert line.ask(many).code == "fit.steps"
    for ask in (
        m.Fit(plan, model, spec(device="cuda")), m.Fit(plan, model, spec(device="cuda"), "summarize"),
        m.RequestFit(plan, model, exact(device="cuda"), "please"),
    ):  # fmt: skip
        refused = line.ask(ask)
        assert refused.code == "fit.device" and "driver" in refused.reason and 'device="cpu"' in refused.next_step
    assert line.fit(plan, spec(rows=3, inputs=(("a",),)), model).code == "fit.rows"
    assert line.fit(b"", spec(), model).code.startswith("plan.")
    # a model that does not fit the description is told so, and costs nothing
    made = spec(inputs=(("a",),), loss="l2")
    assert line.ask(m.Fit(plan, model, made, "summarize")).code.partition(".")[0] in ("model", "fit")
    wrong = line.done(plan, made, model)
    assert wrong.state == "failed" and wrong.code.partition(".")[0] in ("model", "fit") and wrong.spent == 0, wrong


def test_steps_and_size_are_bounded_by_the_owner_too(place: Place, line: FitLine) -> None:
    plan, _ = place.table(training=Training(max_steps=30, max_parameters=8))
    model = line.model()
    told = line.ask(m.Fit(plan, model, spec(), "summarize"))
    assert (told.outcome, told.max_steps, told.max_parameters) == ("private", 30, 8)
    large = line.model(linear(classes=3))
    for name, change, code in ((model, {"steps": 31}, "fit.steps"), (large, {}, "model.size")):
        for ask in (
            m.Fit(plan, name, spec(**change)), m.Fit(plan, name, spec(**change), "summarize"), m.Fit(plan, name, exact(**change)),
            m.RequestFit(plan, name, exact(**change), "please"),
        ):  # fmt: skip
            refused = line.ask(ask)
            assert refused.code == code and "The owner of this data" in refused.reason and refused.next_step, refused
    run = line.done(plan, spec(), model)
    assert (run.state, run.step) == ("done", 30), run
    again = line.ask(m.ResumeRun(run.id, 1, 4.0))
    assert again.code == "fit.steps" and "The owner of this data" in again.reason
    assert line.ask(m.TestRun(run.id, "accuracy", epsilon=0.5, mode="summarize")).outcome == "private"


def test_rows_of_a_fit_are_as_large_as_the_operator_lets_them_be(place: Place, line: FitLine) -> None:
    policy = Policy.private(epsilon=8.0, unit="id")
    sent = place.owner.client.polars.send_df(people(200_000), policy, name="large")
    refused = line.ask(m.Fit(rows(sent.dataset_id), line.model(), spec(), "summarize"))
    assert refused.code == "fit.size" and "; 8 MB are allowed" in refused.reason, refused


def test_models_are_checked_as_they_come(place: Place, line: FitLine) -> None:
    graph, weights = linear()
    data = graphs.encode(graph)
    assert line.begin(data, weights, b"\0" * 32).code.startswith("wire.")
    assert line.begin(data, weights + b"\0" * 100_000).code == "model.size"
    assert line.begin(data, b"").code == "model.size"
    assert line.begin(b"\x80\x04pickle", weights).code == "model.graph"
    frozen = msgspec.structs.replace(
        graph, weights=tuple(msgspec.structs.replace(w, trained=False) for w in graph.weights)
    )
    assert line.begin(graphs.encode(frozen), weights).code == "model.size"
    huge = msgspec.structs.replace(graph, weights=(graphs.Tensor("w", (1 << 20, 1 << 20)), graph.weights[1]))
    assert line.begin(graphs.encode(huge), weights).code == "model.size"
    assert line.model() == line.model()
    # an upload that ends half way leaves nothing
    before = len(list((place.folder / "sealed").iterdir()))
    cut = place.line()
    cut.ask(m.ModelBegin(data, len(weights), b"\0" * 32))
    cut.close()
    line.model()
    assert len([p for p in (place.folder / "sealed").iterdir() if p.suffix == ".sealed"]) <= before


@pytest.mark.parametrize("how", ["kill", pytest.param("stop", marks=pytest.mark.slow)])
def test_a_fit_survives_the_server(place: Place, how: str) -> None:
    plan, table = place.table()
    line = place.line()
    run = line.fit(plan, spec(steps=LONG, epoch=20, rate=0.01, epsilon=4.0)).info.id
    line.until(run, step=45)
    place.down(how)
    place.up()
    line = place.line()
    found = line.get(run)
    assert (found.state, found.code) == ("stopped", "train.restarted")
    spent = line.budget(table).spent
    assert spent > 0 and found.spent > 0
    assert isinstance(line.ask(m.ResumeRun(run, 10, 4.0)), m.Run)
    after = line.until(run)
    assert after.state == "done" and after.step >= 30
    if how == "kill":  # what was paid and may have run is paid again
        assert after.step % 20 == 10 and line.budget(table).spent > spent
