"""What the command line prints: tables for people, JSON for scripts, errors in three lines and an exit code."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
from bastion_plan.errors import BastionError, InputError, PolicyError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bastion.render.safe_text import safe_text

P = ParamSpec("P")
T = TypeVar("T")


class SafeConsole(Console):
    """Rich's console, which lets no string through that the terminal would obey, whoever wrote it."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does; strings are made safe, and their lines kept."""
        super().print(*(safe_text(o, lines=True) if isinstance(o, str) else o for o in objects), **options)


console = SafeConsole(highlight=False)
errors = SafeConsole(stderr=True, highlight=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def foreign(value: object) -> str:
    """Return a string of others for a line of Rich's markup: safe, on one line, with nothing in it taken for markup."""
    return escape(safe_text(value))


#: what to do next in a terminal, where the SDK's own advice is Python
NEXT_STEPS = {
    "input.endpoint": "Start one: bastion serve. Or name one: --connect tcp://HOST:PORT --server-key KEY, or --connect INVITATION.",
    "input.identity": "Say as whom: --as NAME, or BASTION_IDENTITY=NAME. New here: bastion keys create NAME.",
    "wire.server-unknown": "Its operator reads the key off `bastion serve`: --server-key KEY. Or connect with the token of "
    "`bastion invite`: --connect INVITATION.",
    "missing.request": "See which there are: bastion requests.",
    "input.request.decided": "See how: bastion requests show ID. An approval in force is taken back with bastion revoke ID.",
    "input.request.changed": "Read it as it stands: bastion requests show ID. Then deny it, or approve it once more.",
    "input.dataset.name-taken": "Choose another name (--name NAME); a new version of your own table is uploaded with --replace.",
}


def in_a_shell(error: BastionError) -> BastionError:
    """Return the error with what to do next in a terminal."""
    error.next_step = NEXT_STEPS.get(error.code, error.next_step)
    return error


@contextlib.contextmanager
def naming(file: Path | None) -> Iterator[None]:
    """Call a policy's file by its name in errors that say a line of it."""
    try:
        yield
    except PolicyError as error:
        if file is not None and "line" in error.details:
            error.message = error.message.replace(" of policy.toml", f" of {file.name}", 1)
        raise


def fail(error: BastionError, *, as_json: bool = False) -> None:
    """Print an error: on standard error for people; as the JSON document on standard output for scripts."""
    if as_json:
        fields = {"code": error.code, "message": error.message, "reason": error.reason, "next_step": error.next_step}
        click.echo(json.dumps({"error": fields}, indent=2, default=_plain))
        return
    errors.print(f"[red]{foreign(error.message)}[/]", soft_wrap=True)
    steps = safe_text(error.next_step, lines=True).splitlines()  # several: what is to be copied into a policy
    for line in (safe_text(error.reason), *steps):
        if line:
            errors.print(f"  {escape(line)}", soft_wrap=True)
    errors.print(f"  [dim]{escape(f'[{error.code}]')}[/]", soft_wrap=True)


def reporting(command: Callable[P, T]) -> Callable[P, T]:
    """Turn our errors, and files that cannot be used, into a message and exit code 1; an interrupt into exit code 130."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        as_json = bool(kwargs.get("as_json"))
        try:
            return command(*args, **kwargs)
        except BastionError as error:
            fail(in_a_shell(error), as_json=as_json)
            sys.exit(1)
        except BrokenPipeError:  # | head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except UnicodeDecodeError:
            msg = "The file is not text in UTF-8."
            fail(InputError(msg, code="input.file", next_step="Save it as UTF-8."), as_json=as_json)
            sys.exit(1)
        except OSError as error:
            place = f"{error.filename}" if error.filename else "A file or directory"
            msg = f"{place} cannot be used."
            fail(
                InputError(msg, code="input.file", reason=f"{error.strerror or type(error).__name__}."), as_json=as_json
            )
            sys.exit(1)
        except KeyboardInterrupt:
            errors.print("Stopped.")
            sys.exit(130)
        except ModuleNotFoundError as error:
            extra = {"cryptography": "server", "nbclient": "demo", "nbformat": "demo", "jupyterlab": "lab"}.get(
                error.name or ""
            )
            if extra is None:
                raise
            fail(
                InputError(
                    f"This command needs the extra {extra!r}.",
                    code="input.extra",
                    next_step=f"In a clone of BastionLab: pip install '.[{extra}]'",
                ),
                as_json=as_json,
            )
            sys.exit(1)

    return run


def show(rows: Sequence[dict[str, Any]], columns: dict[str, str], *, as_json: bool, empty: str) -> None:
    """Print rows as a table (columns: key -> heading) or as JSON."""
    if as_json:
        click.echo(json.dumps(list(rows), indent=2, default=_plain))
        return
    if not rows:
        console.print(empty)
        return
    table = Table(*columns.values(), box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(foreign(_text(row.get(key))) for key in columns))
    console.print(table)


def say(fields: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print one fact as a sentence or as JSON."""
    click.echo(json.dumps(fields, indent=2, default=_plain) if as_json else safe_text(text, lines=True))


def when(seconds: float) -> str:
    """Return a local time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else ""


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
