"""Lines that are not Python: `%connect`, `%whoami`, `%requests`, `%history`, and `?x`, `x?`, `x??`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bastion_plan.errors import LanguageError, did_you_mean

from bastion.render.safe_text import safe_text

if TYPE_CHECKING:
    from bastion.language.environment import Environment

SHOWN_CELLS = 20
_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_ASK_BEFORE = re.compile(rf"\s*(\?{{1,2}})\s*({_DOTTED})\s*\Z")
_ASK_AFTER = re.compile(rf"\s*({_DOTTED})\s*(\?{{1,2}})\s*\Z")
_MAGIC = re.compile(r"\s*%(?!%)\s*([A-Za-z]\w*)\s*(.*)\Z")


@dataclass(frozen=True, slots=True)
class Command:
    """A command line. name: of the `%` command, or "?" with the asked name as argument ("??" for more)."""

    name: str
    argument: str
    line: int


def command_of(text: str, line: int) -> Command | None:
    """Return the command of a line; None where it is ordinary code.

    Raises:
        LanguageError: `!shell`, `%%cell magics`, an unknown `%` command.
    """
    details = {"line": line, "column": 1, "end_line": line, "end_column": len(text) + 1}
    stripped = text.strip()
    if stripped.startswith("!"):
        msg = "A shell command (!) is not part of the language."
        raise LanguageError(msg, code="language.shell", next_step="Use a terminal.", details=details)
    if stripped.startswith("%%"):
        msg = "A cell magic (%%) is not part of the language."
        raise LanguageError(
            msg,
            code="language.magic",
            next_step="Leave the line out: cells of this kernel are in the language already.",
            details=details,
        )
    for pattern, name, mark in ((_ASK_BEFORE, 2, 1), (_ASK_AFTER, 1, 2)):
        found = pattern.match(text)
        if found:
            return Command(found[mark], found[name], line)
    found = _MAGIC.match(text)
    if found and not text[:1].isspace():
        if found[1] not in COMMANDS:
            hint = did_you_mean(found[1], COMMANDS) or f"There are: {', '.join('%' + c for c in sorted(COMMANDS))}."
            msg = f"There is no command %{found[1]}."
            raise LanguageError(msg, code="language.magic", next_step=hint, details=details)
        return Command(found[1], found[2].strip(), line)
    return None


def without_commands(cell: str) -> tuple[str, dict[int, Command]]:
    """Return a cell with `pass` in place of its command lines, and those by line number.

    Raises:
        LanguageError: as `command_of`.
    """
    lines, commands = cell.split("\n"), {}
    for number, text in enumerate(lines, 1):
        if text.lstrip()[:1] in {"%", "!", "?"} or text.rstrip().endswith("?"):
            found = command_of(text, number)
            if found is not None:
                commands[number] = found
                lines[number - 1] = "pass"
    return "\n".join(lines), commands


async def _connect(env: Environment, argument: str) -> str:
    await env.connect(*argument.split())
    return env.whoami()


async def _whoami(env: Environment, argument: str) -> str:
    del argument
    return env.whoami()


async def _requests(env: Environment, argument: str) -> str:
    found = await env.require_connection().requests(*argument.split())
    lines = [safe_text(f"{r.id}  {r.state:<9}  {r.requester}: {r.reason}") for r in found]
    return "\n".join(lines) or "There are no requests."


async def _runs(env: Environment, argument: str) -> str:
    del argument
    return repr(await env.runs())


async def _history(env: Environment, argument: str) -> str:
    if argument and not argument.isdecimal():
        words = argument.lower()
        own = [text for text in env.history[:-1] if words in text.lower()]
        found = env.recall(words, SHOWN_CELLS) if env.recall is not None else list(dict.fromkeys(own))[-SHOWN_CELLS:]
        return safe_text("\n\n".join(found), lines=True) or "No cell with these words is remembered."
    count = int(argument[:6] or SHOWN_CELLS)
    cells = list(enumerate(env.history, 1))[-count:]
    lines = [safe_text(f"[{number}] {text}", lines=True) for number, text in cells]
    return "\n".join(lines) or "Nothing has been run yet."


#: command -> (how to run it, what it does)
COMMANDS: dict[str, tuple[Callable[[Environment, str], Awaitable[str]], str]] = {
    "connect": (_connect, "%connect TOKEN, or %connect ENDPOINT: connect to a server"),
    "whoami": (_whoami, "%whoami: as whom one is connected, and where"),
    "requests": (_requests, "%requests [STATE]: access requests and their states"),
    "runs": (_runs, "%runs: what was trained, with its settings and its cost"),
    "history": (_history, "%history [N | WORDS]: the last cells, or earlier ones with these words in them"),
}


async def run_command(env: Environment, command: Command) -> Any:
    """Run a command; return the text to show."""
    if command.name.startswith("?"):
        from bastion.language.inspection import describe_name

        return describe_name(env, command.argument, detailed=command.name == "??")
    handler, _doc = COMMANDS[command.name]
    return await handler(env, command.argument)
