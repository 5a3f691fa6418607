"""What a pass does, recorded once and run from the record: the same numbers as without, whatever the rows hold."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from bastion_server.training.clipping import Clipper
from bastion_server.training.dry_run import measure
from bastion_server.training.recorded import Recorded
from fitting import fit, spec, table
from models import MODELS, batch, made, without_randomness

from bastion.client.training.exporting import export

PEOPLE, ROWS = 5, 2


def loss(out: Tensor, label: Tensor) -> Tensor:
    return (out - label).square().sum()


def clipper_of(module: nn.Module, row: Tensor, patience: int | None) -> tuple[Clipper, list[Tensor]]:
    exported = export(module, [row])
    made = Clipper(exported.graph, measure(exported.graph, most=1 << 30), loss, patience)
    return made, [exported.weights[w.name] for w in exported.graph.weights]


@pytest.mark.parametrize("name", MODELS)
def test_a_record_gives_the_same_numbers(name: str) -> None:
    module, row = made(name)
    module = without_randomness(module)
    width = module(row[None]).shape[1]
    plain, weights = clipper_of(module, row, None)
    recording, _ = clipper_of(module, row, 1)
    for turn in range(4):
        rows = batch(row, PEOPLE * ROWS + turn)[turn:].reshape(PEOPLE, ROWS, *row.shape)
        labels = torch.linspace(-1, turn, PEOPLE * ROWS * width).reshape(PEOPLE, ROWS, width)
        there = torch.ones(PEOPLE, ROWS, dtype=torch.bool)
        there[turn, 0], there[0] = False, False
        if turn == 3:
            labels[2] = float("nan")
            weights[0].mul_(0.5)
        a, b = (c.sums([rows], labels, there, weights, 0.3, 1e-9) for c in (plain, recording))
        assert len(recording._records) == (turn > 0)
        # every kind of model is gone through by torch's own interpreter
        assert all(record._run != record._by_python for record in recording._records.values())
        for x, y in zip(a.sums, b.sums, strict=True):
            assert torch.equal(x, y)
        assert torch.equal(a.losses.nan_to_num(-1), b.losses.nan_to_num(-1))
        assert (a.error, a.left_out, a.clipped) == (b.error, b.left_out, b.clipped)
        assert b.left_out == (turn == 3)
    # another number of people is another record
    recording.sums([rows[:3]], labels[:3], there[:3], weights, 0.3, 1e-9)
    assert len(recording._records) == 1


def test_what_is_random_is_drawn_again_and_for_each_row() -> None:
    module = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 2))
    clipper, weights = clipper_of(module, torch.ones(4), 0)
    given = [torch.ones(8, 1, 4)], torch.ones(8, 1, 2), torch.ones(8, 1, dtype=torch.bool), weights, 1.0
    found = [clipper.sums(*given).losses for _ in range(3)]
    assert clipper._records
    assert len({*torch.cat(found).tolist()}) == 24


def test_what_looks_at_numbers_is_not_recorded_and_runs_all_the_same() -> None:
    with pytest.raises(RuntimeError):
        Recorded(lambda x: [x + 1 if float(x.sum()) > 0 else x], [torch.ones(2)])
    clipper, weights = clipper_of(nn.Linear(4, 2), torch.ones(4), 0)
    clipper.loss = lambda out, label: out.sum() if clipper.patience is None else torch.tensor(float(out.data_ptr()))
    found = clipper.sums([torch.ones(3, 1, 4)], torch.ones(3, 1, 2), torch.ones(3, 1, dtype=torch.bool), weights, 1.0)
    assert not clipper._records and clipper.patience is None
    assert found.clipped == 3


def test_a_long_fit_is_recorded_and_a_short_one_is_not() -> None:
    for steps in (20, 1000):
        made = fit(table(60), spec(steps=steps), sigma=1.0)
        assert made.clipper is not None
        for _ in range(4):
            assert made.steps(4, 1.0) is not None
        assert bool(made.clipper._records) == (steps == 1000)
        assert made.finite()
