"""What the command line prints: tables for people, JSON for scripts, errors in three lines and an exit code."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import click
from bastion_plan.errors import BastionError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

P = ParamSpec("P")
T = TypeVar("T")

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def fail(error: BastionError) -> None:
    """Print an error on standard error."""
    errors.print(f"[red]{escape(error.message)}[/]")
    for line in (error.reason, error.next_step):
        if line:
            errors.print(f"  {escape(line)}")
    errors.print(f"  [dim]{escape(f'[{error.code}]')}[/]")


def reporting(command: Callable[P, T]) -> Callable[P, T]:
    """Turn our errors into a message and exit code 1, an interrupt into exit code 130."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except BastionError as error:
            fail(error)
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
            errors.print(f"[red]This command needs the extra {extra!r}.[/]\n  pip install 'bastionlab\\[{extra}]'")
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
        table.add_row(*(escape(_text(row.get(key))) for key in columns))
    console.print(table)


def say(fields: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print one fact as a sentence or as JSON."""
    click.echo(json.dumps(fields, indent=2, default=_plain) if as_json else text)


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
