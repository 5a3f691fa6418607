"""Completion of `%bastion` lines and of `%%bastion` cells, through IPython's matchers. Nothing runs, nothing is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from bastion.language import Environment
from bastion.language.completion import complete

if TYPE_CHECKING:
    from bastion_magics.magics import BastionMagics

STATES = ("pending", "approved", "denied", "expired", "withdrawn")


def matcher(magics: BastionMagics) -> Any:
    """Return a matcher for IPython's `custom_matchers`, over the session of the magics."""

    @context_matcher(identifier="bastion")
    def bastion(context: CompletionContext) -> SimpleMatcherResult:
        return matches(magics.session.environment, context.full_text, context.cursor_line, context.cursor_position)

    return bastion


def matches(env: Environment, text: str, line: int, column: int) -> SimpleMatcherResult:
    """Return what may stand at the cursor of a notebook's cell; of cells that are not ours nothing, and others go on.

    Args:
        text: the whole cell. line, column: of the cursor, from 0.
    """
    lines = text.split("\n")
    typed = lines[line][:column]
    first = lines[0].split()
    if first and first[0] == "%%bastion":
        if line == 0:
            return _words(typed, "%%bastion", _options(typed))
        code = "\n".join(lines[1:])
        cursor = sum(len(above) + 1 for above in lines[1:line]) + column
        if "--sql" in first:
            quote = '"""' if '"""' not in code else "'''"
            opening = f"sql({quote}"
            code, cursor = f"{opening}{code}{quote})", cursor + len(opening)
        found = complete(env, code, cursor)
        offered = [SimpleCompletion(m, type=k) for m, k in zip(found.matches, found.kinds, strict=True)]
        return _ours(offered, code[found.start : found.end])
    if typed.lstrip().startswith("%bastion "):
        return _words(typed, "%bastion", _arguments(env, typed))
    return SimpleMatcherResult(completions=[])


def _options(typed: str) -> dict[int, list[tuple[str, str]]]:
    """Return what may stand at each place of a cell's first line."""
    from bastion_magics.magics import CELLS

    words = typed.split()
    complete = words if typed[-1:].isspace() else words[:-1]
    if complete[-1:] == ["--as"]:  # a name of one's own comes
        return {}
    options = [(word, "param") for word in CELLS if word not in complete]
    return {1: options, 2: options, 3: options}


def _arguments(env: Environment, typed: str) -> dict[int, list[tuple[str, str]]]:
    """Return what may stand at each place of a command line."""
    from bastion_magics.magics import COMMANDS

    connection = env.connection
    cards = connection._datasets.values() if connection is not None else ()
    datasets = [(name, "dataset") for name in sorted(card.facts.name for card in cards) if name.isidentifier()]
    words = typed.split()
    command = words[1] if len(words) > 1 else ""
    after = {
        "policy": datasets, "preview": datasets, "exposure": datasets, "audit": datasets, "requests": [(s, "keyword") for s in STATES]
    }  # fmt: skip
    return {1: [(name, "magic") for name in sorted(COMMANDS)], 2: after.get(command, [])}


def _words(typed: str, magic: str, places: dict[int, list[tuple[str, str]]]) -> SimpleMatcherResult:
    """Return the words that may end a line of a magic."""
    words = typed.split()
    fragment = "" if typed[-1:].isspace() else words[-1]
    place = len(words) if not fragment else len(words) - 1
    offered = places.get(place, []) if fragment != magic else []
    return _ours([SimpleCompletion(w, type=kind) for w, kind in offered if w.startswith(fragment)], fragment)


def _ours(offered: list[SimpleCompletion], fragment: str) -> SimpleMatcherResult:
    """Return a result that keeps Python's own names out: they mean nothing there.

    IPython lets a matcher keep others out only while it offers something: where there is nothing, what was typed stays.
    """
    if not offered and fragment:
        offered = [SimpleCompletion(fragment, type="")]
    return SimpleMatcherResult(completions=offered, matched_fragment=fragment, suppress=True, ordered=True)
