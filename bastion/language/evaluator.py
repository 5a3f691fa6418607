"""The evaluator: walks the syntax tree of a checked cell over the language's own objects. There is no eval, no exec.

INVARIANT: what a cell can reach are names of the environment, members in `members.MEMBERS`, and results of those. Every
callable is a `SafeFunction`, a `Member` or a data type; every attribute is read through a table.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
from typing import Any

import polars as pl
from bastion_plan.errors import BastionError, BindError, LanguageError
from bastion_plan.typing import expr_dtype

from bastion.client.base import NOTES
from bastion.client.denied import Denied
from bastion.client.frames import FetchableLazyFrame, RemoteLazyFrame
from bastion.client.grouping import GroupsBase
from bastion.expr.core import Expr
from bastion.language import operations as op
from bastion.language.builtins import iterate
from bastion.language.callables import Member, Module, SafeFunction, not_callable
from bastion.language.check import IMPORT_FROM, at, check, parse
from bastion.language.commands import Command, run_command, without_commands
from bastion.language.environment import (
    Environment,
    bastion_module,
    datetime_module,
    layers_module,
    optimizers_module,
    polars_module,
    selectors_module,
    torch_module,
)
from bastion.language.limits import Meter
from bastion.language.outputs import OutputMeter
from bastion.language.places import count_characters, mark
from bastion.language.reading import read_member
from bastion.language.results import CellResult
from bastion.language.texts import formatted

_log = logging.getLogger(__name__)
_YIELD_EVERY = 200
MAX_CELLS = 1000  #: that a session remembers


class _Break(Exception):
    """A break on its way to the loop."""


class _Continue(Exception):
    """A continue on its way to the loop."""


async def evaluate(cell: str, env: Environment) -> CellResult:
    """Run a cell.

    Args:
        cell: its text. env: the session, whose names it reads and assigns.

    Raises:
        LanguageError: outside the language; nothing of the cell has run then (codes `language.*`, with a position), or
            an operation that does not go with its values.
        BastionError: what the SDK raises (`Denied`, `BindError` …), with the position of the statement in `details`. A
            denial is also bound to the name `denied`, so that the next cell can say `denied.request("why")`.
    """
    tree, commands = prepare(cell, env)
    env.printed, env.displayed, env.output = [], [], OutputMeter(env.limits)
    env.history.append(cell)
    del env.history[:-MAX_CELLS]
    notes: list[str] = []
    token = NOTES.set(notes)
    try:
        value = await _Run(env, commands, cell).module(tree)
    except Denied as denied:
        env.names["denied"] = denied
        raise
    finally:
        NOTES.reset(token)
    if cut := env.output.take():
        notes.append(cut)
    return _result(value, env, tuple(dict.fromkeys(notes)))


def prepare(cell: str, env: Environment) -> tuple[ast.Module, dict[int, Command]]:
    """Return the checked syntax tree of a cell and its command lines by line number; nothing runs.

    Raises:
        LanguageError: outside the language.
    """
    commands: dict[int, Command] = {}
    try:
        tree = parse(cell, env.limits)
    except LanguageError as error:
        if error.code != "language.syntax":
            raise
        plain, commands = without_commands(cell)
        if not commands:
            raise
        tree = parse(plain, env.limits)
        placed = {s.lineno for s in tree.body if isinstance(s, ast.Pass)}
        if not commands.keys() <= placed:
            raise
    count_characters(tree, cell)
    check(tree, env.known(), env.fixed, env.limits, env.around())
    return tree, commands


def _result(value: Any, env: Environment, notes: tuple[str, ...]) -> CellResult:
    kind = "value"
    if value is None:
        kind = "nothing"
    elif isinstance(value, _Text):
        kind, value = "text", value.text
    elif isinstance(value, FetchableLazyFrame) and value.dataset is not None:
        kind, value = "card", value.dataset
    elif isinstance(value, RemoteLazyFrame):
        kind = "frame"
    return CellResult(kind, value, "".join(env.printed), tuple(env.displayed), notes)


class _Text:
    """Text of a command, as the value of a cell."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Run:
    """One run of one cell."""

    def __init__(self, env: Environment, commands: dict[int, Command], source: str) -> None:
        self.env, self.commands, self.source = env, commands, source
        self.meter = Meter(env.limits)
        self.scopes: list[dict[str, Any]] = []
        self.last: Any = None
        self.ticks = 0
        self.made_of: dict[ast.expr, Expr] = {}  # the expressions that parts of the statement came to

    # ---- statements --------------------------------------------------------------------------------------------------

    async def module(self, tree: ast.Module) -> Any:
        await self.body(tree.body)
        return self.last

    async def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.last = None
            self.made_of.clear()
            try:
                await self.statement(statement)
            except (_Break, _Continue):
                raise
            except BastionError as error:
                at(error, statement)  # type: ignore[arg-type]
                raise
            except RecursionError:
                msg = "The cell is nested too deeply."
                raise at(LanguageError(msg, code="language.limit"), statement) from None
            except MemoryError:
                msg = "The cell needs too much memory."
                raise at(LanguageError(msg, code="language.limit"), statement) from None

    async def statement(self, node: ast.stmt) -> None:
        await self.breathe()
        match node:
            case ast.Expr(value=value):
                self.last = await self.value(value)
            case ast.Assign(targets=targets, value=value):
                result = await self.value(value)
                for target in targets:
                    self.assign(target, result)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=operator, value=value):
                self.assign(target, op.binary(operator, self.read(name), await self.value(value), self.meter))
            case ast.If(test=test, body=body, orelse=orelse):
                await self.body(body if op.truth(await self.value(test)) else orelse)
                self.last = None
            case ast.For():
                await self.loop(node)
                self.last = None
            case ast.Pass():
                command = self.commands.get(node.lineno)
                if command is not None:
                    self.last = _Text(await run_command(self.env, command))
            case ast.Break():
                raise _Break
            case ast.Continue():
                raise _Continue
            case ast.Delete(targets=targets):
                for target in targets:
                    self.forget(target.id)  # type: ignore[attr-defined]
            case ast.Import() | ast.ImportFrom():
                self.importing(node)

    async def loop(self, node: ast.For) -> None:
        for item in self.items(await self.value(node.iter), node.iter):
            self.meter.step()
            await self.breathe()
            self.assign(node.target, item)
            try:
                await self.body(node.body)
            except _Break:
                break
            except _Continue:
                continue

    def items(self, value: Any, node: ast.expr) -> Any:
        """Return what a loop goes over."""
        try:
            return iterate(value, self.meter)
        except BastionError as error:
            mark(error, node, self.source)
            raise

    def assign(self, target: ast.AST, value: Any) -> None:
        if isinstance(target, ast.Name):
            if self.scopes:
                self.scopes[-1][target.id] = value
                return
            self.env.kept.hold(target.id, value, self.meter)
            self.env.names[target.id] = value
            return
        elements = target.elts  # type: ignore[attr-defined]
        values = iterate(value, self.meter)
        if len(values) != len(elements):
            msg = f"There are {len(elements)} names and {len(values)} values."
            raise LanguageError(msg, code="language.value", next_step="Give as many names as values.")
        for element, item in zip(elements, values, strict=True):
            self.assign(element, item)

    def forget(self, name: str) -> None:
        if name not in self.env.names:
            msg = f"{name!r} is not a name of yours."
            raise LanguageError(msg, code="language.del")
        del self.env.names[name]
        self.env.kept.drop(name)

    def importing(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                self.bind_import(name, _module(whole))
            return
        module = _module(node.module or "")
        for alias in node.names:
            if IMPORT_FROM.get(node.module or "", ()) is not None or alias.name in module.entries:
                self.bind_import(alias.asname or alias.name, module.entries.get(alias.name) or module.read(alias.name))
            else:
                module.read(alias.name)

    def bind_import(self, name: str, value: Any) -> None:
        self.env.names[name] = value

    # ---- expressions -------------------------------------------------------------------------------------------------

    async def breathe(self) -> None:
        """Let the event loop run now and then, so that an interrupt is heard."""
        self.meter.spend(1)
        self.ticks += 1
        if self.ticks % _YIELD_EVERY == 0:
            await asyncio.sleep(0)

    def read(self, name: str) -> Any:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return self.env.lookup(name)

    async def value(self, node: ast.expr) -> Any:
        """Return the value of an expression; an error of it is marked with the innermost place it comes from."""
        await self.breathe()
        try:
            result = await self.valued(node)
        except BastionError as error:
            mark(error, node, self.source)
            raise
        if isinstance(result, Expr):
            self.made_of[node] = result
        return result

    async def valued(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                return self.meter.value(value)
            case ast.Name(id=name):
                return self.read(name)
            case ast.Attribute():
                return self.attribute(await self.value(node.value), node.attr)
            case ast.Call():
                return await self.call(node)
            case ast.BinOp():
                return op.binary(node.op, await self.value(node.left), await self.value(node.right), self.meter)
            case ast.UnaryOp():
                return op.unary(node.op, await self.value(node.operand), self.meter)
            case ast.Compare():
                return await self.compare(node)
            case ast.BoolOp():
                return await self.boolean(node)
            case ast.IfExp():
                return await self.value(node.body if op.truth(await self.value(node.test)) else node.orelse)
            case ast.Subscript():
                return op.subscript(await self.value(node.value), await self.value(node.slice), self.meter)
            case ast.Slice():
                return slice(*[None if p is None else await self.value(p) for p in (node.lower, node.upper, node.step)])
            case ast.List():
                return self.meter.value(await self.elements(node.elts))
            case ast.Tuple():
                return self.meter.value(tuple(await self.elements(node.elts)))
            case ast.Set():
                return self.made(set, await self.elements(node.elts))
            case ast.Dict():
                return await self.dictionary(node)
            case ast.JoinedStr():
                return await self.joined(node)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp() | ast.DictComp():
                return await self.comprehension(node)
            case _:
                msg = f"{type(node).__name__} is not used like this."
                raise at(LanguageError(msg, code="language.syntax"), node)

    def made(self, make: Any, items: list[Any]) -> Any:
        try:
            return self.meter.value(make(items))
        except TypeError:
            msg = "Sets and keys of dicts hold plain values only."
            raise LanguageError(msg, code="language.value") from None

    async def elements(self, nodes: list[ast.expr]) -> list[Any]:
        out: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                out.extend(iterate(await self.value(node.value), self.meter))
            else:
                out.append(await self.value(node))
            self.meter.length(len(out))
        return out

    async def dictionary(self, node: ast.Dict) -> Any:
        out: dict[Any, Any] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            value = await self.value(item)
            if key is None:
                if not isinstance(value, dict):
                    msg = "Only a dict can be unpacked into a dict."
                    raise LanguageError(msg, code="language.value")
                out.update(value)
                continue
            try:
                out[await self.value(key)] = value
            except TypeError:
                msg = "Keys of dicts are plain values."
                raise LanguageError(msg, code="language.value") from None
        return self.meter.value(out)

    async def compare(self, node: ast.Compare) -> Any:
        left = await self.value(node.left)
        result: Any = True
        for index, (operator, right_node) in enumerate(zip(node.ops, node.comparators, strict=True)):
            right = await self.value(right_node)
            result = op.compare(operator, left, right, self.meter)
            if index < len(node.ops) - 1 and not op.truth(result):
                return result
            left = right
        return result

    async def boolean(self, node: ast.BoolOp) -> Any:
        result: Any = None
        for operand in node.values:
            result = await self.value(operand)
            if operand is not node.values[-1] and op.truth(result) is isinstance(node.op, ast.Or):
                return result
        return result

    async def joined(self, node: ast.JoinedStr) -> str:
        parts = []
        length = 0
        for piece in node.values:
            if isinstance(piece, ast.FormattedValue):
                spec = "" if piece.format_spec is None else await self.joined(piece.format_spec)  # type: ignore[arg-type]
                text = formatted(await self.value(piece.value), spec, piece.conversion, self.meter)
            else:
                text = piece.value  # type: ignore[attr-defined]
            length += len(text)
            self.meter.characters(length)
            parts.append(text)
        return "".join(parts)

    async def comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp) -> Any:
        """Return a list, set or dict; a generator expression is a list."""
        out: list[Any] = []
        depth = len(self.scopes)
        try:
            await self.rounds(node.generators, node, out)
        finally:
            del self.scopes[depth:]
        if isinstance(node, ast.SetComp):
            return self.made(set, out)
        return self.made(dict, out) if isinstance(node, ast.DictComp) else self.meter.value(out)

    async def rounds(self, generators: list[ast.comprehension], node: Any, out: list[Any]) -> None:
        """Go through the rounds of a comprehension, whose names live in a scope of their own."""
        first, rest = generators[0], generators[1:]
        items = self.items(await self.value(first.iter), first.iter)
        self.scopes.append({})
        for item in items:
            self.meter.step()
            self.assign(first.target, item)
            if not await self.passes(first.ifs):
                continue
            if rest:
                await self.rounds(rest, node, out)
            elif isinstance(node, ast.DictComp):
                out.append((await self.value(node.key), await self.value(node.value)))
            else:
                out.append(await self.value(node.elt))
        self.scopes.pop()

    async def passes(self, tests: list[ast.expr]) -> bool:
        """Return whether all conditions of a comprehension hold."""
        for test in tests:
            if not op.truth(await self.value(test)):
                return False
        return True

    # ---- members and calls -------------------------------------------------------------------------------------------

    def attribute(self, owner: Any, name: str) -> Any:
        return read_member(owner, name, self.meter)

    async def call(self, node: ast.Call) -> Any:
        callee = await self.value(node.func)
        args = await self.elements(node.args)
        kwargs: dict[str, Any] = {}
        for keyword in node.keywords:
            value = await self.value(keyword.value)
            given = {keyword.arg: value} if keyword.arg is not None else value
            if not isinstance(given, dict) or not all(isinstance(k, str) for k in given):
                msg = "** takes a dict whose keys are texts."
                raise LanguageError(msg, code="language.call")
            if given.keys() & kwargs.keys():
                msg = "A parameter is given twice."
                raise LanguageError(msg, code="language.call")
            kwargs.update(given)
        self.meter.length(len(args) + len(kwargs))
        self.meter.spend(10)
        try:
            return await self.invoke(callee, args, kwargs)
        except BindError as error:
            if error.code == "plan.bind.types" and (culprit := self.untyped(error, callee, node)) is not None:
                mark(error, culprit, self.source)
            raise

    def untyped(self, error: BindError, callee: Any, call: ast.Call) -> ast.expr | None:
        """Return the innermost operator among a call's arguments whose types do not go together, as the error says."""
        owner = getattr(callee.call, "__self__", None) if isinstance(callee, Member) else None
        owner = owner._frame if isinstance(owner, GroupsBase) else owner
        if not isinstance(owner, RemoteLazyFrame):
            return None
        culprit = None
        for given in [*call.args, *(keyword.value for keyword in call.keywords)]:
            for part in ast.walk(given):  # the outer before the inner
                if isinstance(part, ast.Compare | ast.BinOp | ast.UnaryOp) and part in self.made_of:
                    try:
                        expr_dtype(self.made_of[part].plan, owner.plan_schema)
                    except BastionError as found:
                        culprit = part if found.message == error.message else culprit
            if culprit is not None:
                break
        return culprit

    async def invoke(self, callee: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if isinstance(callee, SafeFunction):
            call = callee.call
            args = [self.meter, *args] if callee.metered else args
        elif isinstance(callee, Member):
            call = callee.call
        elif isinstance(callee, type) and issubclass(callee, pl.DataType | pl.Field):
            call = callee
            if kwargs.keys() & {"self"}:
                raise not_callable(callee)
        else:
            raise not_callable(callee)
        try:
            inspect.signature(call).bind(*args, **kwargs)
        except TypeError as error:
            shown = repr(callee) if isinstance(callee, SafeFunction | Member) else callee.__name__
            msg = f"The call does not fit: {error}."
            raise LanguageError(msg, code="language.call", next_step=f"Write {shown}.") from None
        except ValueError:
            pass
        try:
            result = call(*args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
        except (BastionError, _Break, _Continue, RecursionError, MemoryError, asyncio.CancelledError):
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            _log.debug("%s failed", _named(callee), exc_info=True)
            msg = f"{_named(callee)} does not go with these values."
            raise LanguageError(msg, code="language.call", next_step=f"See {_named(callee)}?.") from None
        if isinstance(result, str | bytes | int | list | tuple | dict | set) and not isinstance(result, bool):
            self.meter.value(result)
        return result


def _named(callee: Any) -> str:
    if isinstance(callee, Member):
        return f"{callee.owner}.{callee.name}"
    return callee.name if isinstance(callee, SafeFunction) else callee.__name__


def _module(name: str) -> Module:
    return {
        "polars": polars_module,
        "polars.selectors": selectors_module,
        "bastion.expressions": polars_module,
        "datetime": datetime_module,
        "bastion": bastion_module,
        "torch": torch_module,
        "torch.nn": layers_module,
        "torch.optim": optimizers_module,
    }[name]()
