"""What a model is trained on: columns of a frame as inputs and labels, which people are for testing. The rows stay there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bastion_plan import expressions as px
from bastion_plan.dtypes import DType
from bastion_plan.errors import InputError, did_you_mean
from bastion_plan.models.fits import Split
from bastion_plan.models.ops import DTYPES
from bastion_plan.nodes import Node, Scan, Select, WithColumns, inputs

from bastion.client.spending import checked_epsilon
from bastion.render.safe_text import safe_text

if TYPE_CHECKING:
    import torch

    from bastion.client.frames import RemoteLazyFrame

#: what is asked of each column to be put on one scale
#: what a model takes as a number; decimals are cast first
_NUMBERS = frozenset("Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float32 Float64 Boolean".split())
_STATISTICS = ("mean", "std")
MAX_DOMAIN = 1_000
WHOLE = Split()


@dataclass(frozen=True)
class Input:
    """What one input of a model is made of. dtype: of its numbers, empty for what the model takes. shape: of one row."""

    columns: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Rows:
    """A frame, which of its people are meant, and the columns of labels."""

    frame: RemoteLazyFrame
    inputs: tuple[Input, ...]
    labels: tuple[str, ...]
    split: Split = WHOLE
    part: str = "train"


class RemoteDataset:
    """Rows that a model may be trained on; they stay on the server. Made by `frame.to_dataset(…)`, or of tensors.

    >>> ds = credit.to_dataset(inputs=["age", "income"], label="default").split(test=0.2, seed=1)   # doctest: +SKIP
    >>> ds.train, ds.test                                                                          # doctest: +SKIP
    """

    def __init__(
        self, inputs: Sequence[Any] | Any, labels: Any, name: str | None = None, description: str = "", **_options: Any
    ) -> None:
        from bastion.client.training.tensors import joined

        self.name, self.description = name, description
        self._rows = joined(inputs if isinstance(inputs, list | tuple) else [inputs], labels)

    @classmethod
    def _of(cls, rows: Rows, name: str | None = None) -> RemoteDataset:
        made = object.__new__(cls)
        made._rows, made.name, made.description = rows, name, ""
        return made

    def _with(self, **changed: Any) -> RemoteDataset:
        return self._of(replace(self._rows, **changed), self.name)

    # ---- what is public ----------------------------------------------------------------------------------------------

    @property
    def frame(self) -> RemoteLazyFrame:
        """The frame whose rows these are."""
        return self._rows.frame

    @property
    def inputs(self) -> list[list[str]]:
        """The columns of each input."""
        return [list(one.columns) for one in self._rows.inputs]

    @property
    def labels(self) -> list[str]:
        """The columns of the labels."""
        return list(self._rows.labels)

    @property
    def columns(self) -> list[str]:
        """All columns that are used."""
        return list(dict.fromkeys([c for some in self.inputs for c in some] + self.labels))

    @property
    def part(self) -> str:
        """ "train" or "test"; of a dataset that was not split "train", which is everybody then."""
        return self._rows.part

    @property
    def private(self) -> bool:
        """Whether the owner adds noise: then training is paid from the privacy budget."""
        return zone_of(self.frame) == "private"

    # ---- splitting ---------------------------------------------------------------------------------------------------

    def split(self, test: float = 0.2, seed: int = 0) -> RemoteDataset:
        """Say who is for testing; `.train` and `.test` are the parts. One person is never in both.

        Args:
            test: the share of people for testing. seed: another one splits otherwise.

        Raises:
            InputError: fit.split.
        """
        good = isinstance(test, int | float) and not isinstance(test, bool) and math.isfinite(test) and 0 < test < 1
        if not good or not isinstance(seed, int) or abs(seed) >= 1 << 62:
            msg = "The share for testing is a number between 0 and 1, and the seed a whole number."
            raise InputError(msg, code="fit.split", next_step="Write split(test=0.2, seed=1).")
        return self._with(split=Split(float(test), int(seed)))

    @property
    def train(self) -> RemoteDataset:
        """The part that is trained on."""
        return self._with(part="train")

    @property
    def test(self) -> RemoteDataset:
        """The part for testing.

        Raises:
            InputError: fit.split, it was not split.
        """
        if not self._rows.split.test:
            msg = "This dataset has no part for testing."
            raise InputError(msg, code="fit.split", next_step="Split it first: ds = ds.split(test=0.2).")
        return self._with(part="test")

    # ---- steps before training ---------------------------------------------------------------------------------------

    def standardise(self, columns: str | Iterable[str] | None = None, *, eps: float | None = None) -> Any:
        """Bring inputs to mean 0 and deviation 1, by means and deviations that are fetched; return the dataset.

        On data that is answered with noise that costs: without `eps` it says how much it would be, and spends nothing.

        Args:
            columns: of the inputs; None for all that hold fractions. eps: what means and deviations may cost.

        Raises:
            InputError: fit.columns; fit.standardise, it would cost something, and `eps` does not say how much it may.
        """
        return self.frame.connection._run(self._standardise(self._numbers(columns), checked_epsilon(eps)))

    async def _standardise(self, names: list[str], epsilon: float) -> RemoteDataset:
        from bastion.client.training.exprs import pl_col

        asked = [getattr(pl_col(n), how)().alias(f"{n}:{how}") for n in names for how in _STATISTICS]
        query = self.frame.select(asked)
        if self.private and not epsilon:
            estimate = await self.frame.connection._summarize(query.plan, 0.0)
            if estimate.cost:
                msg = f"Means and deviations of {len(names)} columns cost something; nothing has been spent yet."
                step = f"Write standardise(eps={estimate.cost:.3g}), or scale_by_bounds(), which costs nothing."
                raise InputError(
                    msg,
                    code="fit.standardise",
                    reason=f"It would be epsilon {estimate.cost:.3g}, of {estimate.left:.3g} that are left.",
                    next_step=step,
                )
        found = (await self.frame.connection._run_plan(query.plan, epsilon=epsilon)).frame.row(0, named=True)
        scaled = []
        for name in names:
            mean, deviation = found[f"{name}:mean"], found[f"{name}:std"]
            if mean is None or deviation is None:
                msg = f"Nothing is told of the column {name!r}, so it cannot be put on a scale."
                raise InputError(msg, code="fit.standardise", next_step="Leave it out, or scale it by hand.")
            scaled.append(((pl_col(name) - float(mean)) / (float(deviation) if deviation > 0 else 1.0)).alias(name))
        return self._with(frame=self.frame.with_columns(scaled))

    def scale_by_bounds(self, columns: str | Iterable[str] | None = None) -> RemoteDataset:
        """Bring inputs to -1 … 1 by the bounds that the owner declared; return the dataset. It costs nothing.

        Args:
            columns: of the inputs; None for all that have bounds.

        Raises:
            InputError: fit.columns, a column that was named has no bounds.
        """
        from bastion.client.training.exprs import pl_col

        bounds = {name: column.role for name, column in self._declared().items() if column.role.lower is not None}
        names = [n for n in self._numbers(columns) if columns is not None or n in bounds]
        for name in names:
            if name not in bounds:
                msg = f"The owner declared no bounds of {name!r}."
                raise InputError(msg, code="fit.columns", next_step="Use standardise(), or scale it by hand.")
        made = [
            ((pl_col(n) - (bounds[n].lower + bounds[n].upper) / 2) / ((bounds[n].upper - bounds[n].lower) / 2)).alias(n)
            for n in names
        ]
        return self._with(frame=self.frame.with_columns(made)) if made else self

    def one_hot(self, columns: str | Iterable[str] | Mapping[str, Iterable[Any]]) -> RemoteDataset:
        """Make of each value of a column an input that is 0 or 1; return the dataset. It costs nothing.

        Args:
            columns: whose values the owner declared (a domain); or a dict of columns and their values.

        Raises:
            InputError: fit.columns, with the column; fit.domain, no values are known of it.
        """
        from bastion.client.training.exprs import pl_cast, pl_col

        given = dict(columns) if isinstance(columns, Mapping) else dict.fromkeys(_names(columns))
        declared, made, instead = self._declared(), [], {}
        for name, values in given.items():
            _there(self.frame, name)
            known = declared.get(name)
            domain = list(values) if values is not None else list((known.domain if known is not None else None) or ())
            if not 0 < len(domain) <= MAX_DOMAIN:
                msg = f"The values of {name!r} are not declared, so there are no columns to make of them."
                step = f'Name them: one_hot({{"{safe_text(name)}": ["a", "b"]}}).'
                raise InputError(msg, code="fit.domain", next_step=step, details={"name": name})
            instead[name] = tuple(f"{name}={value}" for value in domain)
            made += [pl_cast(pl_col(name) == value).fill_null(0.0).alias(f"{name}={value}") for value in domain]
        rows = self._rows
        if not any(c in instead for one in rows.inputs for c in one.columns):
            new = Input(tuple(c for some in instead.values() for c in some), ())
            first = _joined(rows.inputs[0], (*rows.inputs[0].columns, *new.columns))
            return self._with(frame=self.frame.with_columns(made), inputs=(first, *rows.inputs[1:]))
        inputs_ = tuple(
            _joined(one, tuple(made for c in one.columns for made in instead.get(c, (c,)))) for one in rows.inputs
        )
        return self._with(frame=self.frame.with_columns(made), inputs=inputs_)

    def _numbers(self, columns: str | Iterable[str] | None) -> list[str]:
        schema = self.frame.plan_schema
        used = [c for one in self._rows.inputs if not _is_nested(schema, one) for c in one.columns]
        if columns is None:
            return [c for c in used if schema[c].is_float or schema[c].is_integer]
        names = _names(columns)
        for name in names:
            if name not in used or not schema[name].is_numeric:
                msg = f"{name!r} is no input of numbers."
                raise InputError(msg, code="fit.columns", next_step=did_you_mean(name, used), details={"name": name})
        return names

    def _declared(self) -> dict[str, Any]:
        """Return what is known of columns that stand in the frame as the owner declared them."""
        facts = self.frame.connection.facts
        found: dict[str, Any] = {}
        for dataset in scans(self.frame.plan):
            for column in facts[dataset].columns if dataset in facts else ():
                found.setdefault(column.name, column)
        return found

    def __repr__(self) -> str:
        rows = self._rows
        facts = rows.frame.connection.facts
        of = " and ".join(facts[key].name for key in scans(rows.frame.plan) if key in facts) or "a query"
        ins = "; ".join(_few(one.columns) for one in rows.inputs)
        test = f", {rows.split.test:.0%} of the people for testing (seed {rows.split.seed})" if rows.split.test else ""
        part = f", the part {rows.part!r}" if rows.split.test else ""
        return safe_text(f"RemoteDataset of {of}: inputs {ins}; label {_few(rows.labels)}{test}{part}")


def make_dataset(
    frame: RemoteLazyFrame, columns: Any, label: Any, shape: Any = None, dtype: Any = None
) -> RemoteDataset:
    """Return a dataset of a frame (see `RemoteLazyFrame.to_dataset`)."""
    labels = tuple(_names(label)) if label is not None else ()
    if not labels:
        msg = "A dataset needs a label: the column that the model is to predict."
        raise InputError(msg, code="fit.columns", next_step='Write to_dataset(inputs=["a", "b"], label="y").')
    for name in labels:
        _number(frame, name, label=True)
    if columns is None:
        columns = _usual(frame, labels)
    lists = isinstance(columns, list | tuple) and bool(columns) and all(isinstance(c, list | tuple) for c in columns)
    groups = [list(c) for c in columns] if lists else [_names(columns)]
    if not all(groups):
        msg = "An input needs at least one column."
        raise InputError(msg, code="fit.columns", next_step='Write to_dataset(inputs=["a", "b"], label="y").')
    shapes = list(shape) if lists and shape is not None else [shape]
    inputs_ = tuple(
        input_of(frame, group, shapes[i] if i < len(shapes) else None, dtype) for i, group in enumerate(groups)
    )
    twice = [name for name in labels if any(name in one.columns for one in inputs_)]
    if twice:
        msg = f"The label {twice[0]!r} is among the inputs, so there would be nothing to learn."
        raise InputError(msg, code="fit.columns", next_step="Leave it out of the inputs.", details={"name": twice[0]})
    return RemoteDataset._of(Rows(frame, inputs_, labels))


def input_of(frame: RemoteLazyFrame, columns: Sequence[str], shape: Any = None, dtype: Any = None) -> Input:
    """Return what one input is made of.

    Raises:
        InputError: fit.columns, fit.dtype: with the column; fit.shape: how long its lists are is not known.
    """
    schema = frame.plan_schema
    names = tuple(columns)
    for name in names:
        _there(frame, name)
    wanted = dtype_name(dtype) if dtype is not None else ""
    given = _shape(shape)
    if len(names) == 1 and schema[names[0]].kind in ("List", "Array"):
        inner, sizes = _nested(schema[names[0]])
        if inner.kind not in _NUMBERS:
            raise _no_number(names[0], schema[names[0]], None)
        if given and sizes is not None and math.prod(sizes) != math.prod(given):
            msg = f"{names[0]!r} holds {math.prod(sizes):,} numbers a row, which do not make {given}."
            raise InputError(msg, code="fit.shape", next_step=f"Write shape={sizes}.", details={"name": names[0]})
        if not given and sizes is None:
            msg = f"How long the lists of {names[0]!r} are is not known."
            step = "Write to_dataset(…, shape=(32,)): each row's numbers, as many as that."
            raise InputError(msg, code="fit.shape", next_step=step, details={"name": names[0]})
        return Input(names, given or sizes or (), wanted, inner.is_integer)
    for name in names:
        _number(frame, name)
    if given and given != (len(names),):
        msg = f"{len(names)} columns side by side make rows of {len(names)} numbers."
        raise InputError(msg, code="fit.shape", next_step="Leave shape out; nn.Unflatten makes pictures of a row.")
    return Input(names, (len(names),), wanted, all(schema[n].is_integer for n in names))


def examples(rows: Rows, *, whole: bool) -> list[torch.Tensor]:
    """Return a row of noughts per input, to write a model down with. whole: inputs of whole numbers stay whole."""
    import torch

    kinds = {name: getattr(torch, name) for name in DTYPES}
    return [
        torch.zeros(one.shape, dtype=kinds[one.dtype or ("int64" if whole and one.whole else "float32")])
        for one in rows.inputs
    ]


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype: "float32", torch.float32 or pl.Float32.

    Raises:
        InputError: fit.dtype.
    """
    text = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", "") or str(dtype)
    name = str(text).removeprefix("torch.").lower()
    name = {"float": "float32", "long": "int64", "double": "float64", "int": "int32", "boolean": "bool"}.get(name, name)
    if name not in DTYPES:
        msg = f"There is no dtype {safe_text(text, 40)!r} for tensors."
        raise InputError(msg, code="fit.dtype", next_step=f"Use one of {', '.join(DTYPES)}.")
    return name


def zone_of(frame: RemoteLazyFrame) -> str:
    """Return the zone that a frame's policy puts one into: "private", "guarded", "open" or "closed"; "" without data."""
    from bastion_policy.flow import merged_policy

    connection = frame.connection
    policy = merged_policy(frame.bound, connection.facts)
    return "" if policy is None else str(policy.effective(connection.identity).zone)


def scans(plan: Node) -> list[str]:
    """Return the ids of the datasets that a plan reads."""
    found, stack = [], [plan]
    while stack:
        node = stack.pop()
        if isinstance(node, Scan):
            found.append(node.dataset)
        stack.extend(inputs(node))
    return list(dict.fromkeys(found))


def bare(plan: Node) -> Node:
    """Return a plan without the steps at its end that only choose columns."""
    while isinstance(plan, Select) and all(isinstance(e, px.Column) for e in plan.exprs):
        plan = plan.input
    return plan


def same_rows(plan: Node) -> Node:
    """Return a plan without the steps at its end that neither take rows out nor add any."""
    while isinstance(plan, WithColumns) or plan is not bare(plan):
        plan = plan.input if isinstance(plan, WithColumns) else bare(plan)
    return plan


def _usual(frame: RemoteLazyFrame, labels: tuple[str, ...]) -> list[str]:
    """Return the columns of numbers that are no label, no unit and no identifier."""
    facts = frame.connection.facts
    out = set(labels)
    for dataset in scans(frame.plan):
        if dataset in facts:
            out |= {facts[dataset].unit or ""}
            out |= {c.name for c in facts[dataset].columns if c.role.kind in ("identifier", "hidden")}
    schema = frame.plan_schema
    found = [n for n, t in schema.items() if n not in out and t.kind in _NUMBERS]
    if not found:
        msg = "There is no column of numbers to learn from."
        raise InputError(msg, code="fit.columns", next_step='Name them: to_dataset(inputs=["a", "b"], label="y").')
    return found


def _names(columns: Any) -> list[str]:
    names = [columns] if isinstance(columns, str) else list(columns) if isinstance(columns, Iterable) else []
    if not names or not all(isinstance(n, str) for n in names):
        msg = "Columns are given by their names."
        raise InputError(msg, code="fit.columns", next_step='Write to_dataset(inputs=["a", "b"], label="y").')
    return names


def _there(frame: RemoteLazyFrame, name: str) -> None:
    if not isinstance(name, str) or name not in frame.plan_schema:
        msg = f"There is no column {safe_text(name, 60)!r}."
        step = did_you_mean(str(name), frame.plan_schema)
        raise InputError(msg, code="fit.columns", next_step=step, details={"name": str(name)})


def _number(frame: RemoteLazyFrame, name: str, *, label: bool = False) -> None:
    _there(frame, name)
    dtype = frame.plan_schema[name]
    if dtype.kind not in _NUMBERS:
        declared = RemoteDataset._of(Rows(frame, (), ()))._declared().get(name)
        raise _no_number(name, dtype, declared.domain if declared is not None else None, label=label)


def _no_number(name: str, dtype: DType, domain: Any, *, label: bool = False) -> InputError:
    msg = f"The column {name!r} is {dtype}, and a model takes numbers."
    if label:
        step = f'Make numbers of it: with_columns((pl.col("{name}") == "yes").alias("{name}")), for example.'
    elif dtype.is_numeric:
        step = f'Cast it: pl.col("{name}").cast(pl.Float64).'
    elif dtype.is_temporal:
        step = f'Take a number of it: pl.col("{name}").dt.year(), for example.'
    elif domain:
        step = f'Leave it out here, and add it by its declared values: .one_hot("{name}").'
    elif dtype.is_nested:
        step = "Take its fields or elements as columns, or lists of numbers."
    else:
        step = f'Leave it out here, and add it by its values: .one_hot({{"{name}": ["a", "b"]}}). For texts see RemoteTokenizer.'
    return InputError(msg, code="fit.dtype", next_step=safe_text(step), details={"name": name})


def _nested(dtype: DType) -> tuple[DType, tuple[int, ...] | None]:
    """Return what lists hold in the end, and their sizes, None where one is not known."""
    sizes: list[int] | None = []
    while dtype.kind in ("List", "Array") and dtype.inner is not None:
        sizes = None if dtype.kind == "List" or sizes is None else [*sizes, dtype.width or 0]
        dtype = dtype.inner
    return dtype, None if sizes is None else tuple(sizes)


def _is_nested(schema: Mapping[str, DType], one: Input) -> bool:
    return len(one.columns) == 1 and schema[one.columns[0]].is_nested


def _joined(one: Input, columns: tuple[str, ...]) -> Input:
    return replace(one, columns=columns, shape=(len(columns),), whole=False)


def _shape(shape: Any) -> tuple[int, ...]:
    found = (shape,) if isinstance(shape, int) else tuple(shape or ())
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 < n <= 1 << 20 for n in found) or len(found) > 7:
        msg = "A shape is a tuple of whole numbers, without the number of rows."
        raise InputError(msg, code="fit.shape", next_step="Write shape=(1, 28, 28), for example.")
    return found


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
