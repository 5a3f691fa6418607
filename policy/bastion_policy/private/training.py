"""The rows that a model is trained on: a plan of the columns of a fit, whose row each is, and its place.

With noise, these are people's rows (rows.py): adding or removing a person adds or removes that person's rows alone, so that
bounding what each person adds to a step bounds all of it. Without noise an owner has approved them, and any plan will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan
from bastion_plan.dtypes import DType, Schema
from bastion_plan.errors import InputError, did_you_mean
from bastion_plan.expressions import Alias, AnyExpr, Column
from bastion_plan.models.fits import LOSSES, FitSpec
from bastion_plan.nodes import AnyNode, Node

from bastion_policy.facts import DatasetFacts
from bastion_policy.judge import approved_plan
from bastion_policy.private.missing import missing_words
from bastion_policy.private.rows import PLACE, UNIT, Refused, Rows, RowTyping

_NUMBERS = frozenset("Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float32 Float64 Boolean".split())


@dataclass(frozen=True)
class FitRows:
    """Rows of a fit. plan: gives the columns of the fit, UNIT and PLACE. datasets: whose people; columns: "dataset.column".

    by_person: whether UNIT is the privacy unit; else every row is its own.
    """

    plan: AnyNode
    datasets: tuple[str, ...]
    columns: tuple[str, ...]
    by_person: bool
    notes: tuple[str, ...] = ()


def rows_for(bound: BoundPlan, facts: Mapping[str, DatasetFacts], max_rows: int, spec: FitSpec) -> FitRows:
    """Return the rows of a fit with noise.

    Args:
        bound: a bound plan. facts: public facts by dataset id. max_rows: of one person, that the owner lets count.
        spec: of the fit, checked.

    Raises:
        InputError: fit.columns, fit.dtype, fit.rows.
        Refused: the plan, or a column of it, may not stand before noise.
    """
    check_columns(bound.schema, spec)
    typing = RowTyping(bound, facts, max_rows)
    rows = typing.rows(bound.root)
    if not rows.single and spec.rows > max_rows:
        raise InputError(
            f"Of one person {spec.rows} rows are to count, and the owner lets {max_rows} count.", code="fit.rows",
            next_step=f"Write rows_per_unit={max_rows}.",
        )  # fmt: skip
    for name in spec.columns:
        typing.checked(Column(name), rows, "training")
        _refuse_unit(name, rows, facts)
    columns = {s for name in spec.columns for s in rows.columns[name].sources} | typing.used
    notes = list(missing_words(bound, spec.columns))
    if not rows.single:
        some = "1 row counts" if spec.rows == 1 else f"{spec.rows} rows count"
        notes.append(f"Of one person at most {some}.")
    return FitRows(_complete(rows.plan, bound.schema, spec), rows.datasets, _labels(columns), True, tuple(notes))


def exact_rows(bound: BoundPlan, facts: Mapping[str, DatasetFacts], spec: FitSpec) -> FitRows:
    """Return the rows of a fit that an owner approved: any plan, hidden columns masked.

    Missing numbers are not left out: the worker names the column that they are in. People are kept together where the plan lets it be told whose row each is; else every row stands for itself.

    Raises:
        InputError: fit.columns, fit.dtype; input.request.nobody: it reads no dataset.
    """
    check_columns(bound.schema, spec)
    names = tuple(sorted(n.scans(bound.root)))
    everything = tuple(f"{d}.{c.name}" for d in names for c in facts[d].columns)
    if not _joins(bound.root):
        typing = RowTyping(bound, facts, 1)
        try:
            rows = typing.rows(bound.root)
            for name in spec.columns:
                typing.checked(Column(name), rows, "training")
        except Refused:
            pass
        else:
            sources = {s for name in spec.columns for s in rows.columns[name].sources} | typing.used
            return FitRows(_needed(rows.plan, spec), names, _labels(sources), True)
    numbered = n.WithRowIndex(approved_plan(bound, facts), PLACE)  # type: ignore[arg-type]
    plan = n.WithColumns(numbered, (Alias(Column(PLACE), UNIT),))
    return FitRows(_needed(plan, spec), names, everything, False)


def check_columns(schema: Schema, spec: FitSpec) -> None:
    """Check that the columns of a fit are there, and made of numbers.

    Raises:
        InputError: fit.columns, fit.dtype.
    """
    for name in spec.columns:
        if name not in schema:
            raise InputError(
                f"The rows have no column {name[:80]!r} to train on.",
                code="fit.columns",
                next_step=did_you_mean(name, schema),
            )
        if not _numbers(schema[name]):
            raise InputError(
                f"The column {name[:80]!r} holds {schema[name]}, and a model takes numbers.", code="fit.dtype",
                next_step=_instead(schema[name]),
            )  # fmt: skip
    for label in spec.labels:
        if schema[label].is_nested and (len(spec.labels) > 1 or LOSSES[spec.loss] == "class"):
            raise InputError(
                f"The label {label[:80]!r} holds {schema[label]}, and this label is one number.", code="fit.dtype",
                next_step="Name several columns as labels instead.",
            )  # fmt: skip
    for columns in spec.inputs:
        nested = [name for name in columns if schema[name].is_nested]
        if nested and len(columns) > 1:
            raise InputError(
                f"The column {nested[0][:80]!r} holds several numbers, and stands beside others.", code="fit.columns",
                next_step="Give it an input of the model for itself.",
            )  # fmt: skip


def _numbers(dtype: DType) -> bool:
    if dtype.kind in ("List", "Array") and dtype.inner is not None:
        return _numbers(dtype.inner)
    return dtype.kind in _NUMBERS


def _instead(dtype: DType) -> str:
    if dtype.kind in ("String", "Categorical", "Enum"):
        return "One-hot encode it, or make tokens of it, before training."
    if dtype.is_temporal:
        return "Make numbers of it, for example with .dt.total_seconds() or .dt.epoch()."
    return "Cast it to Float32, or leave it out."


def _refuse_unit(name: str, rows: Rows, facts: Mapping[str, DatasetFacts]) -> None:
    """INVARIANT: who somebody is is nothing to learn from: an embedding of it would hold one number per person."""
    if any(facts[d].unit == c for d, c in rows.columns[name].sources):
        raise Refused(
            "identifier", f"{name!r} is made of the column that says whom a row is about, which is not trained on.",
            "Leave the column out.",
        )  # fmt: skip


def _needed(plan: AnyNode, spec: FitSpec) -> AnyNode:
    return n.Select(plan, (*(Column(name) for name in spec.columns), Column(UNIT), Column(PLACE)))


def _complete(plan: AnyNode, schema: Schema, spec: FitSpec) -> AnyNode:
    """Return the plan of rows that have all their numbers.

    INVARIANT: a missing number takes its row out and nothing else; it never decides whether a fit fails.
    """
    columns: tuple[AnyExpr, ...] = tuple(Column(name) for name in spec.columns)
    plan = n.DropNulls(_needed(plan, spec), columns)
    floats: tuple[AnyExpr, ...] = tuple(Column(name) for name in spec.columns if schema[name].is_float)
    return n.DropNulls(plan, floats, nans=True) if floats else plan


def _labels(columns: set[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(sorted(f"{d}.{c}" for d, c in columns))


def _joins(node: Node) -> bool:
    return isinstance(node, n.Join) or any(_joins(i) for i in n.inputs(node))
