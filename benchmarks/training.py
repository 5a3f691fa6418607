"""(l) A step of training with noise: plain torch, BastionLab and Opacus side by side, time and memory.

`python -m benchmarks.training [--models lenet] [--batches 128] [--rounds 3]` measures some. Each (model, batch, way) runs in a process of
its own, one thread; the three ways of a pair run one after the other, in turns over the rounds. Time is of the CPU, median over steps
after warming; memory is how far the process grows from before the model's step is built until it has trained: what it keeps of it
counts, the code of the libraries does not, which a small model loaded before. Plain torch is eager, and adds no noise.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TRAINING = ROOT / "tests" / "training"
WAYS = ("plain", "ours", "opacus")
BATCHES = (64, 256)
#: times as long as plain torch, at most
GOAL = 2.5
#: larger models than those of the tests: what people train
LARGER = ("mlp 784-256-10", "cnn mnist")
Step = Callable[[], None]
#: makes a step; what it takes of memory counts
Build = Callable[[], Step]


def module_of(name: str) -> tuple[Any, Any]:
    """Return a model and a row of its input."""
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


def plain_step(module: Any, x: Any, y: Any) -> Build:
    """A step of torch itself."""
    import torch

    def build() -> Step:
        optimizer = torch.optim.SGD(module.parameters(), 0.01)

        def step() -> None:
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(module(x), y).backward()
            optimizer.step()

        return step

    return build


def opacus_step(module: Any, x: Any, y: Any) -> Build:
    """A step of Opacus, of as many people."""
    import torch
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer
    from opacus.validators import ModuleValidator

    module = without_bags(ModuleValidator.fix(module))

    def build() -> Step:
        private = GradSampleModule(module)
        plain = torch.optim.SGD(private.parameters(), 0.01)
        optimizer = DPOptimizer(plain, noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=len(x))

        def step() -> None:
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(private(x), y).backward()
            optimizer.step()

        return step

    return build


def without_bags(module: Any) -> Any:
    """Return a module whose bags of embeddings are an embedding and its mean: Opacus knows bags by index and offset alone."""
    from torch import Tensor, nn

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(1)

    for name, child in module.named_children():
        if isinstance(child, nn.EmbeddingBag):
            # padding counts in this mean: Opacus has no more to do than ours, rather less
            rows = nn.Embedding(child.num_embeddings, child.embedding_dim, child.padding_idx)
            rows.weight.data.copy_(child.weight.data)
            setattr(module, name, nn.Sequential(rows, Mean()))
        else:
            without_bags(child)
    return module


def our_step(module: Any, x: Any, y: Any) -> Build:
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

    def build() -> Step:
        with opened(frame) as path:
            fit = Fit(exported.graph, spec, path, weights, KEY, 4 * GB)
        return lambda: void(fit.steps(1, 1.0))

    return build


def void(_: object) -> None:
    """Forget what a step says."""


def measured(name: str, batch: int, way: str, steps: int) -> dict[str, float]:
    """Run in a process of its own."""
    sys.path.insert(0, str(TRAINING))
    warnings.simplefilter("ignore")
    import torch
    from models import batch as rows_of

    torch.set_num_threads(1)
    step_of = {"plain": plain_step, "ours": our_step, "opacus": opacus_step}[way]
    # what each way loads of itself, whatever it trains
    small = step_of(torch.nn.Linear(2, 1), torch.ones(4, 2), torch.zeros(4, 1))()
    for _ in range(3):
        small()
    module, row = module_of(name)
    x = rows_of(row, batch)
    with torch.no_grad():
        y = torch.zeros(batch, module(x[:2]).shape[1])
    build = step_of(module, x, y)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    step = build()
    # each width that chance brings is run once as it is and then recorded
    for _ in range(12):
        step()
    times = []
    for _ in range(steps):
        began = time.process_time()
        step()
        times.append(time.process_time() - began)
    return {"ms": 1000 * statistics.median(times), "mb": _status("VmHWM") - before}


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def side_by_side(name: str, batch: int, steps: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Return what was measured of each way; nothing of one that fails."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(rounds):
        for way in WAYS:
            command = [
                sys.executable,
                "-m",
                "benchmarks.training",
                "--one",
                name,
                str(batch),
                way,
                "--steps",
                str(steps),
            ]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)  # noqa: S603 - our own module
            if done.returncode == 0:
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def measure_training(
    models: Sequence[str] = (), batches: Sequence[int] = BATCHES, *, steps: int = 7, rounds: int = 1
) -> list[dict[str, str]]:
    """Return rows of the table. models: by name; none for all."""
    return list(_rows(models or names(), batches, steps, rounds))


def names() -> tuple[str, ...]:
    """Return the names of all models."""
    sys.path.insert(0, str(TRAINING))
    from models import MODELS

    return (*LARGER, *MODELS)


def _rows(models: Sequence[str], batches: Sequence[int], steps: int, rounds: int) -> Iterator[dict[str, str]]:
    for name in models:
        for batch in batches:
            found = side_by_side(name, batch, steps, rounds)
            ms = {way: statistics.median(f["ms"] for f in some) for way, some in found.items() if some}
            mb = {way: max(f["mb"] for f in some) for way, some in found.items() if some}

            def said(way: str, ms: dict[str, float] = ms) -> str:
                if way not in ms:
                    return "fails"
                return f"{ms[way]:.1f} ms" + (
                    f" = {ms[way] / ms['plain']:.1f}x" if way != "plain" and "plain" in ms else ""
                )

            ours, plain, opacus = (ms.get(way) for way in ("ours", "plain", "opacus"))
            within = ours is not None and plain is not None and ours <= GOAL * plain
            ahead = ours is not None and (opacus is None or ours < opacus)
            memory = ", ".join(f"{mb[way]:.0f}" if way in mb else "-" for way in WAYS)
            yield {
                "what": f"(l) a step of training with noise, {name}, {batch} people: plain / ours / Opacus",
                "measured": f"{' / '.join(map(said, WAYS))}; memory {memory} MB",
                "goal": f"<= {GOAL}x: {'met' if within else 'MISSED'}; ahead of Opacus: {'met' if ahead else 'MISSED'}",
            }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batches", type=int, nargs="*", default=list(BATCHES))
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        name, batch, way = given.one
        sys.stdout.write(json.dumps(measured(name, int(batch), way, given.steps)))
        return
    sys.stdout.write("| what | median | goal |\n|---|---|---|\n")
    for row in _rows(given.models or names(), given.batches, given.steps, given.rounds):
        sys.stdout.write(f"| {row['what']} | {row['measured']} | {row['goal']} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
