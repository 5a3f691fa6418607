"""Learners on a real server: what a scientist types, and what comes of it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from bastion_plan.errors import InputError, Interrupted, PlanError
from bastion_plan.models.graph import encode
from bastion_server import start
from torch import nn

from bastion import Connection, Denied, Identity
from bastion import pl as b
from bastion.client.training.datasets import RemoteDataset
from bastion.client.training.learner import RemoteLearner
from bastion.client.training.optimizers import Adam, CosineLR
from bastion.client.training.tensors import train_test_split
from bastion.policy import Policy, Training, measure, quasi
from bastion.render.bundles import bundle

ROLES = {
    "pid": "identifier", "age": measure(0, 100), "income": measure(0, 100_000), "job": quasi("a", "b", "c"), "good": "sensitive",
}  # fmt: skip


def people(count: int = 2_000) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    age, income = rng.integers(20, 80, count), rng.normal(40_000, 12_000, count).clip(0, 100_000)
    job = rng.choice(["a", "b", "c"], count)
    score = (age - 50) / 15 + (income - 40_000) / 12_000 + (job == "a")
    good = score + rng.normal(0, 0.5, count) > 0
    return pl.DataFrame({"pid": np.arange(count), "age": age, "income": income, "job": job, "good": good})


class Place:
    """A server with one table twice: with a privacy budget, and under the default policy."""

    def __init__(self, folder: Any) -> None:
        self.olga, self.alice = Identity.create("olga"), Identity.create("alice")
        self.server = start(folder, owners=[self.olga], users=[self.alice])
        self.owner, self.scientist = self.connect(self.olga), self.connect(self.alice)
        caps = Training(max_steps=100_000, max_parameters=1_000_000)
        policy = Policy.private(epsilon=8, delta=1e-6, unit="pid", roles=ROLES, training=caps)
        self.owner.client.polars.send_df(people(), policy, name="credit")
        self.owner.client.polars.send_df(people(), Policy.default(), name="guarded", unit="pid")

    def connect(self, who: Identity) -> Connection:
        return Connection(self.server.endpoint, identity=who, server_key=self.server.server_key)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    torch.set_num_threads(1)
    found = Place(tmp_path_factory.mktemp("training"))
    yield found
    found.owner.close()
    found.scientist.close()
    found.server.stop()


def module() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.fixture(scope="module")
def dataset(place: Place) -> RemoteDataset:
    frame = place.scientist.dataset("credit")
    made = frame.to_dataset(inputs=["age", "income"], label="good")
    return made.scale_by_bounds().one_hot("job").split(test=0.25, seed=1)


@pytest.fixture(scope="module")
def learner(place: Place, dataset: RemoteDataset) -> RemoteLearner:
    torch_ = place.scientist.client.torch
    return torch_.RemoteLearner(
        module(), dataset.train, optimizer=Adam(lr=0.1), scheduler=CosineLR(0.1), max_batch_size=150
    )


def test_a_dataset_says_what_it_is(dataset):
    assert dataset.inputs == [["age", "income", "job=a", "job=b", "job=c"]]
    assert (dataset.labels, dataset.part, dataset.test.part, dataset.private) == (["good"], "train", "test", True)
    assert "25% of the people for testing" in repr(dataset)


def test_a_fit_from_the_first_estimate_to_the_model(place, dataset, learner):
    estimate = learner.summarize(nb_epochs=2, eps=4.0)
    assert (estimate.outcome, estimate.affordable, estimate.epsilon) == ("private", True, pytest.approx(4, rel=0.02))
    assert "nothing has been spent for it yet" in repr(estimate)
    assert "the owner allows 100,000 steps and 1,000,000 trained numbers" in repr(estimate)
    exported = learner.export()
    assert exported.report == (
        "130 trained numbers, 0.0 MB of weights, 3 operations (linear 2, relu 1), "
        f"{len(encode(exported.graph)):,} bytes as a graph"
    )
    assert exported.graph.mode == "sample" and torch.equal(exported.weights["0.weight"], module()[0].weight)
    assert f"the model as it is sent: {exported.report}" in repr(estimate)
    # batches that are accumulated are one step of a larger one
    parts = learner.summarize(nb_epochs=2, eps=4.0, batch_size=30, accumulate_grad_batches=5)
    assert (parts.steps, parts.noise, parts.epsilon) == (estimate.steps, estimate.noise, estimate.epsilon)
    counted = place.scientist.budget()["spent"].item()
    assert counted < 0.5  # how many people there are, once
    heard: list[Any] = []
    run = learner.fit(nb_epochs=2, eps=4.0, on_progress=heard.append)
    assert (run.state, run.steps) == ("done", estimate.steps)
    assert run.steps == pytest.approx(20, abs=2)
    assert [info.state for info in heard][-1] == "done"
    assert sorted(info.step for info in heard) == [info.step for info in heard]
    assert run.spent == pytest.approx(4, rel=0.02)
    measured = learner.test(dataset.test, eps=1.0)
    assert measured.name == "accuracy"
    assert float(measured) > 0.62
    assert 0 < measured.error < 0.3
    trained = learner.get_model()
    assert not torch.equal(trained[0].weight, module()[0].weight)
    assert torch.equal(learner.model[0].weight, module()[0].weight)  # a copy learns
    truth = people()
    x = torch.tensor(np.column_stack([
        (truth["age"] - 50) / 50, (truth["income"] - 50_000) / 50_000, *[(truth["job"] == j) for j in "abc"]
    ]), dtype=torch.float32)  # fmt: skip
    right = (trained(x).argmax(1).numpy() == truth["good"].to_numpy()).mean()
    assert right > 0.62
    card = trained.model_card.to_dict()
    assert "credit (version 1, of olga)" in card["data"]
    assert card["privacy"].startswith(f"({run.spent:.3g}, 5e-07)-differential privacy of a person")
    assert "accuracy" in card["measured"]
    assert "counted tightly" in card
    assert "takes at most 100,000 steps" in card["policy"]
    assert bundle(trained.model_card)["text/html"].count("<tr>") == len(card)


def test_fits_are_listed_and_found_again(place, learner):
    runs = place.scientist.runs()
    assert [run.id for run in runs] == [learner.run.id]
    shown = bundle(runs)
    assert "adam, lr 0.1" in shown["text/plain"]
    assert learner.run.id in shown["text/html"]
    again = place.scientist.run(learner.run.id)
    assert again.metrics["accuracy"].value == pytest.approx(float(learner.test(eps=1.0)))  # given again
    assert torch.equal(again.get_model(module())[0].weight, learner.get_model()[0].weight)
    chart = again.plot()
    assert chart.table["epoch"].to_list() == [1, 2]
    assert chart.spec["$schema"].endswith("v5.json")
    other = nn.Linear(3, 2)
    with pytest.raises(InputError, match="another model"):
        again.get_model(other)


def test_a_fit_goes_on_after_an_interrupt(learner):
    """As Ctrl-C does it: the waiting ends, the fit is stopped after its step, and what it came to is said."""
    begun = threading.Event()
    said: list[BaseException] = []
    connection = learner._connection

    def fit() -> None:
        try:
            learner.fit(nb_epochs=400, eps=2.0, on_progress=lambda info: info.step and begun.set())
        except BaseException as error:  # noqa: BLE001 - that it is raised is what counts
            said.append(error)

    before = connection._run

    def interrupted(work: Any) -> Any:
        """Run as the connection does, with the signal coming once the first step is done."""
        import asyncio

        connection._run = before
        future = asyncio.run_coroutine_threadsafe(work, connection._loop)
        begun.wait(60)
        future.cancel()
        raise KeyboardInterrupt

    connection._run = interrupted
    thread = threading.Thread(target=fit)
    thread.start()
    thread.join(90)
    assert isinstance(said[0], Interrupted), said
    assert said[0].code == "interrupted.fit"
    assert "Epsilon" in said[0].message
    run = learner.run
    assert run.state == "stopped"
    stopped = run.step
    assert 0 < stopped < run.steps
    assert learner.resume(nb_epochs=0.2).step > stopped


def test_watching_goes_on_when_the_connection_was_lost(place, dataset, learner):
    run = learner.fit(nb_epochs=300, eps=1.0, wait=False)
    other = place.connect(place.alice)
    again = other.run(run.id)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(again.wait()))
    thread.start()
    link = other._session._link
    other._loop.call_soon_threadsafe(link._end, __import__("bastion.client.link", fromlist=["lost"]).lost())
    time.sleep(0.1)
    run.stop()
    thread.join(60)
    assert found[0].state == "stopped"
    other.close()


def test_what_cannot_be_fitted_is_said_before_anything_is_sent(place, dataset, learner):
    frame = place.scientist.dataset("credit")
    refused = {
        "fit.dtype": lambda: frame.to_dataset(inputs=["age", "job"], label="good"),
        "fit.columns": lambda: frame.to_dataset(inputs=["aeg"], label="good"),
        "fit.split": lambda: frame.to_dataset(inputs=["age"], label="good").test,
        "fit.privacy": lambda: learner.fit(nb_epochs=1),
        "fit.people": lambda: learner.fit(nb_epochs=1, eps=1.0, people=-3),
        "fit.batch": lambda: learner.fit(nb_epochs=1, eps=1.0, accumulate=0),
        "fit.arguments": lambda: learner.fit(epochs=1, eps=1.0),
        "fit.standardise": lambda: frame.to_dataset(inputs=["age"], label="good").standardise(),
        "fit.loss": lambda: place.scientist.client.torch.RemoteLearner(module(), dataset.train, loss="hinge"),
        "fit.metric": lambda: learner.test(metric="mae"),
        "fit.dataset": lambda: learner.test(frame.to_dataset(inputs=["age"], label="good").split().test),
    }
    for code, do in refused.items():
        with pytest.raises(InputError) as error:
            do()
        assert error.value.code == code
        assert error.value.next_step
    with pytest.raises(InputError, match="'job'") as error:
        refused["fit.dtype"]()
    assert '.one_hot("job")' in error.value.next_step


def test_standardising_is_paid_once_it_is_said_what_it_may_cost(place):
    truth = people()
    sent = place.owner.client.polars.send_df(truth, Policy.private(epsilon=8, unit="pid", roles=ROLES), name="scaled")
    frame = place.scientist.dataset("scaled")
    made = frame.to_dataset(inputs=["age", "income"], label="good")

    def spent() -> float:
        return place.scientist.budget().filter(pl.col("datasets") == "scaled")["spent"].item()

    with pytest.raises(InputError) as asked:
        made.standardise()
    assert asked.value.code == "fit.standardise" and "nothing has been spent yet" in asked.value.message
    assert spent() == 0
    scaled = made.standardise(eps=4.0)
    assert spent() == pytest.approx(4.0)
    made.standardise(eps=4.0)  # told again
    assert spent() == pytest.approx(4.0)
    for name in ("age", "income"):  # the noise of both is a thirtieth of the deviation
        shift, size = of_scale(scaled.frame, name)
        mean, deviation = truth[name].mean(), truth[name].std()
        assert shift == pytest.approx(mean, abs=0.3 * deviation)
        assert size == pytest.approx(deviation, rel=0.3)
    sent.delete()


def of_scale(frame: Any, name: str) -> tuple[float, float]:
    """What a column of a frame is made less by, and divided by."""
    whole = next(e.input for e in frame.plan.exprs if e.name == name)
    assert (whole.function, whole.args[0].function) == ("truediv", "sub")
    return whole.args[0].args[1].value, whole.args[1].value


def test_without_noise_the_owner_decides(place):
    frame = place.scientist.dataset("guarded")
    x, y = (
        frame[["age", "income"]].with_columns(b.col("income") / 1e5, b.col("age") / 100).to_tensor(),
        frame["good"].to_tensor(),
    )
    with pytest.raises(InputError, match="not of the same rows"):
        RemoteDataset(inputs=[x], labels=y)
    scaled = frame.with_columns(b.col("income") / 1e5, b.col("age") / 100)
    x, y = scaled[["age", "income"]].to_tensor(), scaled["good"].to_tensor().to("int64")
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.25, random_state=1)
    assert (train_x.shape, train_y.dtype) == ((None, 2), "int64")
    train, test = RemoteDataset([train_x], train_y), RemoteDataset([test_x], test_y)
    learner = place.scientist.client.torch.RemoteLearner(
        nn.Linear(2, 2), train, optimizer=Adam(lr=0.1), max_batch_size=100
    )
    with pytest.raises(Denied) as denied:
        learner.fit(nb_epochs=1, people=1500)
    assert denied.value.outcome == "review"
    request = denied.value.request("To compare with what noise costs.")
    assert request.state == "pending"
    (filed,) = place.owner.requests("pending")
    assert "Train a model of 6 numbers" in filed.words
    graph = f"a graph of {len(encode(learner.export().graph)):,} bytes, "
    assert any(graph in line and line.endswith(" bytes of first weights") for line in filed.expressions), (
        filed.expressions
    )
    assert any(line.startswith("optimiser: adam, learning rate 0.1; schedule: ") for line in filed.expressions)
    # in another session of the scientist it is listed as the fit it is, and goes on there
    with place.connect(place.alice) as later:
        (listed,) = [r for r in later.requests("pending") if r.id == request.id]
        assert (listed.model, listed.spec) == (request.model, request.spec)
        filed.approve("Fine.")
        run = listed.wait(60)
        assert (run.state, run.info.approved) == ("done", True)
    assert (denied.value.wait(60).id, learner.run.id) == (run.id, run.id)
    assert 0.5 < float(learner.test(test)) <= 1
    assert "the owner approved it" in learner.get_model().model_card.to_dict()["privacy"]


def test_layers_that_look_at_a_batch_learn_where_no_noise_is_added(place, dataset):
    frame = place.scientist.dataset("guarded").with_columns(b.col("income") / 1e5, b.col("age") / 100)
    made = frame.to_dataset(inputs=["age", "income"], label="good")
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    new = place.scientist.client.torch.RemoteLearner
    learner = new(model, made, optimizer=Adam(lr=0.1), max_batch_size=200)
    assert learner.export().graph.mode == "batch"
    with pytest.raises(InputError, match="BatchNorm") as refused:
        learner.fit(nb_epochs=1, people=2000, accumulate=2)
    assert refused.value.code == "fit.batch" and "batch_size=400" in refused.value.next_step
    with pytest.raises(Denied) as denied:
        learner.fit(nb_epochs=2, people=2000)
    denied.value.request("To see whether statistics of a batch come home.")
    (filed,) = place.owner.requests("pending")
    assert any("batch_norm 1" in line for line in filed.expressions)
    filed.approve("Fine.")
    assert denied.value.wait(60).state == "done"
    trained = learner.get_model()
    assert trained[1].running_mean.abs().max() > 0.01 and not torch.equal(trained[0].weight, model[0].weight)
    # with noise it is refused, before anything is sent or spent
    before = place.scientist.budget()["spent"].to_list()
    with pytest.raises(PlanError, match="BatchNorm1d") as refused:
        new(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)), dataset.train).fit(nb_epochs=1, eps=1.0, people=1500)
    assert refused.value.code == "model.mixes"
    assert place.scientist.budget()["spent"].to_list() == before


class Against(nn.Module):
    """Two inputs, of which each has its own weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(1, 2), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.one(x) + self.two(y)


def test_a_model_of_several_inputs_gets_each_of_its_own_columns(place):
    rng = np.random.default_rng(5)
    count = 3_000
    x, y, z = (rng.integers(0, 2, count) for _ in range(3))
    frame = pl.DataFrame({"pid": np.arange(count), "x": x, "y": y, "z": z, "more": x > y})
    roles = {"pid": "identifier", **dict.fromkeys("xyz", measure(0, 1)), "more": "sensitive"}
    place.owner.client.polars.send_df(frame, Policy.private(epsilon=8, unit="pid", roles=roles), name="against")
    made = place.scientist.dataset("against").to_dataset(inputs=[["x"], ["y", "z"]], label="more")
    assert made.inputs == [["x"], ["y", "z"]]
    learner = place.scientist.client.torch.RemoteLearner(Against(), made, optimizer=Adam(lr=0.3), max_batch_size=300)
    assert [one.shape for one in learner.export().graph.inputs] == [(1,), (2,)]
    assert learner.fit(nb_epochs=3, eps=6.0, people=count).state == "done"
    trained = learner.get_model()
    rows = torch.tensor([[1.0], [0.0], [1.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    one, other, same = (trained(*rows)[:, 1] - trained(*rows)[:, 0]).tolist()
    assert one > max(other, same) and other < same, "x speaks for it, y against it"
    measured = learner.test(metric="f1", eps=1.0)
    assert measured.metric.noisy and 0 < measured.error < 0.3
    x_, yz = (torch.tensor(np.column_stack(some), dtype=torch.float32) for some in ([x], [y, z]))
    said = trained(x_, yz).argmax(1).numpy()
    true = 2 * (said * (x > y)).sum() / (said.sum() + (x > y).sum())
    assert float(measured) == pytest.approx(true, abs=3 * measured.error)


def test_shapes_and_values_that_are_not_known_are_asked_for(place):
    frame = place.scientist.dataset("guarded")
    listed = frame.with_columns(b.concat_list("age", "income").alias("both"))
    for make in (
        lambda: listed.to_dataset(inputs=["both"], label="good"),
        lambda: frame.to_dataset(inputs=["age", "income"], label="good", shape=(3,)),
        lambda: listed.to_dataset(inputs=["both"], label="good", shape=(0,)),
    ):
        with pytest.raises(InputError) as refused:
            make()
        assert refused.value.code == "fit.shape" and "shape" in refused.value.next_step
    assert listed.to_dataset(inputs=["both"], label="good", shape=(2,))._rows.inputs[0].shape == (2,)
    made = frame.to_dataset(inputs=["age"], label="good")
    with pytest.raises(InputError, match="'job' are not declared") as refused:
        made.one_hot("job")
    assert refused.value.code == "fit.domain" and 'one_hot({"job": ["a", "b"]})' in refused.value.next_step
    with pytest.raises(InputError, match="'job'"):
        made.one_hot({"job": []})
    assert made.one_hot({"job": ["a", "b"]}).inputs == [["age", "job=a", "job=b"]]


def test_tensors_are_sent_listed_and_deleted(place):
    from torch.utils.data import TensorDataset

    client = place.owner.client.torch
    rows = TensorDataset(torch.randn(40, 3), torch.arange(40) % 2)
    small = client.send_dataset(rows, name="tensors", unit="row")
    assert (small.inputs, small.labels) == ([["input0_0", "input0_1", "input0_2"]], ["label"])
    pictures = client.send_dataset(
        [(torch.zeros(1, 9, 9), 1.0) for _ in range(12)], name="pictures", policy=Policy.default(), unit="row"
    )
    assert [one.shape for one in pictures._rows.inputs] == [(1, 9, 9)]
    assert {"tensors", "pictures"} <= {frame.name for frame in client.list()}
    for sent in (small, pictures):
        client.delete(sent)
    assert not {"tensors", "pictures"} & {frame.name for frame in client.list()}
    with pytest.raises(InputError, match="an input and a label"):
        client.send_dataset([1, 2])


def test_nothing_of_torch_is_loaded_before_a_model_is():
    code = "import bastion, bastion.language, bastion.render.bundles, bastion_widgets.show, sys; from bastion import Connection; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
