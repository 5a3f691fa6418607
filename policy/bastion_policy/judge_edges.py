"""What of a question chooses people by a measure: such choices, at a threshold, tell about the one who is at it.

INVARIANT: every step that leaves rows out, every key and every condition counts, however it is written: a bisection of a
value by filters is the same as one by keys of a join, by nulls that a condition made, or by groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bastion_plan import nodes as n
from bastion_plan.expressions import Call, Column, Expr, Literal, children

from bastion_policy.boundary import Boundary, Guard, Statistic
from bastion_policy.flow_chosen import choosing, join_keys, public_nulls
from bastion_policy.flow_expressions import ExpressionTyping
from bastion_policy.guard_cells import both
from bastion_policy.judge_absent import dropped_but, missing_in
from bastion_policy.lineage import Form, Frame, Typed, Value, World

_COMPARISONS = frozenset(
    {"eq", "ne", "lt", "le", "gt", "ge", "eq_missing", "ne_missing", "is_between", "is_in", "is_close"}
)
#: by identity of the typed nodes that leave rows out by a measure: what of a filter does not, if anything
Narrowing = dict[int, Expr | None]


def of_measures(value: Value, world: World) -> frozenset[str]:
    """Return the measures of which a value tells more than whether a stored one is missing, which is public.

    Sensitive columns choose people inside a statistic only, and count in the same way. A column is one in all tables of the people.
    """
    told = value.chosen if value.form is Form.NULLS else value.sources | value.chosen
    return frozenset(s.column for s in told if world.role(s).secret)


def ways(typed: Typed, narrowing: Narrowing) -> int:
    """Return how many of a person's rows a measure may decide about: one, but for parts that are put together.

    INVARIANT: a part of a stack has conditions of its own, so that the number of rows tells how many of them one person meets.
    """
    known: dict[int, int] = {}

    def of(node: Typed) -> int:
        if id(node) not in known:
            below = [of(t) for t in node.inputs if t.frame.private]
            together = isinstance(node.node, n.Concat | n.Join | n.JoinAsof)
            found = sum(below) if together else max(below, default=0)
            known[id(node)] = max(found, int(id(node) in narrowing))
        return known[id(node)]

    return of(typed)


def narrowing(typed: Typed, world: World, measures: set[str]) -> Narrowing:
    """Return the steps on the way to a private frame that leave rows out by a measure. measures: takes those in."""
    found: Narrowing = {}
    frames = [t.frame for t in typed.inputs]
    match typed.node:
        case n.Filter(predicate=predicate) if typed.frame.private:
            parts = list(_conjuncts(predicate))
            rest = [p for p in parts if not _asks(p, frames[0], world)]
            if len(rest) < len(parts):
                found[id(typed)] = both(rest)
                measures.update(*(_asks(p, frames[0], world) for p in parts))
        case n.DropNulls(subset=subset, nans=nans) if typed.frame.private:
            names = frames[0].schema if subset is None else [e.name for e in subset if isinstance(e, Column)]
            values = [frames[0].columns[c] for c in names]
            dropped = [of_measures(v, world) for v in values if not public_nulls(v, nans=nans)]
            if any(dropped):
                found[id(typed)] = None
                measures.update(*dropped)
        case n.Join() | n.JoinAsof():
            sides = zip(frames, join_keys(typed.node), strict=True)
            matched = [_asks(k, f, world) for f, on in sides for k in on if f.private]
            if any(matched):
                found[id(typed)] = None
                measures.update(*matched)
        case _:
            pass
    for below in typed.inputs:
        if below.frame.private:
            found |= narrowing(below, world, measures)
    return found


def drops_of_stored_nulls(typed: Typed) -> frozenset[int]:
    """Return the identities of the steps below that leave out rows where a stored value is missing, which is public."""
    found: frozenset[int] = frozenset()
    if isinstance(typed.node, n.DropNulls) and not typed.node.nans:
        frame, subset = typed.inputs[0].frame, typed.node.subset
        names = frame.schema if subset is None else [e.name for e in subset if isinstance(e, Column)]
        values = [frame.columns[c] for c in names]
        if not any(v.makes_nulls or any(not s.counted for s in v.chosen) for v in values):
            found = frozenset({id(typed)})
    return found.union(*(drops_of_stored_nulls(t) for t in typed.inputs))


def keys_of_measures(boundary: Boundary, world: World, measures: set[str]) -> list[int]:
    """Return the positions of the group keys that are computed of measures. measures: takes those in."""
    values = [value for _, _, value, _ in boundary.keys]
    measures.update(*(of_measures(v, world) for v in values))
    return [i for i, v in enumerate(values) if of_measures(_alone(v), world)]


def keys_of_rows(boundary: Boundary, world: World) -> list[tuple[Expr, Value]]:
    """Return the group keys that are of no measure, but numbers of rows that a measure chose or repeated."""
    keys = [(key, value) for _, key, value, _ in boundary.keys]
    return [(k, v) for k, v in keys if of_measures(v, world) and not of_measures(_alone(v), world)]


def _alone(value: Value) -> Value:
    """Return a value as one of its columns, whatever decided which rows it is of."""
    return replace(value, chosen=frozenset())


def conditions_on_measures(statistic: Statistic, frame: Frame, world: World, measures: set[str]) -> tuple[Expr, ...]:
    """Return what chooses people inside a statistic; nothing where no measure does. measures: takes those in."""
    held: Sequence[Expr] = [t.expr for t in statistic.terms] if statistic.guard is Guard.HELD else ()
    conditions = (*statistic.population, *held)
    found = [_asks(c, frame, world) for c in conditions]
    measures.update(*found)
    return conditions if any(found) else ()


def mixes(typed: Typed, world: World) -> bool:
    """Whether a measure decides about some people only on the way to a private frame.

    INVARIANT: a condition with another column in it, keys of a join that are compared together, a condition that takes in whom
    nothing is known of, and rows that are put below others, may add one person, or not, to as many others as one likes, who are
    known and counted: that tells about the one however far from all thresholds the answer lies.
    """
    return any(choice.mixed(world) for choice in _choices(typed, world))


def mixed(conditions: Sequence[Expr], below: Typed, world: World) -> bool:
    """Whether a measure decides about some people only in one of the conditions inside a statistic. below: the rows it counts."""
    return any(choice.mixed(world) for choice in _conditions(conditions, below, world))


def thresholds(conditions: Sequence[Expr], frame: Frame, world: World, most: int) -> int:
    """Return how many thresholds of one person conditions may be, where people have up to `most` rows.

    INVARIANT: where another column tells a person's rows apart, each of them may meet a condition of its own, so that the
    number of rows tells how many of them the person meets: as many as there are numbers to compare with, or rows.
    """
    asked = [part for c in conditions for part in _conjuncts(c) if _asks(part, frame, world)]
    # what is compared in a step of its own is not seen here
    return min(most, sum(_thresholds(p, frame, world) or most for p in asked if not _once(p, frame, world)))


def _once(expr: Expr, frame: Frame, world: World) -> bool:
    """Whether a person meets a condition or does not, in their only row, and a measure decides by which rows were left alone."""
    value = ExpressionTyping(frame, world).value(expr)
    return frame.per_unit and not of_measures(_alone(value), world)


def _thresholds(expr: Expr, frame: Frame, world: World) -> int | None:
    """Return with how many constants a measure is compared; None: with other columns."""
    inner = children(expr)
    if isinstance(expr, Call) and expr.function in _COMPARISONS and any(_asks(a, frame, world) for a in expr.args):
        values = [ExpressionTyping(frame, world).value(a) for a in expr.args]
        # INVARIANT: which rows a number per person is of is decided once: the number meets a condition, or does not
        apart = any(v.sources and not of_measures(v, world) for v in values)
        if apart or any(_mixed(_alone(v), world) for v in values):
            return None
        return sum(max(1, _length(a)) for a in expr.args[1:])
    counts = [_thresholds(c, frame, world) for c in inner]
    return None if None in counts else sum(c for c in counts if c is not None)


def _length(expr: Expr) -> int:
    return len(expr.value) if isinstance(expr, Literal) and isinstance(expr.value, list | tuple) else 1


def conditions_below(typed: Typed) -> list[tuple[Expr, Frame]]:
    """Return the conditions and keys that choose rows on the way to a private frame, each with the frame that it reads."""
    found: dict[int, list[tuple[Expr, Frame]]] = {}
    stack = [typed]
    while stack:
        node = stack.pop()
        if id(node) in found or not node.frame.private:
            continue
        frames = [t.frame for t in node.inputs]
        mine: list[tuple[Expr, Frame]] = []
        match node.node:
            case n.Filter(predicate=predicate):
                mine = [(predicate, frames[0])]
            case n.DropNulls(subset=subset):
                names = frames[0].schema if subset is None else [e.name for e in subset if isinstance(e, Column)]
                values = frames[0].columns
                known = {c for c in names if public_nulls(replace(values[c], makes_nulls=False))}
                mine = [(Column(c), frames[0]) for c in names if c not in known]
            case n.Join() | n.JoinAsof():
                sides = zip(frames, join_keys(node.node), strict=True)
                mine = [(key, frame) for frame, on in sides for key in on if frame.private]
            case _:
                pass
        found[id(node)] = mine
        stack += node.inputs
    return [one for mine in found.values() for one in mine]


def _mixed(value: Value, world: World) -> bool:
    return len({s.label for s in value.sources | value.chosen if not world.is_unit(s)}) > 1


@dataclass(frozen=True)
class _Choice:
    """What decides together whether a row is chosen.

    unknown: whether rows without a value may be chosen. stacked: whether other rows are put below them.
    """

    values: tuple[Value, ...]
    unknown: bool = False
    stacked: bool = False

    def mixed(self, world: World) -> bool:
        """Whether a measure decides about some people only."""
        if not any(of_measures(v, world) for v in self.values):
            return False
        sources = frozenset().union(*(v.sources | v.chosen for v in self.values))
        return self.unknown or self.stacked or _mixed(Value(sources), world)


def _holds(value: object) -> bool:
    return value is True


def _known(value: object) -> bool:
    return value is not None


def _number(value: object) -> bool:
    return value == value  # NaN is not


def _whatever(_: object) -> bool:
    return True


def _conditions(conditions: Sequence[Expr], below: Typed, world: World) -> Iterator[_Choice]:
    """Yield what conditions choose by that rows must all meet: who meets one of them and not another is not taken in."""
    parts = [part for c in conditions for part in _conjuncts(c)]
    values = [values_of(part, below.frame, world) for part in parts]
    unknown = any(of_measures(v, world) for v in values) and missing_in(parts, below, world, what=_holds)
    yield from (_Choice((value,), unknown) for value in values)


def _choices(typed: Typed, world: World) -> Iterator[_Choice]:
    """Yield what rows are chosen by."""
    frames = [t.frame for t in typed.inputs]
    match typed.node:
        case n.Filter(predicate=predicate) if typed.frame.private:
            yield from _conditions([predicate], typed.inputs[0], world)
        case n.DropNulls(subset=subset, nans=nans) if typed.frame.private:
            names = frames[0].schema if subset is None else [e.name for e in subset if isinstance(e, Column)]
            for name in names:
                value = frames[0].columns[name]
                if not public_nulls(value, nans=nans):
                    # not-a-numbers are dropped, and nulls kept
                    below = typed.inputs[0]
                    unknown = (
                        missing_in([Column(name)], below, world, what=_number)
                        if nans
                        else dropped_but(name, below, world)
                    )
                    yield _Choice((value,), unknown)
        case n.Join() | n.JoinAsof():
            yield from _matched(typed, world)
        case _:
            pass
    for below in typed.inputs:
        if below.frame.private:
            for choice in _choices(below, world):
                yield replace(choice, stacked=choice.stacked or isinstance(typed.node, n.Concat))


def _matched(typed: Typed, world: World) -> Iterator[_Choice]:
    """Yield the keys of a join.

    INVARIANT: all keys of a side are one condition: the other table may hold any pairs, as a condition with both columns would.
    """
    node = typed.node
    assert isinstance(node, n.Join | n.JoinAsof)
    how = node.how if isinstance(node, n.Join) else "asof"
    for below, keys in zip(typed.inputs, join_keys(node), strict=True):
        if not below.frame.private:
            continue
        values = tuple(values_of(key, below.frame, world) for key in keys)
        if how in ("left", "asof"):
            # nobody is left out; what is made of labels carries all keys
            yield from (_Choice((value,)) for value in values)
            continue
        # a missing key is in no table, so that an anti join keeps it
        kept = how == "anti" or (isinstance(node, n.Join) and node.nulls_equal)
        yield _Choice(values, missing_in(keys, below, world, what=_whatever if kept else _known))


def values_of(expr: Expr, frame: Frame, world: World) -> Value:
    """Return what an expression is made of, what decided which rows the numbers in it are of included."""
    value = ExpressionTyping(frame, world).value(expr)
    form = Form.BITS if value.form is Form.NULLS and choosing([value], world) else value.form
    return replace(value, sources=value.sources | value.chosen, form=form)


def _asks(condition: Expr, frame: Frame, world: World) -> frozenset[str]:
    return of_measures(ExpressionTyping(frame, world).value(condition), world)


def _conjuncts(expr: Expr) -> Iterator[Expr]:
    match expr:
        case Call(function="and_", args=args):
            for arg in args:
                yield from _conjuncts(arg)
        case _:
            yield expr
