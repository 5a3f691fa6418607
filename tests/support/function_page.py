"""The pages of docs/functions/, written from the registry, each example run. `python tests/support/function_page.py` writes them.

An example is Polars code that a cell, the builder and Polars' own expressions all read as the same plan; beside it stands
what it gives for a small table, and the SQL of it where SQL has the function.
"""

from __future__ import annotations

import datetime as dt
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT / "tests" / "support") not in sys.path:
    sys.path.insert(0, str(ROOT / "tests" / "support"))

import bastion_plan.functions  # noqa: E402, F401 - fills the registry
import polars as pl  # noqa: E402
from bastion_plan.bind import bind  # noqa: E402
from bastion_plan.dtypes import Schema  # noqa: E402
from bastion_plan.errors import BastionError  # noqa: E402
from bastion_plan.expressions import Alias, AnyExpr, Call  # noqa: E402
from bastion_plan.functions.registry import all_functions  # noqa: E402
from bastion_plan.functions.spec import Flow, Function  # noqa: E402
from bastion_plan.nodes import Node, Scan, Select  # noqa: E402
from bastion_plan.typing import expr_dtype  # noqa: E402
from bastion_policy.code_expressions import expr_code  # noqa: E402
from bastion_server.engine.lower import lower  # noqa: E402
from fake_session import facts_of  # noqa: E402
from function_examples import BY_PROCESS, _calls  # noqa: E402
from function_samples import SAMPLES, SQL_SAMPLES  # noqa: E402

import bastion  # noqa: E402
from bastion.expr.binding import signature  # noqa: E402
from bastion.expr.core import as_plan  # noqa: E402
from bastion.expr.dtypes import to_dtype  # noqa: E402

FOLDER = ROOT / "docs" / "functions"
TABLE = pl.DataFrame(
    {
        "i": [3, 1, 2, None],
        "f": [0.5, -1.5, 2.25, 0.25],
        "s": ["Ada 12", "bob 7", None, "Cy"],
        "b": [True, False, True, None],
        "t": [dt.datetime(2024, 2, 29, 13, 45), dt.datetime(2024, 3, 1), dt.datetime(2025, 12, 31, 23, 59), None],
        "d": [dt.date(2024, 2, 29), dt.date(2024, 3, 1), dt.date(2025, 12, 31), None],
        "u": [dt.timedelta(hours=36), dt.timedelta(minutes=5), dt.timedelta(0), None],
        "c": [dt.time(8, 30), dt.time(23, 59), dt.time(0), None],
        "l": [[1, 2], [3, 3], [5, 4], None],
        "ls": [["a", "b"], ["c"], [], None],
        "x": [b"ab", b"\x00\xff", b"", None],
        "m": [Decimal("1.25"), Decimal("2.50"), Decimal("-3.75"), None],
        "iso": ["2024-02-29 13:45:00", "2024-03-01 00:00:00", "2025-12-31 23:59:00", None],
    }
).with_columns(
    pl.col("t").dt.replace_time_zone("Europe/Paris").alias("z"),
    pl.col("s").cast(pl.Categorical).alias("k"),
    pl.struct("i", "s").alias("r"),
    pl.col("l").list.to_array(2).alias("a"),
)
FACTS = facts_of("t", TABLE)
SCHEMA: Schema = {name: to_dtype(dtype) for name, dtype in TABLE.schema.items()}

_PAGES = {
    "": ("expressions", "Methods of expressions"), "pl": ("top-level", "Functions of pl"), "str": ("str", "Text: .str"),
    "dt": ("dt", "Dates and times: .dt"), "list": ("list", "Lists: .list"), "arr": ("arr", "Arrays: .arr"),
    "struct": ("struct", "Structs: .struct"), "cat": ("cat", "Categories: .cat"), "bin": ("bin", "Bytes: .bin"),
    "ext": ("ext", "Extension types: .ext"), "name": ("name", "Names: .name"),
}  # fmt: skip
GUARD = {
    Flow.ELEMENTWISE: "One row in, one row out. It may stand inside an aggregate or in a key; its result alone is single rows.",
    Flow.COUNT: "A number of rows or people. It is released for groups that are large enough.",
    Flow.SUM: "Adds rows up. It is released for groups that are large enough and in which nobody makes up most of it.",
    Flow.SPREAD: "Sums of squares and products. As sums, and nobody may decide most of it.",
    Flow.ORDER: "A value between people's. The middle of an interval that holds enough people is told in its place.",
    Flow.EXTREME: "One person's value. The middle of an interval that holds enough people is told in its place.",
    Flow.TIED: "A value that several people share. It is released where enough of them do.",
    Flow.ROW: "Carries single rows: the owner looks at it first.",
    Flow.WINDOW: "Reads other rows of the frame. What it gives depends on their order: the owner looks at it first.",
    Flow.GENERATOR: "Makes values out of nothing, so it tells nothing of anyone.",
    Flow.FILTER: "Chooses rows inside an expression. It is judged as a filter of the frame is.",
}


@dataclass(frozen=True)
class Example:
    """One example: its code, the plan it is, what it gives, and its SQL or an empty text."""

    function: Function
    code: str
    plan: AnyExpr
    result: pl.Series | None
    sql: str


def run(plan: AnyExpr) -> pl.Series:
    """Return what an expression gives for the table."""
    return lower(Select(Scan("t"), (Alias(plan, "out"),)), {"t": TABLE.lazy()}).collect()["out"]


def built(code: str) -> AnyExpr:
    """Return the plan of code as the project's own builder reads it."""
    return as_plan(_evaluated(code, bastion.pl))


def translated(code: str) -> AnyExpr:
    """Return the plan of code as Polars' own expressions, translated."""
    return as_plan(_evaluated(code, pl))


def _evaluated(code: str, namespace: Any) -> Any:
    names = {"pl": namespace, "date": dt.date, "datetime": dt.datetime, "time": dt.time, "timedelta": dt.timedelta}
    return eval(code, {"__builtins__": {}, **names})


def run_sql(text: str) -> pl.Series:
    """Return what an SQL expression gives for the table."""
    from bastion.sql import parse_sql

    def schema_of(node: Node) -> Schema:
        return bind(node, {"t": FACTS}).schema

    root = parse_sql(f"select {text} as out from t", {"t": Scan("t")}, schema_of)
    return lower(bind(root, {"t": FACTS}).root, {"t": TABLE.lazy()}).collect()["out"]


_FAILS = (
    pl.exceptions.PolarsError, pl.exceptions.PanicException, BastionError, TypeError, ValueError, AttributeError, SyntaxError,
    NameError, AssertionError, OverflowError,
)  # fmt: skip


@lru_cache(maxsize=1)
def examples() -> tuple[Example, ...]:
    """Return one example of every function of the registry.

    Raises:
        LookupError: a function for which there is none.
    """
    return tuple(_example(function) for function in sorted(all_functions(), key=lambda f: f.name))


def _example(function: Function) -> Example:
    spare = None
    for code in _codes(function):
        try:
            plan = built(code)
            expr_dtype(plan, SCHEMA)
            random = any(word in function.name for word in ("sample", "shuffle", "hash"))
            steady = not (random or function.name in BY_PROCESS)
            result = run(plan)
            if not any(c.function == function.name for c in _calls_in(plan)):
                continue
            if function.name not in ONLY_HERE and run(translated(code)).dtype != result.dtype:
                continue
        except _FAILS:
            continue
        found = Example(function, code, plan, result if steady else None, _sql(function, plan, result))
        if len(result) and result.null_count() < len(result):
            return found
        spare = spare or found
    if spare is None:
        msg = f"There is no example of {function.name}: put one into function_samples.py."
        raise LookupError(msg)
    return spare


#: functions without a spelling in Polars' own expressions, with the reason
ONLY_HERE: dict[str, str] = {}


def _codes(function: Function) -> Iterator[str]:
    if function.name in SAMPLES:
        yield SAMPLES[function.name]
        return
    for call in _calls(function):
        try:
            yield expr_code(call)
        except _FAILS:
            continue


def _calls_in(plan: AnyExpr) -> Iterator[Call]:
    from bastion_plan.expressions import children

    if isinstance(plan, Call):
        yield plan
    for inner in children(plan):
        yield from _calls_in(inner)  # type: ignore[arg-type]


def _sql(function: Function, plan: AnyExpr, result: pl.Series) -> str:
    """Return SQL that gives the same, or an empty text where there is none."""
    for text in _sql_texts(function, plan):
        try:
            if run_sql(text).to_list() == result.to_list():
                return text
        except _FAILS:
            continue
    return ""


def _sql_texts(function: Function, plan: AnyExpr) -> Iterator[str]:
    if function.name in SQL_SAMPLES:
        yield SQL_SAMPLES[function.name]
    if not function.sql or not isinstance(plan, Call):
        return
    try:
        args = [_sql_value(arg) for arg in plan.args] + [_sql_constant(value) for _, value in plan.options]
    except ValueError:
        return
    for name in function.sql:
        if re.fullmatch(r"\w+", name):
            yield f"{name}({', '.join(args)})"
        if len(args) == 2:
            yield f"{args[0]} {name} {args[1]}"
        if len(args) == 1:
            yield f"{name} {args[0]}"
            yield f"{args[0]} {name}"


def _sql_value(arg: AnyExpr) -> str:
    from bastion_plan.expressions import Column, Literal

    if isinstance(arg, Column):
        return arg.name
    if isinstance(arg, Literal):
        return _sql_constant(arg.value)
    raise ValueError


def _sql_constant(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise ValueError


def pages() -> dict[str, str]:
    """Return the pages by the name of their file."""
    by_space: dict[str, list[Example]] = {}
    for example in examples():
        by_space.setdefault(example.function.namespace, []).append(example)
    out = {"index.md": _index(by_space)}
    for space, found in by_space.items():
        name, title = _PAGES[space]
        out[f"{name}.md"] = f"# {title}\n\n{_INTRO}\n" + "".join(_entry(example) for example in found)
    return out


_INTRO = "The table that the examples use, and what the guard's words mean, is told in the [overview](index.md)."


def _index(by_space: dict[str, list[Example]]) -> str:
    count = sum(map(len, by_space.values()))
    lines = [
        "# Functions",
        "",
        "<!-- Written by tests/support/function_page.py from the registry. Do not change by hand. -->",
        "",
        f"The language has {count} functions, spelled as in Polars. They work in a cell of the kernel, under `%%bastion`, with the",
        "project's own builder (`from bastion import pl`) and as Polars' own expressions (`import polars as pl`); where SQL has a",
        "function, its example is there, too. Every example below is run in each of these ways by the tests.",
        "",
        "| page | functions |",
        "|---|---|",
    ]
    for space, found in sorted(by_space.items()):
        name, title = _PAGES[space]
        lines.append(f"| [{title}]({name}.md) | {len(found)} |")
    lines += ["", "## What the guard makes of them", "", "| class | what it means | functions |", "|---|---|---|"]
    counts = {flow: sum(e.function.flow is flow for found in by_space.values() for e in found) for flow in Flow}
    lines += [f"| **{flow}** | {GUARD[flow]} | {counts[flow]} |" for flow in Flow if counts[flow]]
    lines += [
        "",
        "What is reviewed under the default profile, and what a policy may say otherwise, is in [the guard](../guard.md).",
        "",
        "## The table of the examples",
        "",
        "```",
        *(f"{name:4} {_dtype(dtype):38} {_shown(TABLE[name])}" for name, dtype in TABLE.schema.items()),
        "```",
        "",
    ]
    return "\n".join(lines)


def _entry(example: Example) -> str:
    function = example.function
    label = function.name if function.namespace == "pl" else f"Expr.{function.name}"
    parts = [f"\n## {function.name}\n", f"`{label}{signature(function)}`\n", f"{function.doc}\n"]
    facts = [f"Guard: **{function.flow}** – {function.flow_reason}", f"Nulls: {function.nulls}."]
    if others := [a for a in function.aliases if not a.startswith("__")]:
        facts.append(f"Also: {', '.join(f'`{a}`' for a in others)}.")
    parts.append("\n".join(f"- {fact}" for fact in facts) + "\n")
    shown = "(random)" if example.result is None else _shown(example.result)
    parts.append(f"```python\n{example.code}\n# {shown}\n```\n")
    if example.sql:
        parts.append(f"```sql\n{example.sql}\n```\n")
    return "\n".join(parts)


def _dtype(dtype: Any) -> str:
    return str(dtype)


def _shown(values: pl.Series) -> str:
    """Return the values as text, short, on one line."""
    text = ", ".join(_value(v) for v in values.to_list()[:4]) + (", …" if len(values) > 4 else "")
    return f"[{text}]"


def _value(value: Any) -> str:
    if isinstance(value, pl.Series):
        value = value.to_list()
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_value(v)}" for k, v in value.items()) + "}"
    text = f"{value:.6g}" if isinstance(value, float) else f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def write() -> None:
    """Write the pages, and take away those that are no more."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
