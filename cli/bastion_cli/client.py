"""What owners and scientists do from a terminal."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from bastion_plan.errors import BastionError, InputError, NotFound
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from bastion import Connection
from bastion.client.sealed import sealed_directory
from bastion.client.text_tables import doubts
from bastion.render.safe_text import safe_text
from bastion_cli.context import client_options, default_directory, directory_option, open_connection
from bastion_cli.output import console, foreign, json_option, naming, reporting, say, show, when
from bastion_cli.tables import read_table

#: from how many columns on a terminal shows all of a table of exposure
WIDE = 120


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Name of the dataset (default: the file's).")
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Policy in TOML (default: the default profile).",
)
@click.option("--hide", multiple=True, metavar="COLUMN", help="Column that nobody may use at all; repeatable.")
@click.option("--unit", help='Column that says whom a row is about; "row" for one person per row.')
@click.option("--replace", is_flag=True, help="New version of a dataset of yours.")
@click.option("--sealed", is_flag=True, help="Keep its key on this machine: only an attested server has it, until it stops.")
@client_options
@json_option
@reporting
def upload(
    file: Path, name: str | None, policy_file: Path | None, hide: tuple[str, ...], unit: str | None, replace: bool, sealed: bool,
    endpoint: str | None, who: str | None, server_key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Put a CSV, Parquet or Arrow file behind the server.

    \b
    Example:  bastion upload titanic.csv --hide Name --unit row --as olga
    """
    frame = read_table(file)
    text = policy_file.read_text(encoding="utf-8-sig") if policy_file else None
    with naming(policy_file), open_connection(endpoint, who, server_key) as connection:
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
            console=console, disable=as_json, transient=True,
        )  # fmt: skip
        with bar:
            task = bar.add_task(file.name, total=None)
            sent = connection.client.polars.send_df(
                frame, policy=text, sanitized_columns=hide, name=name or file.name.split(".")[0], unit=unit, replace=replace,
                sealed=sealed, on_progress=lambda p: bar.update(task, completed=p.done, total=p.total or None),
            )  # fmt: skip
        card = sent.dataset
    if as_json:
        row = card_row(card)
        click.echo(json.dumps(row | {"warnings": [*doubts(frame), *row["warnings"]]}, indent=2))
        return
    console.print(f"[bold]{foreign(card.facts.name)}[/] is there, version {card.facts.version}. Its columns:")
    print_roles(card)
    if sealed:
        console.print(f"Its key is in {sealed_directory()}: without it nobody can open the table again. Keep a copy.", markup=False)
    for warning in (*doubts(frame), *card.warnings):
        console.print(f"[red]look at this:[/] {foreign(warning)}")


def card_row(card: Any) -> dict[str, Any]:
    """Return a dataset card as plain data."""
    f = card.facts
    return {
        "id": f.id, "name": f.name, "version": f.version, "kind": card.kind_of, "owner": f.owner, "unit": f.unit or "row",
        "columns": [{"name": c.name, "dtype": str(c.dtype), "role": str(c.role), "inferred": c.inferred} for c in f.columns],
        "warnings": list(card.warnings), "sealed": card.sealed,
    }  # fmt: skip


def print_roles(card: Any) -> None:
    """Print the roles of a dataset's columns."""
    rows = card_row(card)["columns"]
    for row in rows:
        row["note"] = "inferred" if row.pop("inferred") else ""
    show(rows, {"name": "column", "dtype": "type", "role": "role", "note": ""}, as_json=False, empty="")


@click.command()
@click.argument("name", required=False)
@click.option("--preview", is_flag=True, help="Of one dataset: made-up rows in its shape, to write code with.")
@click.option("--rows", type=int, default=5, show_default=True, help="How many rows of --preview.")
@client_options
@json_option
@reporting
def datasets(
    name: str | None, preview: bool, rows: int,
    endpoint: str | None, who: str | None, server_key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """List the datasets you may see, or show one of them. Of one: its columns and its policy.

    \b
    Example:  bastion datasets titanic
    How its rows look, made up from what is public:  bastion datasets titanic --preview
    """
    if preview and name is None:
        msg = "--preview is of one dataset."
        raise InputError(msg, code="input.arguments", next_step="Write bastion datasets NAME --preview.")
    with open_connection(endpoint, who, server_key) as connection:
        if name is None:
            cards = [card_row(card) for card in connection.cards()]
            for row in cards:
                row["width"] = len(row["columns"])
            show(
                cards,
                {"name": "name", "owner": "owner", "kind": "kind", "width": "columns", "id": "id"},
                as_json=as_json,
                empty="There are no datasets that you may see.",
            )
            return
        frame = connection.dataset(name)
        card = frame.dataset
        fake = frame.preview(rows) if preview else None
    if fake is not None:
        show_preview(fake, as_json=as_json)
        return
    if as_json:
        click.echo(json.dumps(card_row(card), indent=2))
        return
    from bastion_policy.words import policy_words

    console.print(f"[bold]{foreign(card.facts.name)}[/] (of {foreign(card.facts.owner)}, version {card.facts.version})")
    print_roles(card)
    for line in policy_words(card.facts.policy):
        console.print(f"· {safe_text(line)}", markup=False)
    for warning in card.warnings:
        console.print(f"[red]look at this:[/] {foreign(warning)}")


def show_preview(fake: Any, *, as_json: bool) -> None:
    """Print made-up rows; as JSON every one of them says that it is."""
    if as_json:
        made = [{"FAKE": True, "row": {n: "*" if n in fake.hidden else v for n, v in row.items()}}
                for row in fake.to_polars().iter_rows(named=True)]  # fmt: skip
        click.echo(json.dumps({"fake": True, "name": fake.name, "rows": made}, indent=2, default=str))
        return
    console.print(repr(fake), markup=False, soft_wrap=True)


@click.group(invoke_without_command=True)
@click.option(
    "--state",
    type=click.Choice(["pending", "approved", "denied", "expired", "withdrawn"]),
    multiple=True,
    help="Only these; repeatable.",
)
@client_options
@json_option
@click.pass_context
@reporting
def requests(
    ctx: click.Context,
    state: tuple[str, ...],
    endpoint: str | None,
    who: str | None,
    server_key: str | None,
    as_json: bool,
) -> None:
    """List access requests: yours, and those for your data. `requests show` shows all there is to know of one.

    \b
    Example:  bastion requests --state pending
    """
    if ctx.invoked_subcommand is not None:
        return
    with open_connection(endpoint, who, server_key) as connection:
        found = [r.info for r in connection.requests(*state)]
    rows = [
        {"id": r.id, "state": r.state, "who": r.requester, "datasets": list(r.datasets), "reason": r.reason, "code": r.code,
         "words": r.words, "findings": [*r.findings, *r.findings_private], "when": when(r.created), "answer": r.answer}
        for r in found
    ]  # fmt: skip
    if as_json:
        show(rows, {}, as_json=True, empty="")
        return
    if not rows:
        console.print("There are no requests.")
    for row, info in zip(rows, found, strict=True):
        console.print(
            f"[bold]{row['id']}[/] {state_text(info)}  {foreign(row['who'])}, {row['when']}: “{foreign(row['reason'])}”"
        )
        for line in str(row["code"]).split("\n"):
            console.print(f"    {line}", markup=False)
        for line in row["findings"]:
            console.print(f"    · {safe_text(line)}", markup=False)
        if row["answer"]:
            console.print(f"    answer: {safe_text(row['answer'])}", markup=False)


def state_text(info: Any) -> str:
    """Return a request's state; of an approval, what it allows."""
    if info.state != "approved" or (info.may_read and not info.ended):
        return str(info.state)
    ended = {"used": "used", "expired": "over", "revoked": "ended by the owner"}.get(info.ended)
    if ended:
        return f"approved, {ended}"
    return "approved to run, has run, not to be read yet" if info.ran else "approved to run, not to be read yet"


@requests.command("show")
@click.argument("request")
@click.option(
    "--preview", is_flag=True, help="Also the rows: the first ones, or once approved the sealed result (owner only)."
)
@client_options
@json_option
@reporting
def requests_show(
    request: str, preview: bool, endpoint: str | None, who: str | None, server_key: str | None, as_json: bool
) -> None:
    """Show all there is to know of a request. The query, its columns, the rules it fails, what was asked before.

    \b
    Example:  bastion requests show r-1f2e3d4c5b6a7980 --as olga
    """
    with open_connection(endpoint, who, server_key) as connection:
        found = connection.request(request)
        rows = found.preview() if preview else None
    r = found.info
    if as_json:
        plain = {name: getattr(r, name) for name in r.__struct_fields__ if name not in ("plan", "past")}
        plain["past"] = [{name: getattr(e, name) for name in e.__struct_fields__} for e in r.past]
        plain["plan"] = r.plan.hex()
        if rows is not None:
            plain["preview"] = rows.rows(named=True)
        click.echo(json.dumps(plain, indent=2, default=str))
        return
    console.print(f"[bold]{r.id}[/] {state_text(r)}  {foreign(r.requester)}, {when(r.created)}: “{foreign(r.reason)}”")
    console.print(f"  {safe_text(r.words)}", markup=False)
    for line in r.code.split("\n"):
        console.print(f"    {line}", markup=False)
    sections = (
        ("expressions", r.expressions),
        ("columns", [f"{name}: {role} ({', '.join(r.uses.get(name, ()))})" for name, role in r.roles.items()]),
        ("rules it fails", r.findings),
        ("figures, for your eyes only", r.findings_private),
        ("before, newest first", [past_line(e) for e in r.past]),
    )
    for title, lines in sections:
        if lines:
            console.print(f"  {title}", style="bold", markup=False)
        for line in lines:
            console.print(f"    · {safe_text(line)}", markup=False)
    if r.decided_by:
        said = f": “{safe_text(r.answer)}”" if r.answer else ""
        console.print(f"  decided by {r.decided_by}, {when(r.decided_at)}{said}", markup=False)
    if r.until:
        console.print(f"  the approval holds until {when(r.until)}", markup=False)
    if rows is not None:
        console.print(str(rows), markup=False, soft_wrap=True)  # a box that is folded is none


def past_line(event: Any) -> str:
    """Return an event of the past in a line."""
    return f"{when(event.time)} {event.who} {event.what}{f': {event.text}' if event.text else ''}"


@click.command()
@click.argument("request")
@click.option("--reason", default="", help="A word to the requester.")
@click.option(
    "--days",
    type=click.FloatRange(min=0, min_open=True),
    help="Approve this query until then, any number of times (default: once).",
)
@click.option("--run-only", is_flag=True, help="It may run; its result is kept sealed until you approve the reading.")
@click.option("--reading", is_flag=True, help="Let the result be read of what you approved with --run-only.")
@client_options
@json_option
@reporting
def approve(
    request: str,
    reason: str,
    days: float | None,
    run_only: bool,
    reading: bool,
    endpoint: str | None,
    who: str | None,
    server_key: str | None,
    as_json: bool,
) -> None:
    """Approve an access request; signed with your key.

    \b
    Example:  bastion approve r-1f2e3d4c5b6a7980 --as olga
    To look at the result first:  bastion approve ID --run-only;  bastion requests show ID --preview;  bastion approve ID --reading
    """
    if reading and (run_only or days):
        msg = (
            "--reading goes with neither --run-only nor --days: the approval to run holds as long as it was given for."
        )
        raise InputError(msg, code="input.arguments")
    with open_connection(endpoint, who, server_key) as connection, deciding(connection, request):
        until = time.time() + days * 86400 if days else 0.0
        if reading:
            decided = connection.approve_reading(request, reason).info
        else:
            decided = connection.approve(request, reason, until=until, may_read=not run_only).info
    say(decision_fields(decided), f"{decided.id} is {state_text(decided)}.", as_json=as_json)


@contextlib.contextmanager
def deciding(connection: Connection, request: str) -> Iterator[None]:
    """Say whose decision it is, where somebody decides on a request of their own."""
    try:
        yield
    except NotFound as error:
        if error.code != "missing.request":
            raise
        with contextlib.suppress(BastionError):
            filed, me = connection.request(request).info, connection.identity
            owners = sorted({c.facts.owner for c in connection.cards() if c.facts.name in filed.datasets} - {me})
            if filed.requester == me and owners:
                msg = f"You ({me}) filed this request; {' and '.join(owners)} decide{'s' if len(owners) == 1 else ''}."
                error = NotFound(msg, code="missing.request.decide", next_step=f"As the owner: --as {owners[0]}")
        raise error from None


def decision_fields(info: Any) -> dict[str, Any]:
    """Return a decision as plain data."""
    return {"id": info.id, "state": info.state, "may_run": info.may_run, "may_read": info.may_read, "ended": info.ended}


@click.command()
@click.argument("request")
@click.option("--reason", required=True, help="Why; the requester reads it.")
@click.option(
    "--reading", is_flag=True, help="Of what you approved with --run-only: the result is thrown away, unread."
)
@client_options
@json_option
@reporting
def deny(
    request: str,
    reason: str,
    reading: bool,
    endpoint: str | None,
    who: str | None,
    server_key: str | None,
    as_json: bool,
) -> None:
    """Deny an access request, with a reason; signed with your key.

    \b
    Example:  bastion deny r-1f2e3d4c5b6a7980 --reason "Ask for the mean instead." --as olga
    """
    with open_connection(endpoint, who, server_key) as connection, deciding(connection, request):
        decided = (connection.deny_reading if reading else connection.deny)(request, reason).info
    say(decision_fields(decided), f"{decided.id} is {state_text(decided)}.", as_json=as_json)


@click.group()
def audit() -> None:
    """What was asked, decided and released."""


@audit.command("show")
@click.argument("dataset", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--who", "by", help="Only of this identity.")
@click.option(
    "--kind", "kinds", multiple=True, help="Only of this kind: outcome, request, decision, policy …; repeatable."
)
@click.option("--since", type=click.DateTime(), help="Only from this local time on.")
@click.option("--until", type=click.DateTime(), help="Only before this local time.")
@click.option("--red", is_flag=True, help="Only what is to be looked at.")
@click.option("--below", type=int, default=0, help="Only records before this number, to page back.")
@client_options
@json_option
@reporting
def audit_show(
    dataset: str | None, limit: int, by: str | None, kinds: tuple[str, ...], since: datetime | None, until: datetime | None,
    red: bool, below: int, endpoint: str | None, who: str | None, server_key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Show the last records of the audit log. Of your datasets or of one; those that match all options given.

    \b
    Example:  bastion audit show titanic --who alice --kind outcome --since 2026-11-01
    """
    with open_connection(endpoint, who, server_key) as connection:
        records = connection.audit(dataset, limit, who=by, kinds=kinds, since=since, until=until, red=red, below=below)
    rows = [
        {"index": r.index, "time": when(r.time), "kind": r.kind_of, "who": r.who, "summary": ("! " if r.red else "") + r.summary,
         "plan": r.plan_hash[:12], "details": r.details}
        for r in records
    ]  # fmt: skip
    show(
        rows,
        {"index": "#", "time": "time", "kind": "kind", "who": "who", "summary": "what", "plan": "plan"},
        as_json=as_json,
        empty="Nothing yet.",
    )


@audit.command("exposure")
@click.argument("dataset")
@client_options
@json_option
@reporting
def audit_exposure(dataset: str, endpoint: str | None, who: str | None, server_key: str | None, as_json: bool) -> None:
    """Show what has been released of a dataset. It is yours: per audience and column, how often, how small, how much.

    \b
    Example:  bastion audit exposure titanic --as olga
    """
    with open_connection(endpoint, who, server_key) as connection:
        found = connection.exposure(dataset)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
        return
    from bastion.client.exposure import failures_text, uses_text

    m = found.message
    console.print(f"[bold]{foreign(m.name)}[/], {m.people} people: what has been released so far")
    if m.epsilon is not None:
        console.print(f"budget: epsilon {m.spent or 0:.3g} of {m.epsilon:g} spent, delta {m.delta:g}", markup=False)
    if m.void:
        console.print(f"[red]the stated epsilon no longer holds:[/] {foreign(m.void)}")
    if not m.audiences:
        console.print("Nothing yet.")
        return
    show(
        [
            {"audience": a.audience, "members": [n for n in a.members if n != a.audience], "answers": a.answers, "denied": a.denied,
             "approved": a.approved, "unsafe": a.unsafe, "coverage": percent(a.coverage), "rank": rank(a.rank, a.rank_limit),
             "epsilon": "-" if a.epsilon is None else f"{a.epsilon:.3g}", "failed": failures_text(a), "last": when(a.last)}
            for a in m.audiences
        ],
        fitting({"audience": "audience", "members": "of", "answers": "answers", "denied": "denied", "approved": "approved",
         "unsafe": "unsafe", "coverage": "people covered", "rank": "rank", "epsilon": "epsilon", "failed": "failed", "last": "last"}),
        as_json=False, empty="",
    )  # fmt: skip
    console.print()
    show(
        [
            {"audience": c.audience, "column": c.column or "(people)", "role": c.role, "uses": uses_text(c.uses),
             "answers": c.answers, "cells": c.cells or "-", "smallest": c.smallest_cell or "-", "coverage": percent(c.coverage),
             "last": when(c.last)}
            for c in m.columns
        ],
        fitting({"audience": "audience", "column": "column", "role": "role", "uses": "released", "answers": "answers", "cells": "cells",
         "smallest": "smallest cell", "coverage": "people covered", "last": "last"}),
        as_json=False, empty="",
    )  # fmt: skip
    if console.width < WIDE:
        console.print(f"Terminals of {WIDE} columns show more, and --json shows all.", style="dim")
    if m.untouched:
        console.print(f"Nothing was released of {safe_text(', '.join(m.untouched))}.", markup=False)


def fitting(columns: dict[str, str]) -> dict[str, str]:
    """Return the columns of a table of exposure that can be read side by side in this terminal."""
    if console.width >= WIDE:
        return columns
    return {key: heading for key, heading in columns.items() if key not in ("members", "role", "epsilon", "last")}


def percent(share: float | None) -> str:
    """Return a share of people; a dash where it is not known."""
    return "-" if share is None else f"{100 * share:.3g} %"


def rank(number: int | None, limit: float | None) -> str:
    """Return how much of the rank budget is used up."""
    if number is None:
        return "-"
    return str(number) if limit is None else f"{number} of {limit:.0f}"


@audit.command("verify")
@click.option("--offline", is_flag=True, help="Read the log of --dir instead of asking its server.")
@directory_option
@client_options
@json_option
@reporting
def audit_verify(
    offline: bool, directory: Path | None, endpoint: str | None, who: str | None, server_key: str | None, as_json: bool
) -> None:
    """Check the whole audit log. Every record, the chain, the signed checkpoints.

    \b
    Example:  bastion audit verify
    """
    if offline:
        from bastion_server.store import verify
        from bastion_server.store.keys import load_or_create

        folder = directory or default_directory()
        problems = list(verify(folder / "audit.log", load_or_create(folder, may_create=False).verify_key))
        size, ok = None, not problems
    else:
        with open_connection(endpoint, who, server_key) as connection:
            answer = connection.verify_audit()
        ok, problems, size = answer.ok, [answer.problem] if answer.problem else [], answer.size
    records = "" if size is None else f" {size} records."
    text = f"The audit log is whole.{records}" if ok else "The audit log is NOT whole: " + " ".join(problems)
    say({"ok": ok, "records": size, "problems": problems}, text, as_json=as_json)
    if not ok:
        raise SystemExit(1)


COMMANDS = (upload, datasets, requests, approve, deny, audit)
