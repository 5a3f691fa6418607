"""Each plot: which keys and numbers it asks for, and what picture the answer is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bastion_plan import expressions as px
from bastion_plan.errors import BindError, InputError, did_you_mean

from bastion.client.binning import OTHER, Key, Wish, is_grouped, key_of
from bastion.client.plot_names import named
from bastion.client.plot_options import Options
from bastion.client.plot_query import (
    ALL,
    FIVE,
    Answer,
    ask,
    corr_cells,
    least_people,
    number_of,
    release,
    rows_of,
    tells_rows,
)
from bastion.expr.core import Expr
from bastion.render.charts import Axis, Cell, Chart, Picture, label

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame

WHISKERS = "Whiskers are at 5% and 95%; a box end is the middle of a stretch that holds enough people."
MIDDLES = ("median", "min", "max")


def wish(bins: Any = None, range: Any = None, width: Any = None, every: Any = None, discrete: Any = False) -> Wish:
    """Return what is said of an axis; of two axes, where bins, range or width are pairs."""
    pairs = [_pair(bins, (list, tuple)), _pair(range, (list, tuple)), _pair(width, (int, float))]
    across, down = ([None if pair is None else pair[i] for pair in pairs] for i in (0, 1))
    given = [bins if pairs[0] is None else across[0], range if pairs[1] is None else across[1]]
    first = Wish(_bins(given[0]), given[1], width if pairs[2] is None else across[2], every, bool(discrete))
    if all(pair is None for pair in pairs):
        return first
    return replace(first, down=Wish(_bins(down[0]), down[1], down[2], every, bool(discrete)))


def _pair(value: Any, kinds: tuple[type, ...]) -> tuple[Any, Any] | None:
    """Return what is said of x and of y, if it is two things."""
    if isinstance(value, list | tuple) and len(value) == 2 and all(v is None or isinstance(v, kinds) for v in value):
        return value[0], value[1]
    return None


def _bins(bins: Any) -> int | tuple[float, ...] | None:
    if bins is None or isinstance(bins, int):
        return bins
    try:  # a list, a numpy array, a range
        return tuple(float(v) for v in bins)
    except (TypeError, ValueError):
        msg = "Bins are a number of them, or a list of edges."
        raise InputError(msg, code="plot.bins", next_step="Write bins=10, or bins=[0, 10, 20].") from None


def _of_y(frame: RemoteLazyFrame, column: Any, said: Wish) -> Key:
    """Return the key of the second axis: what is said of the first one counts for it only where nothing else tells."""
    if said.down is not None:
        return key_of(frame, column, said.down)
    try:
        return key_of(frame, column, Wish(every=said.every, discrete=said.discrete))
    except InputError as error:
        if error.code != "plot.bins":
            raise
        return key_of(frame, column, said)


def _keys(
    frame: RemoteLazyFrame, axes: Mapping[str, Any], said: Wish, given: Options, hue: Any = None
) -> dict[str, Key]:
    """Return the keys of a plot by what they mean: its axes, its hue, its panels."""
    keys = {}
    for name, column in axes.items():
        if column is not None:
            keys[name] = _of_y(frame, column, said) if name == "y" else key_of(frame, column, said)
    for name, column in (("hue", hue), ("row", given.row), ("col", given.col)):
        if column is not None:
            same = next((k for k in keys.values() if k.column == column), None)
            keys[name] = same or key_of(frame, column, said, panels=True)
    return keys


def _axis(keys: Mapping[str, Key], answer: Answer, name: str) -> Axis:
    if not keys and name == "x":
        return Axis("", "category", (ALL,))
    if name not in keys:
        return Axis()
    key, places = keys[name], answer.places[name]
    if key.kind == "category" and any(c.rest and c.x == OTHER for c in answer.cells):
        places = (*places, OTHER)
    kind = {"category": "category", "times": "times"}.get(key.kind, "bins")
    return Axis(key.column, kind, places, open=key.kind == "bins", step=key.every)


def _chart(kind: str, keys: Mapping[str, Key], answer: Answer, given: Options, value: str, **more: Any) -> Chart:
    titles: dict[str, Any] = {}
    for name in ("hue", "row", "col"):
        if name in keys:
            titles[name] = keys[name].column
            titles[f"{name}s"] = tuple(label(keys[name].words(p)) for p in answer.places[name])
    titles |= more
    made = Picture(
        kind, answer.cells, _axis(keys, answer, "x"), _axis(keys, answer, "y"), value=value, title=_title(value, keys),
        least=answer.least, notes=(*titles.pop("notes", ()), *answer.notes), style=given.style,
        untold=answer.untold, **titles,
    )  # fmt: skip
    return Chart(made, answer.table, answer.note, answer.denied)


def _title(value: str, keys: Mapping[str, Key]) -> str:
    names = list(dict.fromkeys(label(key.column) for key in keys.values()))
    if not names:
        return value
    return f"{value} by {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"{value} by {names[0]}"


def _value(column: str | None, estimator: str) -> str:
    return "Count" if column is None else f"{estimator} of {label(column)}"


def _named(column: str | None, estimator: str) -> str:
    """Return the name of a number in the answer."""
    return "count" if column is None else _value(column, estimator)


def _number(frame: RemoteLazyFrame, column: Any, estimator: str) -> tuple[Expr, bool]:
    _known(frame, column)
    return number_of(column, estimator)


def _known(frame: RemoteLazyFrame, column: Any) -> None:
    if column is not None and column not in frame.plan_schema:
        msg = f"There is no column {label(column)!r}."
        raise BindError(msg, code="plan.bind.column", next_step=did_you_mean(str(column), frame.plan_schema))


def _needs(column: Any, example: str) -> None:
    if column is None:
        msg = "This plot needs a column."
        raise InputError(msg, code="plot.column", next_step=f"Write {example}.")


# ---- the verbs -------------------------------------------------------------------------------------------------------


async def hist(frame: RemoteLazyFrame, x: Any, y: Any, hue: Any, said: Wish, given: Options) -> Chart:
    """Counts by bin."""
    _needs(x if x is not None else y, 'plot.hist("Age"), or plot.hist("Age", "Fare")')
    sideways = x is None
    both = x is not None and y is not None
    keys = _keys(frame, {"x": x, "y": y} if both else {"x": y if sideways else x}, said, given, None if both else hue)
    answer = await ask(frame, keys, {"count": number_of(None, "count")[0]}, counts=True)
    kind = "heat" if both else "hist"
    return _chart(kind, keys, answer, given, "Count", total=True, sideways=sideways)


async def bar(frame: RemoteLazyFrame, x: Any, y: Any, estimator: str, hue: Any, said: Wish, given: Options) -> Chart:
    """One number per group."""
    _needs(x if x is not None else y, 'plot.bar("Pclass", "Survived")')
    if x is not None and y is not None and is_grouped(frame.plan):
        return await _as_it_is("bar", frame, x, y, hue, given)
    number, total = _number(frame, y, estimator)
    keys = _keys(frame, {"x": x}, said, given, hue)
    answer = await ask(frame, keys, {_named(y, estimator): number}, counts=y is None)
    notes = (
        (f"A {estimator} is the middle of a stretch that holds enough people.",)
        if y is not None and estimator in MIDDLES
        else ()
    )
    notes = notes if answer.least else ()
    return _chart("bar", keys, answer, given, _value(y, estimator), total=total, notes=notes, sideways=given.sideways)


async def box(frame: RemoteLazyFrame, x: Any, y: Any, hue: Any, given: Options) -> Chart:
    """Five numbers per group."""
    _needs(x if x is not None else y, 'plot.box("Pclass", "Age")')
    if y is None:
        x, y = None, x
    _known(frame, y)
    if not frame.plan_schema[y].is_numeric:
        msg = f"{label(y)!r} is not a column of numbers."
        raise InputError(msg, code="plot.column", next_step='Give what makes groups first: plot.box("Pclass", "Age").')
    keys = _keys(frame, {"x": x}, Wish(), given, hue)
    column = Expr(px.Column(y))
    answer = await ask(frame, keys, {f"{label(y)} at {share:.0%}": column.quantile(share) for share in FIVE})
    notes = (WHISKERS,) if answer.least else ("Whiskers are at 5% and 95%.",)
    return _chart("box", keys, answer, given, label(y), notes=notes, sideways=given.sideways)


async def line(frame: RemoteLazyFrame, x: Any, y: Any, estimator: str, hue: Any, said: Wish, given: Options) -> Chart:
    """A number along x."""
    _needs(x, 'plot.line("Age", "Fare")')
    if y is not None and is_grouped(frame.plan):
        return await _as_it_is("line", frame, x, y, hue, given)
    number, total = _number(frame, y, estimator)
    if y is not None and said == Wish() and not any((given.row, given.col)) and _is_free(frame, x, y):
        columns = [x] if hue is None else [x, hue]
        name = _value(y, estimator)
        return await _as_it_is("line", frame.group_by(*columns).agg(number.alias(name)), x, name, hue, given)
    keys = _keys(frame, {"x": x}, said, given, hue)
    answer = await ask(frame, keys, {_named(y, estimator): number}, counts=y is None)
    return _chart("line", keys, answer, given, _value(y, estimator), total=total)


def _is_free(frame: RemoteLazyFrame, x: str, y: str) -> bool:
    """Whether rows are no secret, so that every value of a column of numbers may be a point of a line."""
    schema = frame.plan_schema
    return schema.get(x) is not None and schema[x].is_numeric and tells_rows(frame.select(*dict.fromkeys([x, y])))


async def scatter(frame: RemoteLazyFrame, x: Any, y: Any, hue: Any, said: Wish, given: Options) -> Chart:
    """Rows where they may be seen, else bubbles."""
    _needs(x if y is not None else None, 'plot.scatter("Age", "Fare")')
    for column in (x, y):
        _known(frame, column)
    places = [c for c in (given.row, given.col) if c is not None]
    rows = frame.select(*dict.fromkeys([x, y, *([hue] if hue is not None else []), *places]))
    if is_grouped(frame.plan):
        return await _as_it_is("points", frame, x, y, hue, given)
    if all(frame.plan_schema[c].is_numeric for c in (x, y)) and tells_rows(rows):
        return await _points(rows, x, y, hue, given)
    keys = _keys(frame, {"x": x, "y": y}, said, given, hue)
    answer = await ask(frame, keys, {"count": number_of(None, "count")[0]}, counts=True)
    return _chart("bubbles", keys, answer, given, "Count", total=True)


async def pie(frame: RemoteLazyFrame, x: Any, y: Any, estimator: str, given: Options) -> Chart:
    """Shares."""
    _needs(x, 'plot.pie("Embarked")')
    if y is not None and is_grouped(frame.plan):
        return await _as_it_is("pie", frame, x, y, None, given)
    if y is not None and estimator not in ("sum", "count"):
        msg = "The slices of a pie add up: their numbers are sums or counts."
        raise InputError(msg, code="plot.estimator", next_step='Use plot.bar(…, estimator="mean") for other numbers.')
    y = None if given.names is not None else y
    number, _ = _number(frame, y, estimator)
    keys = _keys(frame, {"x": x}, Wish(), given)
    answer = await ask(frame, keys, {_named(y, estimator): number}, counts=y is None)
    return _pie(_chart("pie", keys, answer, given, _value(y, estimator), total=True))


async def heatmap(
    frame: RemoteLazyFrame, x: Any, y: Any, value: Any, estimator: str, said: Wish, given: Options
) -> Chart:
    """A number per cell."""
    _needs(x if y is not None else None, 'plot.heatmap("Pclass", "Sex", "Survived")')
    if value is not None and is_grouped(frame.plan):
        return await _as_it_is("heat", frame, x, value, None, given, down=y)
    number, total = _number(frame, value, estimator)
    keys = _keys(frame, {"x": x, "y": y}, said, given)
    answer = await ask(frame, keys, {_named(value, estimator): number}, counts=value is None)
    return _chart("heat", keys, answer, given, _value(value, estimator), total=total)


async def corr(frame: RemoteLazyFrame, columns: tuple[str, ...], given: Options) -> Chart:
    """Correlations, pair by pair."""
    answer, names = await corr_cells(frame, columns)
    axis = Axis("", "category", names)
    made = Picture(
        "heat", answer.cells, axis, Axis("", "category", names), value="Correlation", diverging=True,
        title="Correlation", least=answer.least, notes=answer.notes, style=given.style,
    )  # fmt: skip
    return Chart(made, answer.table, answer.note, answer.denied)


# ---- rows and groups as they are -------------------------------------------------------------------------------------


def _pie(chart: Chart) -> Chart:
    """Return a pie: its places are what colours mean."""
    old = chart.picture
    order = sorted(old.cells, key=lambda c: (c.rest or c.x == OTHER, -(c.value or 0.0)))
    names = tuple(dict.fromkeys(label(_words(old.x, c.x)) for c in order if not c.few))
    told = tuple(replace(c, x=None, hue=label(_words(old.x, c.x))) for c in order if not c.few)
    gone = [" · ".join(p for p in (label(_words(old.x, c.x)), c.row, c.col) if p) for c in order if c.few]
    notes = (
        (f"Not drawn ({old.missing}): {', '.join(gone[:8])}{' …' if len(gone) > 8 else ''}.", *old.notes)
        if gone
        else old.notes
    )
    made = replace(old, cells=told, hue=old.x.title, hues=names, x=Axis(), notes=notes)
    return Chart(made, chart.table, chart.note, chart.denied)


def _words(axis: Axis, place: Any) -> str:
    from bastion.render.charts_layout import place_words

    return place_words(axis, place)


async def _as_it_is(
    kind: str, frame: RemoteLazyFrame, x: str, y: str, hue: Any, given: Options, *, down: Any = None
) -> Chart:
    """Draw the rows of a frame that are groups already; x and `down` are places, y is the number."""
    places = {"y": y} if kind == "points" else {"y": down, "value": y}
    names = {"x": x, **places, "hue": hue, "row": given.row, "col": given.col}
    wanted = {name: column for name, column in names.items() if column is not None}
    for column in wanted.values():
        _known(frame, column)
    table, note, denied = await release(frame.select(*dict.fromkeys(wanted.values())))
    answer, axes = rows_of(table, wanted, note, denied, kind=kind, names=given.names, least=least_people(frame))
    titles: dict[str, Any] = {}
    for name in ("hue", "row", "col"):
        if name in wanted:
            titles[name] = wanted[name]
            titles[f"{name}s"] = tuple(sorted({getattr(c, name) for c in answer.cells}))
    made = Picture(
        kind, answer.cells, axes["x"], axes.get("y", Axis()), value=label(y), title=f"{label(y)} by {label(x)}",
        notes=answer.notes, style=given.style, sideways=given.sideways, **titles,
    )  # fmt: skip
    chart = Chart(made, table, note, denied)
    return _pie(chart) if kind == "pie" else chart


async def _points(rows: RemoteLazyFrame, x: str, y: str, hue: Any, given: Options) -> Chart:
    """Draw rows, at most so many that a page can hold them."""
    return await _as_it_is("points", rows, x, y, hue, given)


__all__ = ["Cell", "Wish", "bar", "box", "corr", "heatmap", "hist", "key_of", "line", "named", "pie", "scatter", "wish"]
