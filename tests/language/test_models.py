"""Models in cells: layers, optimisers and datasets, their places in errors, and what completion offers."""

from __future__ import annotations

import pytest
from bastion_plan.errors import BastionError

from bastion.language.completion import complete, inspect_at


def failing(run, cell):
    with pytest.raises(BastionError) as error:
        run(cell)
    return error.value


def test_a_model_is_a_value_that_prints_as_it_is_written(run):
    cell = "nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Residual(nn.Linear(32, 32)), nn.Linear(32, out_features=2))"
    shown = repr(run(cell).value)
    assert repr(run(shown).value) == shown
    assert "nn.Residual(\n        nn.Linear(32, 32),\n    )" in shown
    assert run("from torch import nn, optim\nimport torch.nn as layers\nlayers.ReLU()").kind == "value"
    assert run("optim.Adam(lr=0.01)").value.lr == 0.01
    assert run('ds = dataset("titanic").to_dataset(["Age"], "Survived").split(0.2)\nds.train.part').value == "train"
    assert run('x = dataset("titanic")[["Age"]].to_tensor()\n[x.shape, x.to("float32").dtype]').value == [
        (None, 1),
        "float32",
    ]


def test_an_error_stands_at_its_parameter(run):
    error = failing(run, "model = nn.Sequential(\n    nn.Linear(6, 2),\n    nn.Dropout(p=7),\n)")
    assert error.code == "model.layer"
    assert "nn.Dropout has 'p' = 7" in error.message
    assert (error.details["line"], error.details["column"]) == (3, 16)
    error = failing(run, "nn.BatchNorm1d(4)")
    assert "GroupNorm" in error.next_step
    assert failing(run, "nn.Linear(6, 2, biass=False)").details["column"] == 17
    assert failing(run, "nn = 3").code == "language.fixed-name"
    assert failing(run, 'dataset("titanic").to_dataset(["Agee"], "Survived")').code == "fit.columns"


def test_only_what_stands_in_the_tables_is_reached(run):
    for cell in (
        "nn.Linear(6, 2).layers",
        "nn.Module",
        "optim.Adam().kind",
        'dataset("titanic").to_dataset(["Age"], "Survived").frame',
    ):
        assert failing(run, cell).code in ("language.member", "model.layer")


def test_completion_and_inspection_read_the_table(env, run):
    run('ds = dataset("titanic").to_dataset(["Age"], "Survived")\nlearner = RemoteLearner(nn.Linear(1, 2), ds)')
    for text, expected in {
        "nn.Group": ["GroupNorm"], "optim.Ada": ["Adam", "AdamW"], "learner.fi": ["fit"], "learner.fit().los": ["losses"],
        "ds.sp": ["split"], "nn.Dropout(p": ["p="],
    }.items():  # fmt: skip
        assert complete(env, text, len(text)).matches[: len(expected)] == expected, text
    text = "nn.Conv2d("
    said = inspect_at(env, text, len(text))
    assert "kernel_size: a whole number from 1 to 1,024" in said
    assert "picture" in said
