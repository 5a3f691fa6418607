"""For every registered function, plans the engine can run, with their results."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal

import bastion_plan.functions  # noqa: F401 - fills the registry
import polars as pl
from bastion_plan.dtypes import BOOLEAN, FLOAT64, INT64, STRING
from bastion_plan.errors import BastionError
from bastion_plan.expressions import Alias, Call, Column, Literal
from bastion_plan.functions.registry import all_functions
from bastion_plan.nodes import Scan, Select
from bastion_server.engine.lower import lower

N = 40
FRAME = pl.DataFrame(
    {
        "i": [i % 7 for i in range(N)],
        "f": [i / 3 for i in range(N)],
        "s": [f"v{i % 5} 1.5" for i in range(N)],
        "b": [i % 3 == 0 for i in range(N)],
        "t": [dt.datetime(2020, 1, 1) + dt.timedelta(hours=7 * i) for i in range(N)],
        "d": [dt.date(2020, 1, 1) + dt.timedelta(days=i) for i in range(N)],
        "u": [dt.timedelta(hours=i) for i in range(N)],
        "c": [dt.time(i % 24, 5) for i in range(N)],
        "l": [[i, i + 1] for i in range(N)],
        "ls": [["a", str(i)] for i in range(N)],
        "x": [b"ab" for _ in range(N)],
        "m": [Decimal(i) / 4 for i in range(N)],
        "iso": [f"2020-01-{i % 28 + 1:02d} 10:00:00" for i in range(N)],
    }
).with_columns(
    pl.col("t").dt.replace_time_zone("Europe/Paris").alias("z"),
    pl.col("s").cast(pl.Categorical).alias("k"),
    pl.struct("i", "s").alias("r"),
    pl.col("l").list.to_array(2).alias("a"),
)
LITERALS = (Literal(INT64, 1), Literal(STRING, "v"), Literal(FLOAT64, 0.5), Literal(BOOLEAN, True))
OPTIONS = {
    "bool": True,
    "int": 2,
    "float": 0.5,
    "number": 1,
    "strings": ("i", "s"),
    "numbers": (1, 2),
    "bools": (True,),
}
STRINGS = ("UTC", "1h", "%Y", "hex", "i", "md5")


#: functions whose result depends on the process, with the reason
BY_PROCESS = {"cat.physical": "codes are given in the order in which a process met the categories"}


def _calls(function):
    """Some calls of a function: each column first, then columns or literals."""
    rest = max(0, sum(not a.optional for a in function.args) - 1)
    seconds = [*(Column(n) for n in ("i", "s", "b", "t", "l")), *LITERALS]
    required = [o for o in function.options if o.required]
    for strings in STRINGS if any(o.kind == "str" and not o.choices for o in required) else STRINGS[:1]:
        options = tuple(
            (o.name, o.choices[0] if o.choices else strings if o.kind == "str" else OPTIONS.get(o.kind, 1))
            for o in required
        )
        if not function.args:
            yield Call(function.name, (), options)
            continue
        for first in FRAME.columns:
            for others in itertools.islice(itertools.product(seconds, repeat=min(rest, 2)), 12):
                fill = (*others, *(Literal(INT64, 1) for _ in range(rest - len(others))))
                yield Call(function.name, (Column(first), *fill), options)


def examples(accept=lambda plan: True):
    """Per function, up to two plans over `d` that are accepted and the engine can run: (name, plan, result)."""
    sources = {"d": FRAME.lazy()}
    for function in all_functions():
        if function.name in BY_PROCESS:
            continue
        found = 0
        for call in _calls(function):
            plan = Select(Scan("d"), (Alias(call, "out"),))
            if not accept(plan):
                continue
            try:
                result = lower(plan, sources).collect()
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException, BastionError, TypeError, ValueError):
                continue
            except AttributeError:
                continue
            if result.schema["out"] == pl.Struct([]):
                # says nothing, and cannot be sent: see test_visible
                continue
            yield function.name, plan, result
            found += 1
            if found == 2:
                break


def unsteady(name: str) -> bool:
    """Whether a function is random, seeded per process, or leaves a choice among ties to the engine."""
    return any(word in name for word in ("sample", "shuffle", "hash", "_by"))
