"""Step time and peak memory of plain torch, BastionLab and Opacus, side by side: `python tests/support/bench_training.py [--steps 10]`.

Each (model, batch, way) runs in a process of its own, one thread; the three ways of a pair run one after the other, in turns over
the rounds. Time is of the CPU, median over steps after warming; memory is how far the process grows while it trains.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRAINING = Path(__file__).parents[1] / "training"
WAYS = ("plain", "ours", "opacus")
#: larger models than those of the tests: what people train
LARGER = ("mlp 784-256-10", "cnn mnist")


def module_of(name: str) -> tuple[Any, Any]:
    import torch
    from models import made, without_randomness
    from torch import nn

    torch.manual_seed(0)
    if name == "mlp 784-256-10":
        return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)), torch.randn(784)
    if name == "cnn mnist":
        return nn.Sequential(
            nn.Conv2d(1, 16, 8, 2, 3), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Conv2d(16, 32, 4, 2), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Flatten(),
            nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 10),
        ), torch.randn(1, 28, 28)  # fmt: skip
    module, row = made(name)
    return without_randomness(module), row


def plain_step(module: Any, x: Any, y: Any) -> Callable[[], None]:
    import torch

    optimizer = torch.optim.SGD(module.parameters(), 0.01)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(module(x), y).backward()
        optimizer.step()

    return step


def opacus_step(module: Any, x: Any, y: Any) -> Callable[[], None]:
    import torch
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer
    from opacus.validators import ModuleValidator

    private = GradSampleModule(ModuleValidator.fix(module))
    plain = torch.optim.SGD(private.parameters(), 0.01)
    optimizer = DPOptimizer(plain, noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=len(x))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(private(x), y).backward()
        optimizer.step()

    return step


def our_step(module: Any, x: Any, y: Any) -> Callable[[], None]:
    """The worker's own step, of as many people as the others have; places for chance included."""
    import numpy as np
    import polars as pl
    from bastion_plan.models.fits import FitSpec, Optimizer
    from bastion_server.training import child
    from bastion_server.training.checkpoints import to_bytes
    from bastion_server.training.loop import Fit
    from fitting import GB, KEY, opened

    from bastion.client.training.exporting import export

    child.prepare()
    exported = export(module, [x[0]])
    weights = to_bytes({w.name: exported.weights[w.name].contiguous() for w in exported.graph.weights})
    frame = pl.DataFrame({"#~u": np.arange(len(x)), "#~o": np.arange(len(x))}).with_columns(
        x=pl.Series(x.reshape(len(x), -1).tolist()), y=pl.Series(y.tolist())
    )
    spec = FitSpec(
        (("x",),), ("y",), "l2", 100_000, Optimizer("sgd", 0.01), epsilon=1.0, rate=1.0, expected=float(len(x)), batch=len(x)
    )  # fmt: skip
    with opened(frame) as path:
        fit = Fit(exported.graph, spec, path, weights, KEY, 4 * GB)
    return lambda: void(fit.steps(1, 1.0))


def void(_: object) -> None:
    """Forget what a step says."""


def measured(name: str, batch: int, way: str, steps: int) -> dict[str, float]:
    """Run in a process of its own."""
    sys.path.insert(0, str(TRAINING))
    warnings.simplefilter("ignore")
    import torch
    from models import batch as rows_of

    torch.set_num_threads(1)
    module, row = module_of(name)
    x = rows_of(row, batch)
    y = torch.zeros(batch, module(x).shape[1])
    step = {"plain": plain_step, "ours": our_step, "opacus": opacus_step}[way](module, x, y)
    for _ in range(3):
        step()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    times = []
    for _ in range(steps):
        began = time.process_time()
        step()
        times.append(time.process_time() - began)
    return {"ms": 1000 * statistics.median(times), "mb": _status("VmHWM") - min(before, _status("VmRSS"))}


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """Print the table."""
    sys.path.insert(0, str(TRAINING))
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batches", type=int, nargs="*", default=[64, 256])
    parser.add_argument("--models", nargs="*")
    parser.add_argument("--one", nargs=3)
    given = parser.parse_args()
    if given.one:
        name, batch, way = given.one
        sys.stdout.write(json.dumps(measured(name, int(batch), way, given.steps)))
        return
    from models import MODELS

    sys.stdout.write("| model, batch | plain | ours | Opacus | ours / plain | Opacus / plain | memory: plain, ours, Opacus |\n|---|---|---|---|---|---|---|\n")  # fmt: skip
    for name in given.models or (*LARGER, *MODELS):
        for batch in given.batches:
            found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for _ in range(given.rounds):
                for way in WAYS:
                    command = [sys.executable, __file__, "--one", name, str(batch), way, "--steps", str(given.steps)]
                    done = subprocess.run(
                        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
                    )
                    if done.returncode == 0:
                        found[way].append(json.loads(done.stdout.splitlines()[-1]))
            ms = {w: statistics.median(f["ms"] for f in some) if some else None for w, some in found.items()}
            mb = [f"{max(f['mb'] for f in some):.0f}" if some else "fails" for some in found.values()]
            plain = ms["plain"] or 1.0
            times = [f"{v:.1f} ms" if v else "fails" for v in ms.values()]
            ratios = [f"{ms[w] / plain:.1f}x" if ms[w] else "-" for w in ("ours", "opacus")]  # type: ignore[operator]
            cells = [f"{name}, {batch}", *times, *ratios, f"{', '.join(mb)} MB"]
            sys.stdout.write("| " + " | ".join(cells) + " |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
