"""Fits: how far one is in a line, a table of several, what they would cost, the card of a model, the loss as a chart."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from bastion_plan.errors import InputError
from bastion_policy.private.budget import shown

from bastion.render.cards import grid_html, grid_text
from bastion.render.safe_text import safe_html, safe_text
from bastion.render.tables import STYLE

if TYPE_CHECKING:
    from bastion_policy.facts import DatasetFacts
    from bastion_wire.messages import FitSummary, Metric, RunInfo

    from bastion.render.charts import Chart

_LOSSES = {
    "cross_entropy": "cross-entropy",
    "bce": "binary cross-entropy",
    "l2": "squared error",
    "l1": "absolute error",
}


def epoch_of(info: RunInfo) -> str:
    """Return the epoch that a fit is in, and how many there are; empty where it has none."""
    every = info.spec.epoch
    if not every:
        return ""
    whole = -(-info.steps // every)
    return f"epoch {min(whole, info.step // every + 1)} of {whole}"


def progress_line(info: RunInfo) -> list[str]:
    """Return the parts of the line that says how far a fit is."""
    if info.state == "queued":
        return ["waiting to begin training"]
    share = f" {info.step / info.steps:.0%}" if info.steps else ""
    parts = [f"training{share}", epoch_of(info), f"step {info.step:,} of {info.steps:,}"]
    if info.rate > 0:
        parts.append(f"{info.rate:.3g} steps/s")
        left = (info.steps - info.step) / info.rate
        parts.append(f"{left:.0f} s left" if left < 90 else f"{left / 60:.0f} min left")
    if info.spec.private:
        parts.append(f"epsilon {shown(info.spent)} of {shown(info.epsilon)} spent")
    if (last := _last(info)) is not None:
        parts.append(f"loss {last:.3g}")
    return [part for part in parts if part]


def run_text(info: RunInfo) -> str:
    """Return a fit as text."""
    words = {
        "done": "done",
        "queued": "waits for its turn",
        "running": "running",
        "stopped": "stopped",
        "failed": "failed",
    }
    first = f"Fit {info.id}: {words.get(info.state, info.state)}, {info.step:,} of {info.steps:,} steps"
    if (epochs := _epochs(info)) != "":
        first += f" ({epochs})"
    lines = [f"{first} on {', '.join(info.datasets)}."]
    if info.problem:
        lines.append(info.problem)
    lines += [
        f"  {name}: {words}"
        for name, words in (("cost", _cost(info)), ("loss", _noisy_curve(info)), ("measured", _metrics(info)))
        if words
    ]
    return "\n".join(map(safe_text, lines))


def run_html(info: RunInfo) -> str:
    """Return a fit as HTML."""
    first, *rest = run_text(info).splitlines()
    body = "".join(f"<div>{safe_html(line.strip())}</div>" for line in rest)
    kind = "bad" if info.state == "failed" else "good" if info.state == "done" else ""
    return f'{STYLE}<div class="bastion"><div class="box {kind}"><div><b>{safe_html(first)}</b></div>{body}</div></div>'


_HEADER = ("run", "state", "data", "by", "started", "steps", "settings", "cost", "loss", "measured")
NO_RUNS = "Nothing was trained yet."


def _rows(infos: Iterable[RunInfo]) -> list[tuple[str, ...]]:
    return [
        (
            info.id, info.state, ", ".join(info.datasets), "" if info.mine else info.requester,
            time.strftime("%m-%d %H:%M", time.localtime(info.created)), f"{info.step:,} of {info.steps:,}", settings(info),
            _cost(info), _curve(info), _metrics(info),
        )
        for info in infos
    ]  # fmt: skip


def runs_text(infos: Sequence[RunInfo]) -> str:
    """Return several fits as a table of text."""
    return grid_text(_HEADER, _rows(infos)) if infos else NO_RUNS


def runs_html(infos: Sequence[RunInfo]) -> str:
    """Return several fits as a table of HTML."""
    return f'{STYLE}<div class="bastion">{grid_html(_HEADER, _rows(infos)) if infos else NO_RUNS}</div>'


def settings(info: RunInfo) -> str:
    """Return how a fit is made, in short."""
    spec = info.spec
    people = f"about {spec.expected:.0f} people a step" if spec.private else f"{spec.batch} people a step"
    parts = [
        f"{spec.optimizer.kind}, lr {spec.optimizer.lr:g}",
        people,
        f"{info.parameters:,} numbers" if info.parameters else "",
    ]
    if spec.private:
        parts.append(f"clip {spec.clip:g}")
    return "; ".join(part for part in parts if part)


def _epochs(info: RunInfo) -> str:
    every = info.spec.epoch
    if not every:
        return ""
    count = info.steps / every
    return (
        f"{count:.0f} epoch{'s' if round(count) != 1 else ''}"
        if abs(count - round(count)) < 0.05
        else f"{count:.1f} epochs"
    )


def _cost(info: RunInfo) -> str:
    if not info.spec.private:
        return "without noise, approved by the owner" if info.approved else "without noise"
    words = f"epsilon {shown(info.spent)} of {shown(info.epsilon)}, delta {info.delta:g}"
    return f"{words}; tightly counted {shown(info.tight)}" if info.tight else words


def _last(info: RunInfo) -> float | None:
    return next((v for v in reversed(info.losses) if v is not None), None)


def _curve(info: RunInfo) -> str:
    known = [v for v in info.losses if v is not None]
    if not known:
        return ""
    return f"{known[0]:.3g} → {known[-1]:.3g}" if len(known) > 1 else f"{known[0]:.3g}"


def _noisy_curve(info: RunInfo) -> str:
    """Return the curve, and that its numbers have noise: of few people it may fall below 0."""
    curve = _curve(info)
    return f"{curve} (with noise)" if curve and info.spec.private else curve


def _metrics(info: RunInfo) -> str:
    """Return what was measured in short. Metrics travel as plain dicts of what `Metric` holds."""
    found = []
    for name, one in info.metrics.items():
        value, error = (one.get("value"), one.get("error")) if isinstance(one, dict) else (None, None)
        if isinstance(value, int | float):
            found.append(f"{name} {value:.3g}" + (f" ± {error:.1g}" if error else ""))
    return ", ".join(found)


# ---- what is measured, what it would cost -------------------------------------------------------------------------


def measured_text(metric: Metric) -> str:
    """Return a measured number as text."""
    where = {"test": "of the people for testing", "train": "of the people it was trained on"}.get(metric.part, "")
    cost = f"; epsilon {shown(metric.epsilon)}" if metric.epsilon else ""
    if metric.matrix:
        size = len(metric.matrix)
        rows = [(f"is {i}", *(f"{v:,.0f}" for v in row)) for i, row in enumerate(metric.matrix)]
        return f"{metric.name} {where}{cost}\n{grid_text(('', *(f'said {i}' for i in range(size))), rows)}"
    value = "not a number" if metric.value is None else f"{metric.value:.4g}"
    error = f" ± {metric.error:.2g}" if metric.error else ""
    return safe_text(f"{metric.name} {value}{error} {where}{cost}")


def summary_text(summary: FitSummary, people: float, epochs: float, report: str = "") -> str:
    """Return what a fit would cost as text. report: what is sent of the model."""
    what = f"{epochs:g} epochs of about {people:,.0f} people: {summary.steps:,} steps, {summary.parameters:,} trained numbers"
    match summary.outcome:
        case "private" if summary.affordable:
            first = f"It would cost epsilon {shown(summary.epsilon)} (delta {summary.delta:g}); nothing has been spent for it yet."
        case "private":
            first = f"It would cost epsilon {shown(summary.epsilon)} (delta {summary.delta:g}), for which too little is left."
        case "review":
            first = "An owner has to approve it."
        case _:
            first = "It is refused."
    lines = [first, summary.reason, summary.fix, f"  {what}"]
    if report:
        lines.append(f"  the model as it is sent: {report}")
    if summary.noise:
        lines.append(f"  noise: {summary.noise:.3g} times the bound of a person's gradient, in each step")
    if summary.share:
        lines.append(f"  that is {summary.share:.0%} of the budget")
    owner = [
        f"{most:,} {what}"
        for most, what in ((summary.max_steps, "steps"), (summary.max_parameters, "trained numbers"))
        if most
    ]
    if owner:
        lines.append(f"  the owner allows {' and '.join(owner)}")
    if summary.memory:
        lines.append(f"  memory of a pass on the server: {max(1, round(summary.memory / 1e6)):,} MB")
    return "\n".join(
        safe_text(line) for line in [*lines, *summary.notes, *(b.sentence for b in summary.budget)] if line
    )


# ---- the card of a model ------------------------------------------------------------------------------------------


def card_lines(info: RunInfo, facts: Iterable[DatasetFacts]) -> list[tuple[str, str]]:
    """Return the entries of a model's card."""
    from bastion_policy.words import policy_words

    spec = info.spec
    known = list(facts)
    names = ", ".join(f"{f.name} (version {f.version}, of {f.owner})" for f in known) or ", ".join(info.datasets)
    units = {("a row" if f.unit is None else f"all rows of one {f.unit}") for f in known}
    lines = [
        ("data", names),
        ("inputs", "; ".join(", ".join(some[:12]) + (" …" if len(some) > 12 else "") for some in spec.inputs)),
        ("label", ", ".join(spec.labels)),
        ("model", f"{info.parameters:,} trained numbers"),
        ("loss", _LOSSES.get(spec.loss, spec.loss)),
        ("trained", f"{info.step:,} of {info.steps:,} steps ({_epochs(info)}); {settings(info)}" if _epochs(info) else f"{info.step:,} steps; {settings(info)}"),
    ]  # fmt: skip
    if spec.split.test:
        lines.append(("for testing", f"{spec.split.test:.0%} of the people, seed {spec.split.seed}"))
    if spec.private:
        promise = f"({shown(info.spent)}, {info.delta:g})-differential privacy of a person"
        lines.append(
            (
                "privacy",
                f"{promise} ({' and '.join(sorted(units)) or 'all rows of one'} added or removed), of this fit alone",
            )
        )
        if info.tight:
            lines.append(("counted tightly", f"epsilon {shown(info.tight)} (PRV accounting)"))
        lines.append(("noise", f"{info.noise:.3g} times the bound {spec.clip:g} of a person's gradient, in each step"))
    else:
        lines.append(
            ("privacy", "no noise was added; the owner approved it" if info.approved else "no noise was added")
        )
    if (curve := _noisy_curve(info)) != "":
        lines.append(("loss by epoch", curve))
    if (metrics := _metrics(info)) != "":
        lines.append(("measured", metrics + (" (with noise, paid for)" if spec.private else "")))
    for one in known:
        words = list(policy_words(one.policy)[:3])
        if one.policy.training is not None:
            words.append(one.policy.training.words())
        lines.append(("policy", f"{one.name}: {' '.join(words)}"))
    lines.append(
        (
            "run",
            f"{info.id}, {time.strftime('%Y-%m-%d', time.localtime(info.ended or info.created))}, state {info.state}",
        )
    )
    return lines


def card_text(lines: Sequence[tuple[str, str]]) -> str:
    """Return a model's card as text."""
    wide = max(len(name) for name, _ in lines)
    return "\n".join(["Model card", *(f"  {name:<{wide}}  {safe_text(words)}" for name, words in lines)])


def card_html(lines: Sequence[tuple[str, str]]) -> str:
    """Return a model's card as HTML."""
    rows = "".join(
        f'<tr><th class="s">{safe_html(name)}</th><td class="s" style="white-space:normal;max-width:60em">{safe_html(words)}</td></tr>'
        for name, words in lines
    )
    return f'{STYLE}<div class="bastion"><div class="box"><b>Model card</b><table><tbody>{rows}</tbody></table></div></div>'


def loss_chart(info: RunInfo) -> Chart:
    """Return the loss by epoch as a chart.

    Raises:
        InputError: fit.losses, there is none yet.
    """
    from bastion.render.charts import Axis, Cell, Chart, Picture

    points = [(i, v) for i, v in enumerate(info.losses, 1) if v is not None]
    if not points:
        msg = "No epoch has ended yet, so there is no loss to draw."
        raise InputError(msg, code="fit.losses", next_step="Wait for it: run.wait().")
    cells: list[Any] = [Cell(x=float(i), value=float(v)) for i, v in points]
    noise = ("The losses are with noise, which is paid for with the fit.",) if info.spec.private else ()
    name = _LOSSES.get(info.spec.loss, info.spec.loss)
    picture = Picture(
        "line", tuple(cells), Axis("epoch", "number", tuple(float(i) for i, _ in points)), value=name,
        title=f"Loss of {info.id}", notes=noise,
    )  # fmt: skip
    return Chart(picture, pl.DataFrame({"epoch": [i for i, _ in points], name: [v for _, v in points]}))
