"""The whole cell is checked before any of it runs: every construct, name and size.

INVARIANT: a cell in which one construct is refused has no effect at all.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from bastion_plan.errors import LanguageError, did_you_mean

from bastion.client.habits import quoted
from bastion.language.limits import Limits, over

#: syntax that evaluation knows
ALLOWED: frozenset[type[ast.AST]] = frozenset(
    {
        ast.Module, ast.Expr, ast.Assign, ast.AugAssign, ast.For, ast.If, ast.Pass, ast.Break, ast.Continue, ast.Delete,
        ast.Import, ast.ImportFrom, ast.alias, ast.Name, ast.Constant, ast.Attribute, ast.Call, ast.keyword, ast.Starred,
        ast.List, ast.Tuple, ast.Dict, ast.Set, ast.UnaryOp, ast.BinOp, ast.Compare, ast.BoolOp, ast.IfExp,
        ast.Subscript, ast.Slice, ast.JoinedStr, ast.FormattedValue, ast.ListComp, ast.SetComp, ast.DictComp,
        ast.GeneratorExp, ast.comprehension, ast.Load, ast.Store, ast.Del, ast.And, ast.Or, ast.Not, ast.USub, ast.UAdd,
        ast.Invert, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.BitAnd, ast.BitOr, ast.BitXor,
        ast.LShift, ast.RShift, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot,
    }
)  # fmt: skip

_EXPRESSIONS = "Write expressions: when/then/otherwise, arithmetic, .str, .dt, and .over(…)."
#: refused syntax: what it is, and what to write instead
REFUSED: dict[str, tuple[str, str]] = {
    "FunctionDef": ("A function definition (def)", _EXPRESSIONS),
    "AsyncFunctionDef": ("A function definition (async def)", _EXPRESSIONS),
    "Lambda": ("A lambda", _EXPRESSIONS),
    "ClassDef": ("A class", "Write expressions over columns; frames and dicts hold what you need."),
    "While": ("A while loop", "Loop with for over frame.columns or another list."),
    "AsyncFor": ("An async for", "Loop with for over a list."),
    "With": ("A with block", "Write the steps one after another; the connection is already open."),
    "AsyncWith": ("An async with block", "Write the steps one after another; the connection is already open."),
    "Try": ("A try block", "Let the error show; every error says what to do next."),
    "TryStar": ("A try block", "Let the error show; every error says what to do next."),
    "Raise": ("A raise", "Errors come from the language; print() shows a text."),
    "Assert": ("An assert", "Write the condition as the last line to see it."),
    "Return": ("A return", "The value of the last line is shown."),
    "Yield": ("A yield", "Use a list."),
    "YieldFrom": ("A yield", "Use a list."),
    "Await": ("An await", "Leave it out: the language waits by itself."),
    "Global": ("A global statement", "All names of cells are shared already."),
    "Nonlocal": ("A nonlocal statement", "All names of cells are shared already."),
    "NamedExpr": ("An assignment inside an expression (:=)", "Assign on a line of its own."),
    "Match": ("A match statement", "Use if, or pl.when(…).then(…).otherwise(…) for columns."),
    "AnnAssign": ("A type annotation", "Leave the annotation out: x = 1."),
    "MatMult": ("Matrix multiplication (@)", "Multiply columns and sum: (pl.col('a') * pl.col('b')).sum()."),
    "TypeAlias": ("A type statement", "Leave it out."),
}
#: Python's builtins that people reach for, and what to write instead
ABSENT_NAMES = {
    "open": "There are no files here; datasets() lists the data.",
    "eval": "Write the expression itself.",
    "exec": "Write the statements themselves.",
    "compile": "Write the statements themselves.",
    "getattr": "Write the attribute with a dot.",
    "setattr": "Objects do not change; methods return new ones.",
    "hasattr": "frame.columns and frame.schema say what there is.",
    "globals": "Names of cells are shared already.",
    "locals": "Names of cells are shared already.",
    "vars": "frame.columns and frame.schema say what there is.",
    "dir": "Type a dot and press Tab, or write x?.",
    "type": "Write x? to see what something is.",
    "input": "Assign the value in the cell.",
    "map": "Write a list comprehension.",
    "filter": "Write a list comprehension; for rows frame.filter(…).",
    "isinstance": "frame.schema says the types of columns.",
    "exit": "Close the notebook, or connection.close().",
    "quit": "Close the notebook, or connection.close().",
    "np": "Use expressions: pl.col('x').log(), .sqrt(), .exp().",
    "pd": "Frames have Polars' methods; start with dataset('name').",
    "plt": 'Plots are verbs of a frame: frame.plot.hist("Age"), .bar, .box, .line, .scatter …',
}
_IMPORTS = {
    "polars": ("pl",),
    "polars.selectors": ("cs",),
    "datetime": ("datetime",),
    "bastion": ("bastion",),
    "bastion.expressions": ("pl",),
    "torch.nn": ("nn",),
    "torch.optim": ("optim",),
}
IMPORT_FROM = {
    "datetime": {"date", "datetime", "time", "timedelta"},
    "polars": None,
    "polars.selectors": None,
    "bastion": {"pl", "selectors", "concat"},
    "torch": {"nn", "optim"},
}
#: names bound at start that an import may bind again
_REIMPORTED = {"pl", "cs", "concat", "date", "datetime", "timedelta", "nn", "optim"}
_SAFE_IMPORTS = "Polars (import polars as pl), datetime and selectors are accepted; nothing else can be imported."
_OWN_PLOTS = 'Plots are verbs of a frame: frame.plot.hist("Age"), .bar, .line … In an ordinary notebook %%bastion --as NAME brings a table to draw.'


@dataclass(frozen=True)
class Known:
    """What a name without a value may mean: all of it is public, or the reader's own.

    datasets, columns: their names. outside: whether the notebook around the cell has such a variable.
    """

    datasets: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()
    outside: Callable[[str], bool] | None = None

    def step(self, name: str) -> str:
        """Return what to write instead of a name; empty where nothing comes near."""
        if name in self.datasets:
            return f"There is a dataset {name!r}: {name} = dataset({quoted(name)})."
        if self.outside is not None and self.outside(name):
            return "%%bastion cells do not see the notebook's variables: write the value, or assign it in the cell."
        if name in self.columns:
            return f"A column is pl.col({quoted(name)}), or {quoted(name)} in quotes."
        return ""


NOTHING_RAN = "Nothing of this cell has run."


def parse(source: str, limits: Limits) -> ast.Module:
    """Return the syntax tree of a cell.

    Raises:
        LanguageError: not Python's syntax, or over a limit. `details` hold the position.
    """
    if len(source) > limits.source:
        raise over("The cell is too long", limits.source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, "<cell>", "exec")
    except SyntaxError as error:
        line, column = error.lineno or 1, error.offset or 1
        details = {
            "line": line, "column": column, "end_line": error.end_lineno or line, "end_column": error.end_offset or column + 1
        }  # fmt: skip
        msg = f"This is not complete or not correct: {error.msg}."
        raise LanguageError(msg, code="language.syntax", details=details) from None
    except (ValueError, RecursionError, MemoryError, OverflowError):
        msg = "The cell cannot be read: it is nested too deeply, or holds a character or number that is not possible."
        raise LanguageError(msg, code="language.syntax", next_step="Split it into smaller steps.") from None
    _check_size(tree, limits)
    return tree


def _check_size(tree: ast.AST, limits: Limits) -> None:
    stack: list[tuple[ast.AST, int]] = [(tree, 0)]
    count = 0
    while stack:
        node, depth = stack.pop()
        count += 1
        if count > limits.nodes:
            raise over("The cell has too many parts", limits.nodes)
        if depth > limits.depth:
            raise at(
                over("The cell is nested too deeply", limits.depth, next_step="Give parts of it a name first."), node
            )
        stack.extend((child, depth + 1) for child in ast.iter_child_nodes(node))


def check(
    tree: ast.Module, known: Iterable[str], fixed: Mapping[str, Any], limits: Limits, around: Known | None = None
) -> None:
    """Refuse a cell that holds anything outside the language.

    Args:
        tree: of the cell. known: names that have a value. fixed: names bound at start, which cannot be given another one.
        around: what a name without a value may mean.

    Raises:
        LanguageError: with code and position; the first in reading order.
    """
    names = {*known, *assigned(tree)}
    place: ast.AST = tree
    try:
        for node in _in_order(tree):
            place = node if hasattr(node, "lineno") else place
            if type(node) not in ALLOWED:
                _refuse(node, place)
            _check_node(node, names, fixed, limits, around)
    except LanguageError as error:
        line = error.details.get("line", 0)
        if tree.body and line > (tree.body[0].end_lineno or line):  # the statements above it look as if they had run
            error.next_step = f"{error.next_step} {NOTHING_RAN}".strip()
        raise


def _in_order(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes as one reads them, parents first."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(list(ast.iter_child_nodes(node))))


def _refuse(node: ast.AST, place: ast.AST) -> NoReturn:
    name = type(node).__name__
    what, instead = REFUSED.get(name, (f"{name}", "Write it with assignments, calls and expressions."))
    msg = f"{what} is not part of the language."
    raise at(LanguageError(msg, code=f"language.{name.lower()}", next_step=instead), place)


def assigned(tree: ast.AST) -> set[str]:
    """Return all names a cell gives a value."""
    out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            out.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            out |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return out


def _check_node(node: ast.AST, names: set[str], fixed: Mapping[str, Any], limits: Limits, around: Known | None) -> None:
    match node:
        case ast.Name(id=name, ctx=ctx):
            _check_name(name, node)
            if isinstance(ctx, ast.Load):
                if name not in names:
                    raise at(unknown_name(name, names, around), node)
            elif name in fixed:
                msg = f"{name} is a name of the language and keeps its meaning."
                raise at(LanguageError(msg, code="language.fixed-name", next_step="Choose another name."), node)
        case ast.Attribute(attr=name, ctx=ctx):
            _check_name(name, node)
            if not isinstance(ctx, ast.Load):
                msg = "Setting an attribute is not part of the language, because objects do not change."
                raise at(
                    LanguageError(
                        msg, code="language.assign", next_step="Methods return new objects; give those a name."
                    ),
                    node,
                )
        case ast.Subscript(ctx=ctx) if not isinstance(ctx, ast.Load):
            msg = "Setting an element is not part of the language, because values do not change."
            step = "For a column write frame.with_columns(name=…); for a dict write {**d, key: value}."
            raise at(LanguageError(msg, code="language.assign", next_step=step), node)
        case ast.keyword(arg=str() as name):
            _check_name(name, node)
        case ast.Constant(value=value):
            _check_constant(value, node, limits)
        case ast.Assign(targets=targets):
            for target in targets:
                _check_target(target)
        case ast.AugAssign(target=target) | ast.For(target=target) | ast.comprehension(target=target):
            _check_target(target)
            if isinstance(node, ast.For) and node.orelse:
                msg = "An else after a for is not part of the language."
                raise at(
                    LanguageError(msg, code="language.for-else", next_step="Write the lines after the loop."),
                    node.orelse[0],
                )
            if isinstance(node, ast.comprehension) and node.is_async:
                msg = "An async for is not part of the language."
                raise at(LanguageError(msg, code="language.asyncfor"), target)
        case ast.Delete(targets=targets):
            for target in targets:
                if not isinstance(target, ast.Name):
                    msg = "del takes names only."
                    raise at(LanguageError(msg, code="language.del"), target)
        case ast.Import() | ast.ImportFrom():
            _check_import(node)
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                if name in fixed and name not in _REIMPORTED:
                    msg = f"{name} is a name of the language and keeps its meaning."
                    raise at(
                        LanguageError(msg, code="language.fixed-name", next_step="Import it as another name."), node
                    )
        case _:
            pass


def _check_target(target: ast.AST) -> None:
    match target:
        case ast.Name() | ast.Attribute() | ast.Subscript():
            return
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            for element in elements:
                _check_target(element)
        case _:
            msg = "A starred target is not part of the language."
            raise at(
                LanguageError(msg, code="language.assign", next_step="Give every element a name, or use a slice."),
                target,
            )


def _check_name(name: str, node: ast.AST) -> None:
    if name.startswith("_") or name.endswith("__"):
        msg = f"{name!r} begins with an underscore, and such names are not part of the language."
        raise at(LanguageError(msg, code="language.underscore", next_step="Choose a name without it."), node)


def _check_constant(value: Any, node: ast.AST, limits: Limits) -> None:
    if isinstance(value, int) and value.bit_length() > limits.bits:
        raise at(over("The number has too many bits", limits.bits), node)
    if isinstance(value, complex):
        msg = "Complex numbers are not part of the language."
        raise at(LanguageError(msg, code="language.complex"), node)
    if value is Ellipsis:
        msg = "`...` is not part of the language."
        raise at(LanguageError(msg, code="language.ellipsis", next_step="Leave it out."), node)


def _check_import(node: ast.Import | ast.ImportFrom) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name not in _IMPORTS:
                raise at(_no_import(alias.name), node)
            _check_name(alias.asname or alias.name, node)
        return
    module = node.module or ""
    allowed = IMPORT_FROM.get(module, set())
    for alias in node.names:
        if node.level or alias.name == "*" or (allowed is not None and alias.name not in allowed):
            what = f"from {'.' * node.level}{module} import {alias.name}"
            raise at(_no_import(what), node)
        _check_name(alias.asname or alias.name, node)


def _no_import(what: str) -> LanguageError:
    msg = f"Importing {what} is not part of the language."
    plots = {"matplotlib", "seaborn", "plotly", "altair", "pylab"} & set(what.replace(".", " ").split())
    return LanguageError(msg, code="language.import", next_step=_OWN_PLOTS if plots else _SAFE_IMPORTS)


def unknown_name(name: str, names: Iterable[str], around: Known | None = None) -> LanguageError:
    """Return the error for a name without a value. around: what it may mean."""
    known = [n for n in names if not n.startswith("_")]
    meant = around.step(name) if around is not None else ""
    step = ABSENT_NAMES.get(name) or meant or did_you_mean(name, known) or "Assign it first."
    msg = f"There is no name {name!r}."
    if name in ABSENT_NAMES:
        msg = f"{name!r} is not part of the language."
    return LanguageError(msg, code="language.name", next_step=step, details={"name": name})


def at(error: LanguageError, node: ast.AST) -> LanguageError:
    """Return an error with the position of a syntax node (1-based lines and columns)."""
    line = getattr(node, "lineno", None)
    if line is not None and "line" not in error.details:
        column = getattr(node, "col_offset", 0) + 1
        error.details |= {
            "line": line, "column": column, "end_line": getattr(node, "end_lineno", None) or line,
            "end_column": (getattr(node, "end_col_offset", None) or column) + 1,
        }  # fmt: skip
    return error
