"""What `x?` and `help(x)` say, read from the same tables that evaluation uses."""

from __future__ import annotations

import builtins
import textwrap
from typing import TYPE_CHECKING, Any

import polars as pl
from bastion_plan.errors import BastionError

from bastion.client.explaining import card_text, frame_text, verdict_text
from bastion.client.frames import RemoteLazyFrame
from bastion.expr.core import Expr
from bastion.language.builtins import plain_methods
from bastion.language.callables import Member, Module, SafeFunction, kind_name
from bastion.language.limits import Limits, Meter
from bastion.language.members import table_of
from bastion.language.reading import read_member
from bastion.language.texts import text_of
from bastion.render.safe_text import safe_text

if TYPE_CHECKING:
    from bastion.language.environment import Environment


def describe_name(env: Environment, dotted: str, *, detailed: bool = False) -> str:
    """Return what a name, or a chain of members like `pl.col` or `titanic.select`, is and does.

    Raises:
        LanguageError: there is no such name or member.
    """
    first, *rest = dotted.split(".")
    value = env.lookup(first)
    for name in rest:
        value = read_member(value, name)
    return describe_value(value, detailed=detailed)


def describe_value(value: Any, *, detailed: bool = False) -> str:
    """Return what a value is and does, as text. detailed: with its members."""
    lines: list[str] = []
    if isinstance(value, SafeFunction | Member):
        lines = [repr(value), "", value.doc]
    elif isinstance(value, Module):
        lines = [repr(value)]
    elif isinstance(value, RemoteLazyFrame):
        lines = [_frame(value, detailed=detailed)]
    elif isinstance(value, Expr):
        lines = [f"column expression  {value!r}"]
    elif isinstance(value, pl.DataFrame | pl.Series):
        lines = [repr(value)]
    else:
        lines = [f"{kind_name(value)}  {text_of(value, Meter(Limits()))}"]
    if detailed:
        names = members(value)
        if names:
            lines += ["", "members: " + ", ".join(names)]
    return safe_text("\n".join(lines).rstrip(), lines=True)


def _frame(frame: RemoteLazyFrame, *, detailed: bool) -> str:
    if frame.dataset is not None:
        return card_text(frame.dataset)
    try:
        verdict = frame.verdict
    except BastionError:
        return frame_text(frame.plan_schema, None)
    text = frame_text(frame.plan_schema, verdict)
    return f"{text}\n\n{verdict_text(verdict, frame._names())}" if detailed else text


def members(value: Any) -> list[str]:
    """Return the members a cell may reach on a value, sorted: what completion offers after a dot."""
    if isinstance(value, Module):
        return sorted(value.entries)
    if isinstance(value, SafeFunction):
        return sorted(value.members)
    return sorted({*table_of(value), *plain_methods(value)})


#: what one does first, in its order
START = (
    ("connect()", "as your profile says, or with an invitation"),
    ("datasets()", "what there is to explore"),
    ('t = dataset("name")', "t alone shows its columns and its policy"),
    ("t.preview()", "made-up rows of its shape, to write code with"),
    ('t.group_by("a").agg(pl.col("b").mean())', "as a last line it runs, and shows its table"),
    ("q = t.filter(…)", "does not run yet; q.explain() says its verdict"),
    ('t.plot.hist("a", width=10)', "a plot, of numbers about groups"),
    ('ds = t.to_dataset(["a"], "y")', "what a model learns from; nn. has its layers"),
    ("RemoteLearner(nn.Linear(1, 2), ds)", "then .summarize(…), .fit(…), .get_model()"),
    ("requests()", "what you asked owners for, and how it stands"),
)
WIDTH = 88


def overview(env: Environment) -> str:
    """Return what the language offers, as text: what one does first, its own names, Python's, commands."""
    from bastion.language.commands import COMMANDS

    functions = [f for f in env.fixed.values() if isinstance(f, SafeFunction) and not f.name.startswith("pl.")]
    own = [f for f in functions if not hasattr(builtins, f.name) and f.name not in ("date", "datetime", "timedelta")]
    python = sorted(f.name for f in functions if f not in own)
    width = max(len(code) for code, _ in START)
    lines = ["Cells are written with Polars' expressions over datasets that stay on the server.", "", "Start with"]
    lines += [f"  {code:<{width}}  {says}" for code, says in START]
    lines += ["", "Names"]
    for function in own:
        says = f": {function.doc.splitlines()[0]}" if function.doc else ""
        lines += _indented(f"{function.name}{function.signature}{says}")
    lines += ["", "As in Python", *_indented(", ".join(python), ""), "", "Lines of their own"]
    for _, doc in COMMANDS.values():
        lines += _indented(doc)
    lines.append("  x?  says what x is, x?? says more; Tab completes, Shift-Tab explains")
    return "\n".join(lines)


def _indented(text: str, more: str = "    ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent=f"  {more}", break_on_hyphens=False)
