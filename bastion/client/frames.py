"""Frames whose rows are on the server: Polars' LazyFrame methods build a plan, `fetch` brings what may leave."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self

import msgspec
import polars as pl
from bastion_plan import dtypes as dt
from bastion_plan.bind import BoundPlan, bind
from bastion_plan.canonical import plan_hash
from bastion_plan.dtypes import Schema
from bastion_plan.errors import BastionError, BindError, InputError, LimitError
from bastion_plan.nodes import InlineColumn, Node, Scan, inputs
from bastion_policy.verdict import Outcome, ReleaseNote, StaticVerdict
from bastion_wire import messages as m

from bastion.client.base import NOTES, GuardNote
from bastion.client.habits import compared, instead
from bastion.client.joins import Joins
from bastion.client.old_names import OldNames
from bastion.client.plotting import PlotAccessor, PlotNames
from bastion.client.preview import FakeFrame, preview_of
from bastion.client.reshape import Reshape
from bastion.client.scaling import Scaling
from bastion.client.shortcuts import Shortcuts
from bastion.client.spending import checked_epsilon
from bastion.client.sql_method import SqlMethod
from bastion.client.training.on_frames import Learning
from bastion.client.verbs import Verbs
from bastion.expr.core import NotAValue, no_member, refuse_python
from bastion.expr.dtypes import polars_schema, to_dtype
from bastion.expr.literals import encode_value

if TYPE_CHECKING:
    from bastion.client.connection import Connection, Released


class RemoteLazyFrame(Verbs, Joins, Reshape, Shortcuts, Scaling, Learning, OldNames, PlotNames):
    """A frame on the server: immutable, made of a plan. Methods are Polars' LazyFrame methods.

    Each step is validated at once against the public schema; nothing runs before `fetch()`.
    """

    def __init__(
        self, connection: Connection, plan: Node, *, dataset: m.Dataset | None = None, bound: BoundPlan | None = None
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._dataset = dataset
        self._bound = bound
        self._verdict: StaticVerdict | None = None
        #: the facts that `_bound` and `_verdict` are about
        self._edition = connection._edition
        #: what an answer with noise may cost; 0 for the default share of the budget
        self._epsilon = 0.0

    # ---- plan --------------------------------------------------------------------------------------------------------

    @property
    def plan(self) -> Node:
        """The plan's root node."""
        return self._plan

    @property
    def plan_hash(self) -> str:
        """The hash that names this query in caches, approvals and the audit log."""
        return plan_hash(self._plan)

    @property
    def dataset(self) -> m.Dataset | None:
        """The card, where this is a bare dataset: as it is now, or as it was last before it went."""
        if self._dataset is None:
            return None
        return self._connection._cards().get(self._dataset.facts.id, self._dataset)

    @property
    def dataset_id(self) -> str:
        """The id, where this is a bare dataset.

        Raises:
            InputError: this is a query, not a dataset.
        """
        if isinstance(self._plan, Scan):
            return self._plan.dataset
        msg = "This frame is a query, not a dataset."
        raise InputError(msg, code="input.not-a-dataset", next_step='Keep it with .save("name") first.')

    @property
    def connection(self) -> Connection:
        """The connection it was made with."""
        return self._connection

    def _then(self, plan: Node) -> RemoteLazyFrame:
        """Return the frame of a further step, validated at once."""
        check_steps(plan)
        return self._connection._frame_type(self._connection, plan)._checked()

    def _checked(self) -> RemoteLazyFrame:
        self._bound = self._bind()
        return self

    def _bind(self) -> BoundPlan:
        return bind(self._plan, self._connection.facts)

    def _other(self, other: Any) -> Node:
        """Return the plan of another frame of the same server (a Polars table becomes an inline one).

        Raises:
            InputError: no frame, or one of another server.
        """
        if isinstance(other, RemoteLazyFrame):
            if other._connection is not self._connection and other._connection.endpoint != self._connection.endpoint:
                msg = "The two frames are on different servers."
                raise InputError(msg, code="input.two-servers", next_step="Fetch one of them and join its table.")
            return other._plan
        if isinstance(other, pl.DataFrame | pl.LazyFrame | dict):
            return self._connection.frame(other)._plan
        msg = f"A {type(other).__name__} is not a frame."
        raise InputError(
            msg, code="input.frame", next_step="Give a frame of this connection, or a small polars.DataFrame."
        )

    # ---- what is public ----------------------------------------------------------------------------------------------

    @property
    def bound(self) -> BoundPlan:
        """The plan with names and types resolved, by the facts of the datasets as they are now.

        Raises:
            BindError: it does not fit them, or not any more.
        """
        if (edition := self._connection.edition) != self._edition:
            self._bound = self._verdict = None
            self._edition = edition
        if self._bound is None:
            self._bound = self._bind()
        return self._bound

    @property
    def plan_schema(self) -> Schema:
        """Column names and types, as the plan has them."""
        return self.bound.schema

    @property
    def schema(self) -> pl.Schema:
        """Column names and types."""
        return polars_schema(self.plan_schema)

    def collect_schema(self) -> pl.Schema:
        """Return column names and types (no round trip)."""
        return self.schema

    @property
    def columns(self) -> list[str]:
        """Column names."""
        return list(self.plan_schema)

    @property
    def dtypes(self) -> list[pl.DataType]:
        """Column types."""
        return list(self.schema.values())

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.plan_schema)

    # ---- verdict -----------------------------------------------------------------------------------------------------

    @property
    def verdict(self) -> StaticVerdict:
        """The static verdict, the same as the server's: released automatically, the owner's review, or refused.

        Raises:
            BastionError: the plan cannot be bound.
        """
        bound = self.bound
        if self._verdict is None:
            from bastion_policy.flow import static_verdict

            self._verdict = static_verdict(bound, self._connection.facts, self._connection.identity)
        return self._verdict

    def explain(self) -> str:
        """Return the plan as text, the static verdict and what limits further answers, without running anything."""
        from bastion.client.explaining import Explanation, plan_text, room_line, verdict_text

        connection = self._connection
        automatic = self.verdict.outcome == "release"
        limits = room_line(self._plan, connection.facts, connection.identity) if automatic else ""
        verdict = verdict_text(self.verdict, self._names())
        return Explanation(f"{plan_text(self._plan, self._names())}\n\n{verdict}{limits}")

    def _names(self) -> dict[str, str]:
        return {key: facts.name for key, facts in self._connection.facts.items()}

    # ---- running -----------------------------------------------------------------------------------------------------

    def collect(self, *, epsilon: float | None = None, **_options: Any) -> Any:
        """Have the server check the query; return a handle that names it and stays chainable. Nothing leaves.

        Args:
            epsilon: what the answer may cost, of data that is answered with noise; None for the default share.

        Raises:
            BindError: the server does not know a name, or a type does not fit.
        """
        return self._connection._run(self._collect(checked_epsilon(epsilon)))

    async def _collect(self, epsilon: float = 0.0) -> FetchableLazyFrame:
        explained = await self._connection._explain(self._plan)
        frame = self._connection._fetchable_type(self._connection, self._plan, dataset=self._dataset)
        frame._verdict = explained.verdict
        frame._epsilon = epsilon
        return frame

    def summarize(self, epsilon: float | None = None) -> Any:
        """Return what an answer with noise would cost and how exact it would be (an `Estimate`); nothing is spent.

        Args:
            epsilon: what the answer may cost; None for the default share of the budget, a tenth of its epsilon.
        """
        return self._connection._run(self._connection._summarize(self._plan, checked_epsilon(epsilon) or self._epsilon))

    def fetch(
        self, wait: bool | float | None = None, *, reason: str | None = None, epsilon: float | None = None
    ) -> Any:
        """Run the query beside the data and bring what may leave, as a `polars.DataFrame`.

        Args:
            wait: None to raise at once where it is not released; True or seconds to wait for the owner's decision.
            reason: files an access request with this reason where there is none yet (with `wait` only).
            epsilon: what the answer may cost, of data that is answered with noise; None for a tenth of the budget's
                epsilon. What was answered before is given again and costs nothing.

        A table with numbers that are not simply those of the rows asked for (groups put together, a group answered
        before, cells taken out) comes with a `GuardNote`, a warning that says so; `release()` has the note as data.

        Raises:
            Denied: the guard does not release it, or the owner said no.
        """
        epsilon = checked_epsilon(epsilon) or self._epsilon
        connection = self._connection
        if connection._eager:  # awaited: there is no line of the caller's to name
            return connection._run(self._fetch(wait, reason, epsilon, _warn))
        said: list[str] = []
        table = connection._run(self._fetch(wait, reason, epsilon, said.append))
        for text in said:
            warnings.warn(text, GuardNote, stacklevel=2)
        return table

    async def _fetch(
        self,
        wait: bool | float | None,
        reason: str | None,
        epsilon: float = 0.0,
        tell: Callable[[str], Any] | None = None,
    ) -> pl.DataFrame:
        from bastion.client.denied import Denied

        try:
            released = await self._connection._run_plan(self._plan, epsilon=epsilon)
            if tell is not None and (text := guard_note(released.note)):
                tell(text)
            return released.frame
        except Denied as denied:
            if wait is None or wait is False:
                raise
            if denied.filed is None:
                if reason is None:
                    raise
                await denied._file(reason)
            return await denied._wait(None if wait is True else float(wait))  # type: ignore[no-any-return]

    def release(self, on_progress: Callable[[m.Progress], None] | None = None) -> Any:
        """Run the query; return a `Released`: the table as `.frame`, and what the guard did to it as `.note`.

        Raises:
            Denied: the guard does not release it.
        """
        return self._connection._run(self._release(on_progress))

    async def _release(self, on_progress: Callable[[m.Progress], None] | None = None) -> Released:
        return await self._connection._run_plan(self._plan, on_progress=on_progress, epsilon=self._epsilon)

    def safe_part(self) -> Any:
        """Bring only what may leave now, as a `polars.DataFrame`.

        Raises:
            Denied: nothing of it may.
        """

        async def work() -> pl.DataFrame:
            return (await self._connection._run_plan(self._plan, "safe_part")).frame

        return self._connection._run(work())

    def save(self, name: str | None = None) -> Any:
        """Keep the query on the server under a name; return its frame. Its policy is the strictest of its sources."""
        return self._connection._run(self._connection._save(self._plan, name))

    def delete(self) -> Any:
        """Delete the saved frame or one's own dataset."""
        return self._connection._run(self._connection._delete(self.dataset_id))

    sql = SqlMethod()

    def pipe(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function(self, …)` here, on the frame (never on rows)."""
        return function(self, *args, **kwargs)

    # ---- Python's protocols ------------------------------------------------------------------------------------------

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, str) and item not in self.columns:
            self.select(item)
        if isinstance(item, str | list | tuple) and all(
            isinstance(i, str) for i in ([item] if isinstance(item, str) else item)
        ):
            return self.select([item] if isinstance(item, str) else list(item))
        if isinstance(item, slice):
            return self._sliced(item)
        if isinstance(item, bool):  # of frame["Age"] == 30
            msg = "A frame is no column, and cannot be compared or computed with."
            raise InputError(
                msg,
                code="input.brackets",
                next_step='Write frame.filter(pl.col("Age") == 30), with your own condition.',
            )
        msg = "A frame takes column names or a slice in brackets."
        raise InputError(
            msg, code="input.brackets", next_step='Write frame["name"], frame[["a", "b"]], or frame.filter(…).'
        )

    def _sliced(self, item: slice) -> RemoteLazyFrame:
        if item.step not in (None, 1):
            if item.start is None and item.stop is None and item.step == -1:
                return self.reverse()
            return self._sliced(slice(item.start, item.stop)).gather_every(item.step)
        start, stop = item.start or 0, item.stop
        if start < 0 or (stop is not None and stop < 0):
            msg = "A slice of a frame counts from the start."
            raise InputError(msg, code="input.brackets", next_step="Use .tail(n) or .slice(offset, length).")
        return self.slice(start, None if stop is None else max(0, stop - start))

    def __contains__(self, name: Any) -> bool:
        return name in self.plan_schema

    def __bool__(self) -> NoReturn:
        msg = "A frame has no truth value, because its rows are on the server."
        raise NotAValue(msg, next_step="Fetch what you want to test.")

    def __len__(self) -> NoReturn:
        msg = "The number of rows is not public."
        raise NotAValue(msg, next_step="Write .select(pl.len()).fetch().")

    def __iter__(self) -> NoReturn:
        msg = "A frame cannot be looped over, because its rows are on the server."
        raise NotAValue(msg, next_step="Loop over frame.columns, or over a fetched result.")

    def _no_arithmetic(self, _: Any = None) -> NoReturn:
        msg = "A frame is no column, and cannot be compared or computed with."
        raise NotAValue(msg, next_step=compared(self))

    # equality stays Python's own: whether it is the very same frame
    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _no_arithmetic
    __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __pow__ = __and__ = __or__ = _no_arithmetic
    __neg__ = __invert__ = __abs__ = _no_arithmetic

    def __copy__(self) -> Self:
        """Return the same query as a frame of its own."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """As `copy`: a frame is immutable, and its rows are on the server; the connection is shared."""
        return self.__copy__()

    @property
    def plot(self) -> PlotAccessor:
        """Plots drawn from what the guard lets go: `frame.plot.hist("Age")`, `.bar`, `.box`, `.line`, `.scatter` …"""
        return PlotAccessor(self)

    def preview(self, n: int = 5) -> FakeFrame:
        """Return `n` rows of MADE-UP data in the shape of a dataset, to write code with.

        They are made from public facts (names, types, roles, declared bounds and domains), the same every time. Nothing
        is asked of the server, and nothing of it is data.

        Raises:
            InputError: this is a query, not a dataset; or `n` is not from 1 to 100.
        """
        return preview_of(self, n)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in {"map_batches", "map_rows", "apply", "map"}:
            refuse_python(name)
        reason, step = instead(self, name, dir(type(self)))
        raise no_member("A frame", name, (), note=reason, step=step)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            msg = "A frame cannot be changed."
            raise InputError(msg, code="input.immutable", next_step="Every method returns a new frame.")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        from bastion.client.explaining import card_text, frame_text

        if (dataset := self.dataset) is not None:
            return card_text(dataset)
        try:
            return frame_text(self.plan_schema, self.verdict)
        except BastionError as error:  # the datasets changed
            return f"RemoteLazyFrame, which cannot be run: {error.message}"


class FetchableLazyFrame(RemoteLazyFrame):
    """A frame that the server has seen: a dataset, a saved frame, or what `collect()` gave. `fetch()` brings the result."""

    @property
    def id(self) -> str:
        """The dataset's id, or the hash that names the query."""
        return self._plan.dataset if isinstance(self._plan, Scan) else self.plan_hash

    identifier = id

    @property
    def name(self) -> str:
        """The dataset's name; empty for a query that was not saved."""
        return dataset.facts.name if (dataset := self.dataset) is not None else ""

    @property
    def policy(self) -> Any:
        """The dataset's policy."""
        if (dataset := self.dataset) is None:
            msg = "A query has no policy of its own."
            raise InputError(msg, code="input.not-a-dataset", next_step="Ask its datasets.")
        return dataset.facts.policy

    def exposure(self) -> Any:
        """Owner: what has been released of this dataset so far, per column and audience."""
        if self._dataset is None:
            msg = "What was released is added up for datasets."
            raise InputError(msg, code="input.not-a-dataset", next_step="Ask its datasets.")
        return self._connection.exposure(self._dataset.facts.id)


def guard_note(note: ReleaseNote) -> str:
    """Return what one must know of a table to read its numbers as they are meant; empty where each is of its own rows."""
    if not (note.merged or note.suppressed or note.partial):
        return ""
    from bastion.render.tables import footer

    plain = msgspec.structs.replace(note, approved=False, logged_unsafe=False, noisy=False, budget=())
    return " ".join(footer(plain))


def _warn(text: str) -> None:
    if NOTES.get() is None:  # the screen of a notebook shows the note below the table
        warnings.warn(text, GuardNote, stacklevel=3)


#: steps of one frame's plan, and how many may follow one another
MAX_STEPS, MAX_CHAIN = 1_000, 60


def check_steps(plan: Node) -> None:
    """Refuse a plan that grew too large (a frame used twice counts twice).

    Raises:
        LimitError: over 1,000 steps, or more than 60 one after another.
    """
    stack, count = [(plan, 1)], 0
    while stack:
        node, level = stack.pop()
        count += 1
        if level > MAX_CHAIN or count > MAX_STEPS:
            msg = "The query has too many steps."
            raise LimitError(
                msg, code="plan.limit.nodes", next_step='Keep a part of it with .save("name") and go on from there.'
            )
        stack.extend((below, level + 1) for below in inputs(node))


def inline_table(data: Any) -> tuple[InlineColumn, ...]:
    """Return one's own small table as columns of a plan.

    Args:
        data: a `polars.DataFrame` or `LazyFrame`, or a dict of lists.

    Raises:
        InputError: over 100,000 values, or values that cannot be part of a plan.
    """
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if isinstance(data, Mapping):
        try:
            data = pl.DataFrame(dict(data))
        except (TypeError, ValueError, pl.exceptions.PolarsError):
            msg = "The columns of the table do not fit together."
            raise InputError(
                msg, code="input.table", next_step="Give lists of equal length, each of one type."
            ) from None
    if not isinstance(data, pl.DataFrame):
        msg = f"A {type(data).__name__} is not a table."
        raise InputError(msg, code="input.table", next_step="Give a dict of lists or a polars.DataFrame.")
    if data.height * data.width > 100_000:
        msg = "The table is too large to be part of a query."
        raise InputError(msg, code="input.table-size", next_step="Upload it as a dataset, then join that.")
    out = []
    for series in data.iter_columns():
        dtype = to_dtype(series.dtype)
        if dtype.kind == "Null":
            out.append(InlineColumn(series.name, dt.NULL, (None,) * len(series)))
            continue
        out.append(InlineColumn(series.name, dtype, tuple(encode_value(v, dtype) for v in series.to_list())))
    return tuple(out)


def concat(frames: Any, *, how: str = "vertical", **_options: Any) -> RemoteLazyFrame:
    """Put frames together, one below the other ("vertical", "diagonal", and their "_relaxed") or side by side ("horizontal").

    Raises:
        InputError: no frames. BindError: their columns do not fit.
    """
    from bastion_plan.nodes import Concat

    items = list(frames)
    first = next((f for f in items if isinstance(f, RemoteLazyFrame)), None)
    if first is None:
        msg = "concat needs at least one frame of a connection."
        raise InputError(msg, code="input.frame", next_step="Write concat([frame_1, frame_2]).")
    if len(items) == 1:
        return first
    return first._then(Concat(tuple(first._other(f) for f in items), how))


__all__ = ["BindError", "FetchableLazyFrame", "Outcome", "RemoteLazyFrame", "concat", "inline_table"]
