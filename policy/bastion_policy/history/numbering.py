"""The plan that numbers the rows of a table: whose each one is, what it holds, and what each of its columns does.

INVARIANT: a person is one, and a value is one, whatever type a version or a table holds them in: the number 5, the text "5", the
category "5" and 5.0 have one hash, and so have a day and its midnight, a time in milliseconds and in nanoseconds, and what a float of four bytes holds of one of eight. Else a table that was stored anew in another format would be one of other people.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from bastion_plan import nodes as n
from bastion_plan.dtypes import FLOAT32, FLOAT64, INT64, INT128, STRING, UINT64, DType, datetime, duration
from bastion_plan.expressions import Alias, AnyExpr, Cast, Column, Literal, Ternary
from bastion_plan.nodes import AnyNode

from bastion_policy.boundary import call
from bastion_policy.facts import DatasetFacts
from bastion_policy.lineage import OWN

Hashes = npt.NDArray[np.uint64]
#: two bytes tell whether a value is another one, but for one in 65,536 that are
Marks = npt.NDArray[np.uint16]
UNIT, CONTENT = f"{OWN}unit", f"{OWN}content"
#: the mark of a missing value, and of no other
MISSING = 0
#: sets the hashes of marks apart from others; that of a missing value is it
_MARKED = 1
#: columns beyond are taken to have changed in every version, and for no copies of others
MOST_COLUMNS = 256
#: the time of day of a date
_MIDNIGHT = r"[ T]00:00:00(\.0+)?$"
#: the zeros at the end of a time's fraction
_FRACTION = r"(:\d\d(\.\d*[1-9])?)\.?0*$"
_TEXTS = frozenset({"String", "Categorical", "Enum"})
#: whole numbers that Int64 may not hold
_WIDE = frozenset({UINT64, INT128})


def marked(facts: DatasetFacts) -> dict[str, str]:
    """Return the columns whose values are told apart, by the name they have in the numbering plan."""
    columns = [c for c in facts.columns if c.name != facts.unit]  # hidden ones, too: a policy may show them later
    secret_first = sorted(columns, key=lambda c: not c.role.secret)
    return {f"{OWN}m{i}": c.name for i, c in enumerate(secret_first[:MOST_COLUMNS])}


def numbering_plan(facts: DatasetFacts) -> AnyNode:
    """Return the plan that gives, per row of a table, a hash of its unit (if it has one), of all it shows, and of each value."""
    content: AnyExpr | None = None
    # INVARIANT: what is hidden is of no use: no change of it is to be seen
    shown = [c for c in facts.columns if c.name not in facts.hidden] or list(facts.columns)
    for i, column in enumerate(shown):
        part = _hash(column.name, column.dtype, i + 2)
        content = part if content is None else call("add", content, part)
    assert content is not None
    columns: list[AnyExpr] = [Alias(content, CONTENT)]
    if facts.unit is not None:
        columns.append(Alias(_person(facts.unit, facts.column(facts.unit).dtype), UNIT))
    for mark, marks_of in marked(facts).items():
        columns.append(Alias(_hash(marks_of, facts.column(marks_of).dtype, _MARKED, coarse=True), mark))
    return n.Select(n.Scan(facts.id), tuple(columns))


def returned(facts: DatasetFacts) -> tuple[str, ...]:
    """Return the columns of the numbering plan."""
    return (CONTENT, *([UNIT] if facts.unit is not None else []), *marked(facts))


def marks(facts: DatasetFacts, measured: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, Marks]:
    """Return what each row holds in each column, empty where it is not told apart; `MISSING` alone: nothing. measured: by the plan."""
    found = {c.name: np.zeros(0, np.uint16) for c in facts.columns if c.name != facts.unit}
    for name, column in marked(facts).items():
        hashes = np.asarray(measured[name], np.uint64)
        mark = np.maximum(hashes >> np.uint64(48), np.uint64(MISSING + 1)).astype(np.uint16)
        found[column] = np.where(hashes == _MARKED, np.uint16(MISSING), mark)
    return found


def _hash(name: str, dtype: DType, seed: int, *, coarse: bool = False) -> AnyExpr:
    """Return the hash of what a column holds, in whatever type. coarse: whole numbers as four bytes of a float hold them."""
    column = Column(name)
    if dtype.is_float or dtype.kind == "Decimal" or (coarse and dtype.is_integer):
        # 0.37 in four bytes is not the 0.37 in eight
        found: AnyExpr = call("hash", _coarse(column), seed=seed)
    elif dtype.is_numeric or dtype.kind == "Boolean":
        found = call("hash", Cast(column, FLOAT64), seed=seed)
    elif dtype.kind == "Duration":
        found = call("hash", Cast(Cast(Cast(column, duration("us")), INT64), FLOAT64), seed=seed)
    elif dtype.kind in _TEXTS or dtype.is_temporal:
        text = call("str.strip_chars", Cast(_moment(column, dtype), STRING), Literal(STRING, None))
        text = call("str.replace", text, Literal(STRING, _FRACTION), Literal(STRING, "${1}"))
        day = call("str.replace", text, Literal(STRING, _MIDNIGHT), Literal(STRING, ""))
        found = call("hash", day, seed=seed)
        for said, meant in (("(?i)^true$", 1.0), ("(?i)^false$", 0.0)):
            alike = call("hash", Literal(FLOAT64, meant), seed=seed)
            found = Ternary(call("str.contains", text, Literal(STRING, said)), alike, found)
        number = Cast(text, FLOAT64, strict=False)
        found = Ternary(call("is_not_null", number), call("hash", _coarse(number), seed=seed), found)
    else:
        found = call("hash", column, seed=seed)
    return Ternary(call("is_not_null", column), found, Literal(UINT64, seed))


def _moment(column: AnyExpr, dtype: DType) -> AnyExpr:
    """Return a point in time in microseconds and in UTC, whatever it is stored in; other columns as they are."""
    if dtype.kind != "Datetime":
        return column
    if dtype.zone:
        column = call("dt.replace_time_zone", call("dt.convert_time_zone", column, time_zone="UTC"), time_zone=None)
    return Cast(column, datetime("us"))


def _coarse(number: AnyExpr) -> AnyExpr:
    return Cast(Cast(number, FLOAT32), FLOAT64)


def _person(name: str, dtype: DType) -> AnyExpr:
    """Return the hash of whom a unit column names."""
    column: AnyExpr = Column(name)
    if dtype.is_integer and dtype not in _WIDE:
        return call("hash", Cast(column, INT64), seed=1)
    if dtype.is_float or dtype.kind == "Decimal":
        column = Cast(column, FLOAT64)
        text: AnyExpr = Cast(column, STRING)
        whole = call("eq", column, call("floor", column))
        number: AnyExpr = Ternary(whole, Cast(column, INT64, strict=False), Literal(INT64, None))
    elif dtype.is_numeric or dtype.kind in _TEXTS:
        trimmed = call("str.strip_chars", Cast(column, STRING), Literal(STRING, None))
        text = call("str.replace", trimmed, Literal(STRING, r"\.0+$"), Literal(STRING, ""))
        number = Cast(text, INT64, strict=False)
    else:
        return call("hash", column, seed=1)
    return Ternary(call("is_not_null", number), call("hash", number, seed=1), call("hash", text, seed=1))
