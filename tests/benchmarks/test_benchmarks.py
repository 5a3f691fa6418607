"""The benchmarks run, on tables so small that their figures say nothing: every question is asked and answered."""

from pathlib import Path

import polars as pl
import pytest
from bastion_server import start

from bastion import Connection, Identity

ROOT = Path(__file__).parents[2]
ROWS = 20_000


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def complete(rows):
    """Every row has its three parts, and every goal says whether it is met."""
    for row in rows:
        assert set(row) == {"what", "measured", "goal"}
        assert row["what"] and row["measured"]
        assert not row["goal"] or "met" in row["goal"] or "MISSED" in row["goal"], row
    return rows


@pytest.mark.parametrize("rows_per_unit", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_the_guard_is_measured_by_profile_with_and_without_a_history(rows_per_unit):
    from benchmarks.guard import measure_guard
    from benchmarks.places import questions

    rows = complete(measure_guard(ROWS, runs=1, releases=30, per_units=(rows_per_unit,)))
    asked = {(r["what"].split(",")[0], "after 30" in r["what"]) for r in rows}
    exact = {("(g) default", False), ("(g) strict", False), ("(g) default", True), ("(g) strict", True)}
    assert exact | {("(g) private", False)} <= asked
    assert len(rows) == 3 * len(questions(ROWS)) - 1 + 4 + 2, "noise is not drawn for the most groups"
    assert not [r for r in rows if "not released" in r["measured"]]
    ratios = [r for r in rows if "= " in r["measured"]]
    assert len(ratios) == len(rows) - 2
    alone = [r for r in ratios if "alone" in r["measured"]]
    assert len(alone) == 2 * len(questions(ROWS)), "default and strict, without history"


def test_a_question_that_is_refused_is_said_to_be(tmp_path):
    from benchmarks.places import fetched

    alice, olga = (Identity.create(name, tmp_path / "keys") for name in ("alice", "olga"))
    with start(tmp_path / "server", owners=[olga], users=[alice]) as server:
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
            owner.client.polars.send_df(pl.DataFrame({"a": range(30)}), name="t", unit="row")
        with Connection(server.endpoint, identity=alice, server_key=server.server_key) as user:
            frame = user.client.polars.get_df("t")
            assert fetched(frame), "rows are not released"
            assert fetched(frame.select(pl.len())) == ""


def test_the_snap_check_is_measured():
    from benchmarks.history import measure_history

    rows = complete(measure_history(ROWS, releases=30))
    assert [r["goal"].startswith("<= 50 ms") for r in rows] == [True, False, True, False, True, False]
    assert "MB on disk" in rows[-1]["measured"]


def test_the_session_of_the_history_is_of_distinct_releases():
    import numpy as np

    from benchmarks.history import session, spread_over

    channel = session(releases=40, cells=5, filters=8)
    assert channel.parts.shape[0] == 41
    assert np.unique(channel.parts, axis=0).shape[0] == 41
    kind = np.random.default_rng(0).integers(0, 40, 4_000)
    large = spread_over(channel, kind)
    assert large.sizes.sum() == 4_000
    # a stored population is the same people as of the kinds that the session put into it
    chosen = np.isin(kind, channel.population(7, 2))
    assert np.array_equal(large.population(7, 2), np.flatnonzero(chosen))


def test_the_audit_is_measured_and_says_what_is_beyond_it():
    from benchmarks.audit import measure_audit

    rows = complete(measure_audit(((40, 400, 0.1),), runs=1))
    beyond = [r["measured"] for r in rows if "beyond" in r["what"]]
    assert [rule in text for rule, text in zip(("(rank)", "(atoms)", "(entries)"), beyond, strict=True)] == [True] * 3


@pytest.mark.parametrize("paints", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_completion_help_and_the_first_paint_are_measured(paints):
    from benchmarks.cells import COMPLETIONS, measure_cells

    rows = complete(measure_cells(len(COMPLETIONS), paints))  # raises where nothing is offered
    assert [r["goal"].startswith("<= 30 ms p95") for r in rows[:2]] == [True, True]
    assert len(rows) == (4 if paints else 2)


def test_some_parts_can_be_run_on_smaller_tables(capsys):
    from benchmarks.__main__ import main

    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "there is no part 'nothing'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--write", "--rows", "1000"])
    assert "full size" in capsys.readouterr().err


@pytest.mark.slow
def test_training_is_measured_beside_plain_torch_and_opacus():
    from benchmarks.training import measure_training, names

    assert {"lenet", "encoder", "mlp 784-256-10"} <= set(names())
    (row,) = complete(measure_training(("logistic regression",), (8,), steps=2))
    assert "fails" not in row["measured"]
    assert row["measured"].count("ms") == 3


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_opacus_gets_a_bag_of_embeddings_that_it_can_take():
    import torch
    from torch import nn

    from benchmarks.training import opacus_step, without_bags

    bag = nn.Sequential(nn.EmbeddingBag(9, 4, mode="mean", padding_idx=0), nn.Linear(4, 2))
    words = torch.tensor([[1, 2, 3], [4, 4, 8]])  # without padding, which counts in its mean
    expected = bag(words).detach()
    step = opacus_step(bag, words, torch.zeros(2, 2))()  # of a copy
    made = without_bags(bag)
    assert not any(isinstance(layer, nn.EmbeddingBag) for layer in made.modules())
    assert torch.allclose(made(words), expected)
    step()


def test_attestation_is_measured():
    from benchmarks.attestation import measure_attestation

    rows = complete(measure_attestation(runs=3))
    assert all("SEV-SNP" in row["what"] for row in rows[:2])
    assert [row["what"].split()[5] for row in rows[2:]] == ["TDX", "SGX", "Nitro"]
