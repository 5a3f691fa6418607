"""Where in a cell an error is: the wrong name, call or constant itself, and not all of the statement around it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bastion_plan.errors import BastionError

from bastion.language.check import at

_LINES = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class _Span:
    """A part of the source that is no node of its own."""

    lineno: int
    col_offset: int
    end_lineno: int
    end_col_offset: int


def mark(error: BastionError, node: ast.expr, source: str = "") -> None:
    """Put the place of an error into its details, unless they hold one; a place within `node`, as narrow as can be.

    Args:
        source: the cell, to find words within its texts (SQL).
    """
    if "line" in error.details:
        return
    column = error.details.get("column")
    if isinstance(column, str):
        error.details["name"] = column  # `column` is a place from here on
    at(error, _culprit(error, node, source))  # type: ignore[arg-type]


def _culprit(error: BastionError, node: ast.expr, source: str) -> ast.AST | _Span:
    if isinstance(node, ast.Attribute):
        return _attribute(node)
    if not isinstance(node, ast.Call):
        return node
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    for keyword in node.keywords:
        named = error.code in ("language.call", "model.layer") and repr(keyword.arg) in error.message
        if keyword.arg is not None and named:
            end = keyword.col_offset + len(keyword.arg)
            return _Span(keyword.lineno, keyword.col_offset, keyword.lineno, end)
    if error.code == "plan.bind.duplicate" and (second := _second(error, node)) is not None:
        return second
    inside = [found for argument in given for found in _ordered(argument)]
    for found in inside:
        if isinstance(found, ast.Constant) and isinstance(found.value, str) and _speaks(error, found.value):
            return found
    for found in inside:
        if isinstance(found, ast.Attribute) and _speaks(error, found.attr):
            return _attribute(found)
    for found in inside:
        if isinstance(found, ast.Constant) and isinstance(found.value, str):
            word = _word(error, found, source)
            if word is not None:
                return word
    if isinstance(node.func, ast.Attribute):
        name = _attribute(node.func)
        return _Span(
            name.lineno, name.col_offset, node.end_lineno or name.lineno, node.end_col_offset or name.end_col_offset
        )
    return node


def _second(error: BastionError, call: ast.Call) -> ast.AST | _Span | None:
    """Return the place of the second column of one name: there the name comes up again."""
    given: list[ast.expr] = []
    for argument in call.args:
        given += argument.elts if isinstance(argument, ast.List | ast.Tuple) else [argument]
    spoken = [[found for found in _ordered(a) if _names(error, found)] for a in given]
    for keyword in call.keywords:
        if keyword.arg is not None and _speaks(error, keyword.arg):
            end = keyword.col_offset + len(keyword.arg)
            spoken.append([_Span(keyword.lineno, keyword.col_offset, keyword.lineno, end)])
    spoken = [found for found in spoken if found]
    found = spoken[1][-1] if len(spoken) > 1 else spoken[0][-1] if spoken else None
    return _attribute(found) if isinstance(found, ast.Attribute) else found


def _names(error: BastionError, node: ast.AST) -> bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _speaks(error, node.value)
    return isinstance(node, ast.Attribute) and _speaks(error, node.attr)


def _ordered(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree in the order of the source."""
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _ordered(child)


def _attribute(node: ast.Attribute) -> _Span:
    """Return the place of the name after the dot."""
    line, end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return _Span(line, max(0, end - len(node.attr)), line, end)


def _speaks(error: BastionError, word: str) -> bool:
    """Return whether an error is about a word: it quotes it, or begins with it, as in "str.len_chars takes …"."""
    if not word:
        return False
    if word == error.details.get("name") or repr(word) in error.message:
        return True
    first = error.message.partition(" ")[0]
    return error.code == "plan.bind.types" and first.rpartition(".")[2] == word


def _word(error: BastionError, node: ast.Constant, source: str) -> _Span | None:
    """Return the place of the name that an error is about within a text on one line, as in SQL."""
    name = error.details.get("name")
    lines = _LINES.split(source)
    if not isinstance(name, str) or not name or node.lineno != node.end_lineno or node.lineno > len(lines):
        return None
    text = lines[node.lineno - 1][node.col_offset : node.end_col_offset]
    found = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
    if found is None:
        return None
    return _Span(node.lineno, node.col_offset + found.start(), node.lineno, node.col_offset + found.end())


def count_characters(tree: ast.AST, source: str) -> None:
    """Turn the columns of a tree, which Python counts in bytes of UTF-8, into characters."""
    if source.isascii():
        return
    lines = [line.encode("utf-8", "surrogatepass") for line in _LINES.split(source)]
    for node in ast.walk(tree):
        for row, column in (("lineno", "col_offset"), ("end_lineno", "end_col_offset")):
            line, offset = getattr(node, row, None), getattr(node, column, None)
            if line is not None and offset is not None and 1 <= line <= len(lines):
                setattr(node, column, len(lines[line - 1][:offset].decode("utf-8", "ignore")))
