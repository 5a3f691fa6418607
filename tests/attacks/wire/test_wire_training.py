"""Attacks on training by wire: models, weights and descriptions made to carry a person's secret out, or to harm the server.

What is asserted is that the secret is not obtained, or nothing ran; and, without the defence, what the attack would give: there the owner
has approved the very fit, without noise.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import polars
import pytest
import zmq
from auditing import DELTA, least_epsilon
from bastion_plan.canonical import encode
from bastion_plan.models import graph as graphs
from bastion_plan.models.fits import MAX_STEPS, FitSpec, Optimizer, Split, encode_spec
from bastion_plan.models.graph import Graph, Node, Ref, Tensor
from bastion_policy.model import Aggregation, Policy, Review
from bastion_policy.roles import Role, RoleKind
from bastion_server import start
from bastion_wire import messages as m
from bastion_wire.codec import PROTOCOL_VERSION
from fit_line import FitLine, exact, linear, numbers, safetensors, spec
from query import Q
from training_list import TRAINING, WIRE, names_of_tests

import bastion.expressions as pl
from bastion import Connection, Identity

pytestmark = pytest.mark.timeout(400)
N, TARGET, SECRET = 60, 7, 0.8125
NEAR = 1e-3  #: how near a guess counts as having it
EPSILON = 0.4


class Court:
    """A server with one table of people under noise, and the same one of which an owner approves exact fits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.olga, self.eve = Identity.create("olga"), Identity.create("eve")
        self.server = start(folder, owners=[self.olga], users=[self.eve])
        self.owner = Connection(self.server.endpoint, identity=self.olga, server_key=self.server.server_key)
        self.context: zmq.Context[Any] = zmq.Context()
        self.line = FitLine(self.context, self.server, self.eve)
        salary = np.random.default_rng(5).uniform(0.1, 0.6, N)
        salary[TARGET] = SECRET
        self.frame = polars.DataFrame(
            {"id": [f"p{i}" for i in range(N)], "code": range(N), "salary": salary, "one": [1.0] * N}
        )
        roles = {name: Role(RoleKind.QUASI) for name in ("code", "salary", "one")} | {"id": Role(RoleKind.IDENTIFIER)}
        self.noisy = self.table(
            Policy(Policy.private(epsilon=6.0).safe_zone, Review(), unit="id", roles=roles), "noisy"
        )
        self.guarded = self.table(Policy(Aggregation(10), Review(), unit="id", roles=roles), "guarded")

    def table(self, policy: Policy, name: str, frame: polars.DataFrame | None = None) -> Q:
        frame = self.frame if frame is None else frame
        return Q(self.owner.client.polars.send_df(frame, policy, name=name).dataset_id)

    def private(self, change: Any, made: FitSpec, model: tuple[Graph, bytes]) -> tuple[m.RunInfo, dict[str, Any]]:
        """What a paid fit gives."""
        run = self.line.done(encode(change(self.noisy).plan), made, self.line.model(model))
        return run, self.weights(run)

    def approved(self, change: Any, made: FitSpec, model: tuple[Graph, bytes]) -> tuple[m.RunInfo, dict[str, Any]]:
        """What the same fit gives without noise, approved."""
        plain = FitSpec(
            made.inputs,
            made.labels,
            made.loss,
            made.steps,
            made.optimizer,
            private=False,
            batch=made.batch,
            epoch=made.epoch,
        )
        plan, name = encode(change(self.guarded).plan), self.line.model(model)
        filed = self.line.ask(m.RequestFit(plan, name, plain, "for the study"))
        assert isinstance(filed, m.Request), filed
        self.owner.approve(filed.info.id)
        run = self.line.done(plan, plain, name)
        return run, self.weights(run)

    def weights(self, run: m.RunInfo) -> dict[str, Any]:
        body, data = self.line.both(m.GetWeights(run.id))
        return numbers(data) if isinstance(body, m.Weights) else {}

    @property
    def spent(self) -> float:
        return float(self.line.budget("noisy").spent)

    def close(self) -> None:
        self.line.close()
        self.owner.close()
        self.server.stop()
        self.context.destroy(linger=0)


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    found = Court(tmp_path_factory.mktemp("court"))
    yield found
    found.close()


def canaries(court: Court, count: int, policy: Policy, name: str) -> tuple[Q, np.ndarray]:
    """A table of about half of so many people, by coins, with a number that only they have; and who is in it."""
    inside = np.random.default_rng(3).random(count) < 0.5
    who = np.flatnonzero(inside)
    frame = polars.DataFrame({"id": [f"p{i}" for i in who], "code": who, "far": [100.0] * len(who)})
    roles = {"id": Role(RoleKind.IDENTIFIER), "code": Role(RoleKind.QUASI), "far": Role(RoleKind.QUASI)}
    return court.table(Policy(policy.safe_zone, Review(), unit="id", roles=roles), name, frame), inside


def everybody(table: Q) -> Q:
    return table


def fit(inputs: tuple[str, ...] = ("one",), **changes: Any) -> FitSpec:
    settings: dict[str, Any] = {
        "inputs": (inputs,), "labels": ("salary",), "loss": "l2", "steps": 1, "optimizer": Optimizer("sgd", 0.5), "epoch": 0,
        "split": Split(), "epsilon": EPSILON, "rate": 1.0, "expected": 1.0, "batch": 64, "loss_bound": 1.0,
    }  # fmt: skip
    return spec(**(settings | changes))


def slope() -> tuple[Graph, bytes]:
    """One number times the input."""
    made = Graph("sample", (Tensor("x", (1,)),), (Tensor("w", (1, 1)),), (Node("linear", (Ref(0), Ref(1), None)),), 2)
    return made, safetensors({"w": np.zeros((1, 1), "f4")})


def refused(court: Court, nodes: tuple[Node, ...], weights: tuple[Tensor, ...] = (Tensor("w", (1, 1)),)) -> Any:
    """What the server says of a graph, whatever it holds."""
    made = Graph("sample", (Tensor("x", (1,)),), weights, nodes, 1 + len(weights) + len(nodes) - 1)
    return court.line.begin(graphs.encode(made), safetensors({w.name: np.zeros(w.shape, "f4") for w in weights}))


# -- a person's secret


def test_one_step_on_one_person_gives_noise(court: Court) -> None:
    """Filters the table down to the target and takes one step: the weight is twice the secret times the rate."""
    only = lambda t: t.filter(pl.col("code") == TARGET)  # noqa: E731
    run, found = court.approved(only, fit(), slope())
    assert found["w"].item() == pytest.approx(SECRET, abs=1e-6)
    run, found = court.private(only, fit(), slope())
    assert run.state == "done"
    assert abs(found["w"].item() - SECRET) > NEAR
    # nobody at all would give a number like it: the noise is several times as large as anything a person adds
    assert run.noise > 3
    nobody, empty = court.private(lambda t: t.filter(pl.col("code") == N + 1), fit(), slope())
    assert nobody.state == "done" and abs(empty["w"].item()) > 0


def test_an_embedding_of_every_row_holds_noise(court: Court) -> None:
    """Gives each row a weight of its own, and a learning rate that writes the label into it in one step."""
    made = Graph(
        "sample", (Tensor("x", (), "int64"),), (Tensor("w", (N, 1)),), (Node("embedding", (Ref(1), Ref(0), -1)),), 2
    )
    model = made, safetensors({"w": np.zeros((N, 1), "f4")})
    writes = fit(("code",), optimizer=Optimizer("sgd", N / 2), expected=float(N))
    _, found = court.approved(everybody, writes, model)
    assert found["w"][:, 0] == pytest.approx(court.frame["salary"].to_numpy(), abs=1e-4)
    _, found = court.private(everybody, writes, model)
    errors = np.abs(found["w"][:, 0] - court.frame["salary"].to_numpy())
    assert np.median(errors) > 0.5 and (errors < NEAR).mean() < 0.05
    # and whose row it is is no input at all
    with_unit = lambda t: t.with_columns(u=pl.col("id"))  # noqa: E731
    plan = encode(court.noisy.with_columns(u=pl.col("id").str.len_chars()).plan)
    answer = court.line.fit(plan, fit(("u",)), court.line.model(slope()))
    assert isinstance(answer, m.Denial) and answer.outcome == "refuse" and answer.rule == "identifier"
    assert (
        court.line.fit(encode(with_unit(court.noisy).plan), fit(("u",)), court.line.model(slope())).code == "fit.dtype"
    )


def test_a_loss_of_one_row_is_noised(court: Court) -> None:
    """Predicts everybody's label from the label itself, but the target's: the mean loss is the square of the secret."""
    nodes = (
        Node("slice", (Ref(0), 1, 0, 1, 1)),  # code
        Node("slice", (Ref(0), 1, 1, 2, 1)),  # salary
        Node("eq", (Ref(2), float(TARGET))),
        Node("where", (Ref(4), 0.0, Ref(3))),
        Node("mul", (Ref(1), 0.0)),
        Node("add", (Ref(5), Ref(6), 1)),
    )
    made = Graph("sample", (Tensor("x", (2,)),), (Tensor("w", (1, 1)),), nodes, 7)
    model = made, safetensors({"w": np.zeros((1, 1), "f4")})
    selects = fit(("code", "salary"), expected=float(N))
    run, _ = court.approved(everybody, selects, model)
    assert math.sqrt(run.losses[0] * N) == pytest.approx(SECRET, abs=1e-4)
    run, _ = court.private(everybody, selects, model)
    assert run.state == "done" and len(run.losses) == 1
    assert abs(math.sqrt(abs(run.losses[0]) * N) - SECRET) > NEAR


def test_a_number_that_is_none_tells_nothing(court: Court) -> None:
    """Adds the logarithm of a negative number in the target's row alone: all weights are lost if it is there."""
    nodes = (
        Node("linear", (Ref(0), Ref(1), None)),
        Node("sub", (0.7, Ref(0), 1)),
        Node("log", (Ref(3),)),
        Node("mul", (Ref(4), 0.0)),
        Node("add", (Ref(2), Ref(5), 1)),
    )
    made = Graph("sample", (Tensor("x", (1,)),), (Tensor("w", (1, 1)),), nodes, 6)
    model = made, safetensors({"w": np.zeros((1, 1), "f4")})
    bomb = fit(("salary",))
    run, _ = court.approved(everybody, bomb, model)
    assert run.code == "train.diverged"
    for who in (everybody, lambda t: t.filter(pl.col("code") != TARGET)):
        run, found = court.private(who, bomb, model)
        assert run.state == "done" and np.isfinite(found["w"]).all() and run.losses[0] is not None


@pytest.mark.parametrize("huge", [1e5, 1e9])
def test_a_gradient_that_cancels_is_bounded_all_the_same(court: Court, huge: float) -> None:
    """Gives a layer two positions whose values are huge and leave nothing of each other but the secret: a norm made of products is 0."""
    only = lambda t: t.filter(pl.col("code") == TARGET)  # noqa: E731
    given = np.zeros((2, 64), "f4")
    given[0, 0], given[1, 0], given[1, 1] = huge, -huge, 1.0
    nodes = (
        Node("mul", (Ref(1), Ref(0))),
        Node("view", (Ref(3), (1, 2, 64))),
        Node("linear", (Ref(4), Ref(2), None)),
        Node("sum", (Ref(5), (1, 2), False)),
    )
    weights = (Tensor("given", (2, 64), trained=False), Tensor("w", (48, 64)))
    made = Graph("sample", (Tensor("x", (1,)),), weights, nodes, 6)
    model = made, safetensors({"given": given, "w": np.zeros((48, 64), "f4")})
    cancels = fit(clip=1e-3)
    _, found = court.approved(only, cancels, model)
    assert found["w"][:, 1] == pytest.approx(np.full(48, SECRET), abs=1e-4)
    run, found = court.private(only, cancels, model)
    # as far as one person and noise of nine deviations reach, by half the learning rate
    assert run.state == "done" and np.abs(found["w"]).max() < 0.5 * 1e-3 * (1 + 9 * 1.5 * run.noise) < SECRET / 10


def test_a_metric_is_the_same_however_often_it_is_asked(court: Court) -> None:
    """Asks for the error of a model that predicts nothing, again and again, to average the noise away."""
    only = lambda t: t.filter(pl.col("code") == TARGET)  # noqa: E731
    still = fit(optimizer=Optimizer("sgd", 1e-9))
    run, _ = court.private(only, still, slope())
    before = court.spent
    told = {court.line.ask(m.TestRun(run.id, "mae", "train", EPSILON, 1.0)).value for _ in range(12)}
    assert len(told) == 1
    once = court.spent
    assert once > before
    # another bound is another question, which is paid
    court.line.ask(m.TestRun(run.id, "mae", "train", EPSILON, 0.9))
    assert court.spent > once
    for bad in (
        {"epsilon": -1.0},
        {"epsilon": 1e-9},
        {"bound": -1.0},
        {"metric": "rows"},
        {"metric": "accuracy"},
        {"part": "all"},
        {"part": "test"},
    ):
        answer = court.line.ask(m.TestRun(run.id, **({"metric": "mae", "part": "train"} | bad)))
        assert isinstance(answer, m.Failed), bad


def test_batches_are_not_mixed(court: Court) -> None:
    """Normalises over the batch, so that a row changes what is learned from all others."""
    norm = Node("batch_norm", (Ref(0), None, None, Ref(1), Ref(2), 0.1, 1e-5))
    stats = (Tensor("mean", (1,), trained=False), Tensor("var", (1,), trained=False), Tensor("w", (1, 1)))
    nodes = (norm, Node("linear", (Ref(4), Ref(3), None)))
    for mode in ("sample", "batch"):
        made = Graph(mode, (Tensor("x", (1,)),), stats, nodes, 5)
        weights = safetensors({"mean": np.zeros(1), "var": np.ones(1), "w": np.zeros((1, 1))})
        answer = court.line.begin(graphs.encode(made), weights)
        if mode == "sample":
            assert answer.code == "model.mixes"
        else:
            assert court.line.fit(encode(court.noisy.plan), fit(), answer.model).code == "fit.privacy"
            run, _ = court.approved(everybody, fit(("salary",), steps=2), (made, weights))
            assert run.state == "done"  # without noise, with an approval, it may
    # a mean over the first dimension, which is one row there: a row is predicted from itself
    made = Graph(
        "sample", (Tensor("x", (1,)),), (Tensor("w", (1, 1)),),
        (Node("mean", (Ref(0), (0,), True)), Node("linear", (Ref(2), Ref(1), None))), 3,
    )  # fmt: skip
    run, _ = court.private(everybody, fit(("salary",)), (made, safetensors({"w": np.zeros((1, 1))})))
    assert run.state == "done"


def test_guesses_of_who_was_trained_on_stay_below_epsilon(court: Court) -> None:
    """Guesses of 600 people, of whom coins put half into the table, whether they were trained on: each moves one weight as far as may be."""
    count, epsilon = 600, 3.0
    made = Graph(
        "sample", (Tensor("x", (), "int64"),), (Tensor("w", (count, 1)),), (Node("embedding", (Ref(1), Ref(0), -1)),), 2
    )
    name = court.line.model((made, safetensors({"w": np.zeros((count, 1))})))
    asks = fit(
        ("code",), labels=("far",), optimizer=Optimizer("sgd", 1e-3), epsilon=epsilon, expected=count / 2, batch=512
    )
    table, inside = canaries(court, count, Policy.private(epsilon=4.0, delta=DELTA), "drawn")
    run = court.line.done(encode(table.plan), asks, name)
    assert run.state == "done" and run.delta <= DELTA
    assert 0 <= least_epsilon(inside, court.weights(run)["w"][:, 0].astype(float), run.delta) < epsilon
    # without noise nearly all guesses are right
    table, inside = canaries(court, count, Policy(Aggregation(10), Review()), "approved")
    plain = exact(
        inputs=(("code",),),
        labels=("far",),
        loss="l2",
        steps=1,
        optimizer=asks.optimizer,
        epoch=0,
        split=Split(),
        batch=count,
    )
    filed = court.line.ask(m.RequestFit(encode(table.plan), name, plain, "for the study"))
    court.owner.approve(filed.info.id)
    found = court.weights(court.line.done(encode(table.plan), plain, name))["w"][:, 0]
    assert least_epsilon(inside, found.astype(float)) > epsilon + 1


# -- budgets


def test_tiny_fits_cost_what_they_cost(court: Court) -> None:
    """Takes its steps in fits of one step each, in the hope that each is rounded to nothing."""
    tiny = fit(epsilon=6.0 / 200)
    model, plan, spent = court.line.model(slope()), encode(court.noisy.plan), [court.spent]
    for seed in range(3):
        run = court.line.done(plan, fit(epsilon=6.0 / 200, split=Split(0.1, seed)), model)
        assert run.state == "done" and run.spent > 0
        spent.append(court.spent)
    assert all(a < b for a, b in itertools.pairwise(spent))
    assert court.line.fit(plan, fit(epsilon=tiny.epsilon / 1.01), model).code == "fit.privacy"


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": Optimizer("sgd", 0.0)}, {"optimizer": Optimizer("sgd", -1.0)}, {"optimizer": Optimizer("sgd", 1e300)},
        {"optimizer": Optimizer("sgd", math.inf)}, {"optimizer": Optimizer("sgd", math.nan)}, {"optimizer": Optimizer("lbfgs")},
        {"optimizer": Optimizer("adam", 0.1, betas=(1.0, 0.9))}, {"optimizer": Optimizer("adam", 0.1, eps=-1.0)},
        {"clip": 0.0}, {"clip": -1.0}, {"clip": 1e300}, {"clip": math.inf}, {"rate": 0.0}, {"rate": 1.5}, {"rate": -0.1},
        {"rate": math.nan}, {"expected": 0.0}, {"expected": -1.0}, {"epsilon": 0.0}, {"epsilon": -1.0}, {"epsilon": 1e300},
        {"epsilon": math.inf}, {"steps": 0}, {"steps": -1}, {"steps": MAX_STEPS + 1}, {"batch": 0}, {"batch": 1 << 40},
        {"rows": 0}, {"rows": 2}, {"epoch": -1}, {"loss_bound": 0.0}, {"loss_bound": math.nan}, {"loss": "eval"}, {"device": "cuda:0; rm"},
        {"split": Split(1.0)}, {"split": Split(-0.1)}, {"part": "everything"}, {"labels": ()}, {"inputs": ()}, {"inputs": ((),)},
    ],
    ids=str,
)  # fmt: skip
def test_a_description_out_of_bounds_is_refused(court: Court, change: dict[str, Any]) -> None:
    """Sends numbers that no fit has, past a client that would check them."""
    body = {
        "kind": "fit", "plan": encode(court.noisy.plan), "model": court.line.model(slope()),
        "spec": msgpack.unpackb(encode_spec(fit(**change))),
    }  # fmt: skip
    court.line.number += 1
    court.line.socket.send(msgpack.packb({"v": PROTOCOL_VERSION, "id": court.line.number, "body": body}))
    answer, _ = court.line._answer(court.line.number)
    assert isinstance(answer, m.Failed), answer
    assert answer.code.startswith(("fit.", "wire."))


def test_a_fit_goes_on_as_it_began(court: Court) -> None:
    """Resumes a fit with another model, other rows or less noise: there are no words for it."""
    run, _ = court.private(everybody, fit(steps=2, rate=0.5), slope())
    ask = {"kind": "resume_run", "run": run.id, "steps": 1, "epsilon": EPSILON}
    for more in ({"model": "x"}, {"plan": b""}, {"spec": {}}, {"sigma": 0.0}, {"clip": 1e9}, {"checkpoint": b""}):
        court.line.number += 1
        court.line.socket.send(msgpack.packb({"v": PROTOCOL_VERSION, "id": court.line.number, "body": ask | more}))
        assert court.line._answer(court.line.number)[0].code == "wire.fields"
    for steps, epsilon in ((-5, EPSILON), (1, -1.0), (1, EPSILON / 2), (MAX_STEPS, 1e9), (1, EPSILON)):
        answer = court.line.ask(m.ResumeRun(run.id, steps, epsilon))
        assert isinstance(answer, m.Failed | m.Denial), (steps, epsilon)
    # more steps are more epsilon, with the same noise
    assert isinstance(court.line.ask(m.ResumeRun(run.id, 1, 2 * EPSILON)), m.Run)
    after = court.line.until(run.id)
    assert (after.state, after.noise) == ("done", run.noise) and after.spent > run.spent


# -- the server itself


class Planted:
    """What unpickles to a written file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_planted_pickles_are_never_opened(court: Court) -> None:
    """Puts a pickle wherever bytes are taken."""
    mark = court.folder / "planted"
    planted = pickle.dumps(Planted(mark))
    pickle.loads(planted)  # what it would do
    assert mark.exists()
    mark.unlink()
    graph, weights = slope()
    line = court.line
    assert line.begin(planted, weights).code == "model.graph"
    assert line.fit(planted, fit(), line.model(slope())).code.startswith("plan.")
    assert isinstance(line.ask(m.ModelBegin(graphs.encode(graph), 4, planted)), m.Failed)
    assert isinstance(line.ask(m.RequestFit(planted, line.model(slope()), exact(), "please")), m.Failed)
    assert line.fit(encode(court.noisy.plan), fit(), planted.hex()).code == "missing.model"
    head = struct.pack("<Q", len(planted))
    for data in (
        planted,
        head + planted,
        weights[:8] + planted + weights[8:],
        weights + planted,
        b"PK\x03\x04" + planted,
    ):
        named = line.begin(graphs.encode(graph), data)
        assert isinstance(named, m.Model), named
        before = court.spent
        run = line.done(encode(court.noisy.plan), fit(), named.model)
        assert run.state == "failed" and run.code == "model.weights", run
        assert court.spent == before
    assert not mark.exists()


@pytest.mark.parametrize(
    "name",
    ["from_file", "aten::from_file", "aten.linear.default", "torch.ops.aten.linear", "linear.default", "Linear", "LINEAR",
     "linear ", " linear", "linear\0", "ｌinear", "__class__", "__import__", "os.system", "", "load", "save", "item ", "py_call",
     "linear" * 1000],
)  # fmt: skip
def test_an_operation_is_one_of_the_table(court: Court, name: str) -> None:
    """Spells what is not in the table in every way."""
    assert refused(court, (Node(name, (Ref(0), Ref(1), None)),)).code == "model.graph"
    assert isinstance(refused(court, (Node("linear", (Ref(0), Ref(1), None)),)), m.Model)


def test_graphs_have_no_loops_and_an_end(court: Court) -> None:
    """Refers to what comes later, to itself, to nothing; has more operations than there may be; lists without end."""
    for ref in (2, 3, -1, 1 << 40):
        assert refused(court, (Node("relu", (Ref(ref),)), Node("linear", (Ref(0), Ref(1), None)))).code == "model.graph"
    many = tuple(Node("relu", (Ref(0 if i == 0 else i + 1),)) for i in range(20_001))
    assert refused(court, many).code == "model.graph"
    assert refused(court, (Node("cat", (tuple(Ref(0) for _ in range(5_000)), 0)),)).code == "model.graph"
    graph, _ = slope()
    start, deep = (
        graphs.encode(graph).split(b"nodes")[0],
        b"\x91\x92" + msgpack.packb("relu") + b"\x91" * 5_000 + b"\x00",
    )
    assert court.line.begin(start + b"nodes" + deep + graphs.encode(graph)[-20:], b"").code == "model.graph"
    assert isinstance(court.line.ask(m.Ping()), m.Done)


@pytest.mark.parametrize(
    "node",
    [
        Node("zeros", ((1 << 39,), None)), Node("full", ((1 << 20, 1 << 20), 1.0, None)), Node("arange", (0, 1 << 39, 1, None)),
        Node("repeat", (Ref(0), (1 << 20, 1 << 20))), Node("pad", (Ref(0), (0, 1 << 39), 0)),
        Node("upsample_nearest2d", (Ref(0), (1 << 20, 1 << 20), None)),
    ],
    ids=lambda n: n.op,
)  # fmt: skip
def test_memory_is_counted_before_any_is_taken(court: Court, node: Node) -> None:
    """Makes a terabyte of nothing."""
    nodes = (
        node,
        Node("sum", (Ref(2), None, False)),
        Node("mul", (Ref(3), 0.0)),
        Node("linear", (Ref(0), Ref(1), None)),
    )
    made = Graph("sample", (Tensor("x", (1,)),), (Tensor("w", (1, 1)),), (*nodes, Node("add", (Ref(5), Ref(4), 1))), 6)
    named = court.line.begin(graphs.encode(made), safetensors({"w": np.zeros((1, 1))}))
    assert isinstance(named, m.Model), named
    before = court.spent
    run = court.line.done(encode(court.noisy.plan), fit(), named.model)
    assert run.state == "failed" and run.code in ("model.memory", "model.shapes"), run
    assert court.spent == before


def test_a_little_memory_is_there_for_the_same_operations(court: Court) -> None:
    """The same graph with a hundred numbers where there was a terabyte: it is trained."""
    nodes = (
        Node("zeros", ((100,), None)), Node("sum", (Ref(2), None, False)), Node("mul", (Ref(3), 0.0)),
        Node("linear", (Ref(0), Ref(1), None)), Node("add", (Ref(5), Ref(4), 1)),
    )  # fmt: skip
    made = Graph("sample", (Tensor("x", (1,)),), (Tensor("w", (1, 1)),), nodes, 6)
    run, _ = court.private(everybody, fit(), (made, safetensors({"w": np.zeros((1, 1))})))
    assert run.state == "done", run


def test_every_attack_is_on_record() -> None:
    on_record = {(each.file, each.test) for each in TRAINING}
    assert all(each.what and each.rule and each.test in names_of_tests(each.file) for each in TRAINING)
    beside = {"test_every_attack_is_on_record", "test_a_little_memory_is_there_for_the_same_operations"}
    assert {(WIRE, name) for name in names_of_tests(WIRE) - beside} == {e for e in on_record if e[0] == WIRE}


def test_uploads_are_as_announced_and_have_their_room(court: Court) -> None:
    """Announces a terabyte, sends more or less than it said, and something else than it said."""
    graph, weights = linear()
    data, digest = graphs.encode(graph), hashlib.sha256(weights).digest()
    for size in (1 << 39, -1, len(weights) + (1 << 20), 0):
        assert court.line.ask(m.ModelBegin(data, size, digest)).code in ("model.size", "wire.stream-size")
    assert court.line.begin(data, weights, hashlib.sha256(b"").digest()).code.startswith("wire.")
    assert court.line.ask(m.ModelBegin(data, len(weights), b"short")).code == "wire.stream-size"
    assert isinstance(court.line.ask(m.Ping()), m.Done)
