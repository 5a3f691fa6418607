"""What owners do from a terminal besides deciding: policies, roles, access, revoking, budgets, word of new requests."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import click
from bastion_plan.errors import InputError
from bastion_policy.roles import Role, measure
from msgspec.structs import replace

from bastion.client.exposure import MEANS, cleared_text, failures_of, failures_text
from bastion.client.policy_check import check_policy
from bastion.client.policy_lines import suggest
from bastion.client.trial import OUTCOMES, Trial
from bastion.render.safe_text import safe_text
from bastion_cli.client import card_row, decision_fields, print_roles, state_text
from bastion_cli.context import client_options, default_directory, directory_option, open_connection
from bastion_cli.operations import policy
from bastion_cli.output import console, errors, foreign, json_option, naming, reporting, say, show, when

_MEASURE = re.compile(r"measure\(\s*([^,()]+?)\s*,\s*([^,()]+?)\s*\)")
Text = click.Path(exists=True, dir_okay=False, path_type=Path)
limit_option = click.option(
    "--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="Past queries at most."
)


# ---- policies ----------------------------------------------------------------------------------------------------------


@policy.command("show")
@click.argument("dataset")
@click.option("--toml", "as_toml", is_flag=True, help="As a file to edit, with the roles that were guessed.")
@client_options
@json_option
@reporting
def policy_show(
    dataset: str, as_toml: bool, endpoint: str | None, who: str | None, server_key: str | None, as_json: bool
) -> None:
    """Show a dataset's policy in plain words, or as the file it is.

    \b
    Example:  bastion policy show titanic --toml > policy.toml
    """
    from bastion_policy.toml import to_toml
    from bastion_policy.words import policy_words

    with open_connection(endpoint, who, server_key) as connection:
        card = connection.dataset(dataset).dataset
    facts = card.facts
    text = to_toml(facts.policy, {c.name: c.role for c in facts.columns if c.inferred})
    words = list(policy_words(facts.policy))
    if as_json:
        click.echo(
            json.dumps({"name": facts.name, "toml": text, "words": words, "warnings": list(card.warnings)}, indent=2)
        )
    elif as_toml:
        click.echo(text, nl=False)
    else:
        for line in words:
            console.print(f"· {safe_text(line)}", markup=False)
        for line in card.warnings:
            console.print(f"[red]look at this:[/] {foreign(line)}")


@policy.command("set")
@click.argument("dataset")
@click.argument("file", type=Text)
@client_options
@json_option
@reporting
def policy_set(
    dataset: str, file: Path, endpoint: str | None, who: str | None, server_key: str | None, as_json: bool
) -> None:
    """Give a dataset of yours another policy; signed with your key. Requests and approvals of the old one end.

    \b
    Example:  bastion policy set titanic policy.toml --as olga
    """
    text = file.read_text(encoding="utf-8-sig")
    with naming(file), open_connection(endpoint, who, server_key) as connection:
        card = connection.set_policy(dataset, text)
    say(
        {"name": card.facts.name, "policy_version": card.facts.policy_version, "warnings": list(card.warnings)},
        "\n".join([f"{card.facts.name} has its new policy.", *(f"look at this: {w}" for w in card.warnings)]), as_json=as_json,
    )  # fmt: skip


@policy.command("try")
@click.argument("dataset")
@click.argument("file", type=Text, required=False)
@click.option("--role", "changes", multiple=True, metavar="COLUMN=ROLE", help="Another role of a column; repeatable.")
@limit_option
@client_options
@json_option
@reporting
def policy_try(
    dataset: str, file: Path | None, changes: tuple[str, ...], limit: int,
    endpoint: str | None, who: str | None, server_key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Say what a policy would make of past and of usual queries. Nothing changes.

    \b
    Example:  bastion policy try titanic policy.toml --as olga
              bastion policy try titanic --role Age=hidden --as olga
    """
    text = file.read_text(encoding="utf-8-sig") if file else None
    with naming(file), open_connection(endpoint, who, server_key) as connection:
        facts = connection.dataset(dataset).dataset.facts
        trial = connection.try_policy(dataset, text, roles=_roles(changes) or None, limit=limit)
    samples = check_policy(text, facts).samples if text is not None else ()
    if as_json:
        rows = [{"what": s.what, "code": s.code, "outcome": s.outcome, "reason": s.reason} for s in samples]
        click.echo(json.dumps({**trial.to_dict(), "samples": rows}, indent=2))
        return
    if samples:
        console.print("Usual queries", style="bold")
        show(
            [{"what": s.what, "outcome": OUTCOMES[s.outcome], "why": s.reason} for s in samples],
            {"what": "query", "outcome": "", "why": "why"}, as_json=False, empty="",
        )  # fmt: skip
    print_trial(trial)


def print_trial(trial: Trial) -> None:
    """Print what a policy would make of past queries."""
    console.print("Past queries", style="bold")
    console.print(safe_text(trial.sentence()), markup=False)
    rows = [
        {"who": q.who, "query": q.words, "became": q.ended, "now": OUTCOMES.get(q.before, ""), "then": OUTCOMES.get(q.after, ""),
         "why": f"{q.reason} {q.measured}".strip()}
        for q in sorted(trial.queries, key=lambda q: q.before == q.after)
    ]  # fmt: skip
    if rows:
        columns = {"who": "who", "query": "query", "became": "became", "now": "now", "then": "then", "why": "why"}
        show(rows, columns, as_json=False, empty="")


@policy.command("suggest")
@click.argument("request")
@click.option("--try", "number", type=click.IntRange(1), help="Try the line of this number on past queries.")
@click.option(
    "--write",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="With --try: the whole policy with it.",
)
@limit_option
@client_options
@json_option
@reporting
def policy_suggest(
    request: str, number: int | None, write: Path | None, limit: int,
    endpoint: str | None, who: str | None, server_key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Say a decision on a request as a line of the policy. It can be tried on past queries.

    \b
    Example:  bastion policy suggest r-1f2e3d4c5b6a7980 --try 1 --write policy.toml --as olga
    """
    with open_connection(endpoint, who, server_key) as connection:
        info = connection.request(request).info
        cards = [c for c in connection.cards() if c.mine and c.kind_of == "table" and c.facts.name in info.datasets]
        found = [(card.facts.name, line) for card in cards for line in suggest(info, card.facts)]
        if number is not None and number > len(found):
            msg = f"There are {len(found)} lines."
            raise InputError(msg, code="input.arguments")
        chosen = found[number - 1][1] if number is not None else None
        trial = connection.try_policy(chosen.dataset, chosen.text, limit=limit) if chosen is not None else None
    if chosen is not None and write is not None:
        write.write_text(chosen.text, encoding="utf-8")
    if as_json:
        rows = [
            {"dataset": name, "words": x.words, "line": x.line, "warning": x.warning, "toml": x.text}
            for name, x in found
        ]
        click.echo(json.dumps({"lines": rows, "trial": trial.to_dict() if trial is not None else None}, indent=2))
        return
    if not found:
        console.print("No line of a policy says this better than a decision.")
    for place, (name, line) in enumerate(found, 1):
        if number is not None and place != number:
            continue
        console.print(f"[bold]{place}[/] {foreign(name)}: {foreign(line.words)} [red]{foreign(line.warning)}[/]")
        for part in line.line.split("\n"):
            console.print(f"    {safe_text(part)}", markup=False)
    if trial is not None:
        print_trial(trial)


# ---- roles, access, deletion -------------------------------------------------------------------------------------------


def _roles(changes: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for change in changes:
        column, sign, role = change.rpartition("=")
        if not sign or not column:
            msg = f"{change!r} is not COLUMN=ROLE."
            raise InputError(msg, code="input.arguments", next_step="Write, for example, Age=measure.")
        found[column] = role
    return found


@click.command()
@click.argument("dataset")
@click.argument("changes", nargs=-1, metavar="[COLUMN=ROLE]...")
@click.option("--confirm", is_flag=True, help="Confirm all roles that were guessed, as they are.")
@client_options
@json_option
@reporting
def roles(
    dataset: str, changes: tuple[str, ...], confirm: bool,
    endpoint: str | None, who: str | None, server_key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Show or change the roles of a dataset's columns. A change is signed with your key.

    \b
    Roles:    public, quasi, measure, measure(LOWER,UPPER), sensitive, identifier, hidden
    Example:  bastion roles titanic Age=measure Cabin=hidden --as olga
    """
    with open_connection(endpoint, who, server_key) as connection:
        card = connection.dataset(dataset).dataset
        wanted = {c.name: str(c.role.kind) for c in card.facts.columns if c.inferred} if confirm else {}
        bounded, plain = _declared(changes)
        before = {c.name: c for c in card.facts.columns}
        # a role that is said again keeps its bounds, or the values that may be named
        again = {n for n, r in plain.items() if n in before and not before[n].inferred and before[n].role.kind == r}
        wanted |= {n: r for n, r in plain.items() if n not in again}
        wanted = {n: r for n, r in wanted.items() if n not in bounded}
        if bounded:
            policy = replace(card.facts.policy, roles={**(card.facts.policy.roles or {}), **bounded})
            card = connection.set_policy(dataset, policy, roles=wanted or None)
        elif wanted:
            card = connection.set_policy(dataset, roles=wanted)
    gone = [f"{n} was {before[n].role}: what was declared with that role is gone." for n in wanted
            if n in before and before[n].role != Role(before[n].role.kind)]  # fmt: skip
    if as_json:
        row = card_row(card)
        click.echo(json.dumps(row | {"warnings": [*gone, *row["warnings"]]}, indent=2))
        return
    print_roles(card)
    for line in gone:
        console.print(f"[red]look at this:[/] {foreign(line)}")


def _declared(changes: tuple[str, ...]) -> tuple[dict[str, Role], dict[str, str]]:
    """Return the measures whose bounds are given, as measure(LOWER,UPPER), and all other changes."""
    bounded, plain = {}, _roles(changes)
    for column, text in list(plain.items()):
        if (found := _MEASURE.fullmatch(text)) is not None:
            try:
                bounded[column] = measure(*(float(number) for number in found.groups()))
            except ValueError:
                msg = f"The bounds of {text!r} are not two numbers."
                raise InputError(
                    msg, code="input.arguments", next_step="Write, for example, Age=measure(0,120)."
                ) from None
            del plain[column]
    return bounded, plain


def _must_be_mine(card: Any) -> None:
    if not card.mine:
        msg = f"The dataset {card.facts.name!r} is not yours."
        raise InputError(msg, code="input.owner", next_step=f"Its owner is {card.facts.owner}.")


@click.command()
@click.argument("dataset")
@click.argument("names", nargs=-1)
@click.option("--everyone", is_flag=True, help="Everyone with a key.")
@click.option("--nobody", is_flag=True, help="Nobody but you.")
@client_options
@json_option
@reporting
def allow(
    dataset: str, names: tuple[str, ...], everyone: bool, nobody: bool,
    endpoint: str | None, who: str | None, server_key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Show or say who may use a dataset of yours. NAMES are the whole list; signed with your key.

    \b
    Example:  bastion allow titanic alice bob --as olga
    """
    if bool(names) + everyone + nobody > 1:
        msg = "Give names, or --everyone, or --nobody."
        raise InputError(msg, code="input.arguments")
    with open_connection(endpoint, who, server_key) as connection:
        if names or everyone or nobody:
            card = connection.set_policy(dataset, allow=("*",) if everyone else names)
        else:
            card = connection.dataset(dataset).dataset
            _must_be_mine(card)
    people = "everyone with a key" if "*" in card.allow else ", ".join(card.allow) or "nobody but you"
    say(
        {"name": card.facts.name, "allow": list(card.allow)},
        "\n".join(
            [
                f"{card.facts.name} may be used by {people}.",
                *(f"look at this: {w}" for w in card.warnings if w.startswith("The access list")),
            ]
        ),
        as_json=as_json,
    )


@click.command()
@click.argument("dataset")
@click.option("--yes", is_flag=True, help="Do not ask.")
@client_options
@json_option
@reporting
def delete(
    dataset: str, yes: bool, endpoint: str | None, who: str | None, server_key: str | None, as_json: bool
) -> None:
    """Delete a dataset of yours with its rows; signed with your key. What was released stays on record.

    \b
    Example:  bastion delete titanic --yes --as olga
    """
    with open_connection(endpoint, who, server_key) as connection:
        card = connection.dataset(dataset).dataset
        _must_be_mine(card)
        name = card.facts.name
        if not yes and not click.confirm(f"Delete {safe_text(name)} and its rows for good?"):
            raise SystemExit(1)
        connection.delete(dataset)
    say({"deleted": name}, f"{name} is deleted.", as_json=as_json)


@click.command()
@click.argument("request")
@click.option("--reason", default="", help="A word to the requester.")
@client_options
@json_option
@reporting
def revoke(
    request: str, reason: str, endpoint: str | None, who: str | None, server_key: str | None, as_json: bool
) -> None:
    """End an approval in force, at once; signed with your key. What was handed out stays handed out.

    \b
    Example:  bastion revoke r-1f2e3d4c5b6a7980 --reason "The study is over." --as olga
    (To revoke a key instead: bastion keys revoke NAME.)
    """
    with open_connection(endpoint, who, server_key) as connection:
        decided = connection.revoke(request, reason).info
    say(decision_fields(decided), f"{decided.id} is {state_text(decided)}.", as_json=as_json)


@click.command()
@client_options
@json_option
@reporting
def budget(endpoint: str | None, who: str | None, server_key: str | None, as_json: bool) -> None:
    """Show what is left of privacy budgets. Of the datasets you may see, and what was spent of them.

    \b
    Example:  bastion budget --as olga
    """
    with open_connection(endpoint, who, server_key) as connection:
        rows: list[dict[str, Any]] = connection.budget().to_dicts()
    if not as_json:
        for row in rows:
            row |= {name: f"{row[name]:.3g}" for name in ("epsilon", "delta", "spent", "left")}
    show(
        rows,
        {"datasets": "datasets", "epsilon": "epsilon", "spent": "spent", "left": "left", "delta": "delta", "answers": "answers",
         "void": "no longer holds because"},
        as_json=as_json, empty="No policy adds noise, so there are no budgets.",
    )  # fmt: skip


# ---- failed queries that count -----------------------------------------------------------------------------------------


@click.group()
def failures() -> None:
    """Failed and stopped queries that count. After 2 in a day, and 8 in all, those that could fail wait for you.

    \b
    Example:  bastion failures show titanic --as olga
    """


@failures.command("show")
@click.argument("dataset")
@client_options
@json_option
@reporting
def failures_show(dataset: str, endpoint: str | None, who: str | None, server_key: str | None, as_json: bool) -> None:
    """Show whose failed queries count, and how many. They are about a dataset of yours.

    \b
    Example:  bastion failures show titanic --as olga
    """
    with open_connection(endpoint, who, server_key) as connection:
        found = connection.exposure(dataset).message
    rows = [
        {"audience": a.audience, "members": [n for n in a.members if n != a.audience], "failed": a.failed, "today": a.failed_today,
         "last": when(a.last)}
        for a in found.audiences if a.failed
    ]  # fmt: skip
    show(
        rows,
        {"audience": "audience", "members": "of", "failed": "failed", "today": "within a day", "last": "last asked"},
        as_json=as_json, empty="None count.",
    )  # fmt: skip
    if rows and not as_json:
        console.print(MEANS)


@failures.command("clear")
@click.argument("dataset")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@client_options
@json_option
@reporting
def failures_clear(
    dataset: str, name: str, yes: bool, endpoint: str | None, who: str | None, server_key: str | None, as_json: bool
) -> None:
    """Count somebody's failed queries no longer. They are about a dataset of yours; signed with your key.

    It holds for all tables of the same people, and for all who count as one with NAME (of an audience: @NAME).

    \b
    Example:  bastion failures clear titanic alice --as olga
    """
    with open_connection(endpoint, who, server_key) as connection:
        count = failures_of(connection.exposure(dataset).message, name)
        if count.failed and not yes:
            errors.print(f"{MEANS} Of {foreign(name)} there are {failures_text(count)}.")
            if not click.confirm("Clear them?", err=True):
                raise SystemExit(1)
        found = connection.clear_failures(dataset, name, shown=count.failed)
    say(
        {"audience": count.audience, "cleared": found},
        cleared_text(found, count.audience),
        as_json=as_json,
    )


# ---- word of new requests ----------------------------------------------------------------------------------------------


@click.group()
def notify() -> None:
    """Word of new requests by webhook or mail. What the file notify.toml of the server's directory says.

    \b
    Example:  bastion notify test --dir server
    """


@notify.command("show")
@directory_option
@json_option
@reporting
def notify_show(directory: Path | None, as_json: bool) -> None:
    """Check the file and say what it does.

    \b
    Example:  bastion notify show --dir server
    """
    from bastion_server.service.notify import load

    config = load(directory or default_directory())
    hooks = [hook.url.partition("?")[0] for hook in config.webhook] if config is not None else []
    mail = dict(config.mail.to) if config is not None and config.mail is not None else {}
    lines = [
        *(f"new requests are posted to {url}" for url in hooks),
        *(f"mail for {who} goes to {to}" for who, to in mail.items()),
    ]
    text = (
        "\n".join(lines)
        or "Nobody is told of new requests outside of Jupyter and `bastion requests`: there is no notify.toml."
    )
    say({"webhooks": hooks, "mail": mail}, text, as_json=as_json)


@notify.command("test")
@directory_option
@json_option
@reporting
def notify_test(directory: Path | None, as_json: bool) -> None:
    """Send a made-up notice once, by every way.

    \b
    Example:  bastion notify test --dir server
    """
    import asyncio

    from bastion_server.service.notify import Notice, load, send_now

    config = load(directory or default_directory())
    if config is None:
        msg = "There is no notify.toml in the server's directory."
        raise InputError(msg, code="input.notify", next_step="docs/owners.md shows how it is written.")
    owners = {owner for hook in config.webhook for owner in hook.owners} | {"*"}
    owners |= set(config.mail.to) if config.mail is not None else set()
    notice = Notice("r-0000000000000000", "somebody", tuple(sorted(owners)), ("a-test",), time.time())
    found = asyncio.run(send_now(config, notice))
    say(
        found,
        "\n".join(f"{way}: {what}" for way, what in found.items()) or "There is nothing to send.",
        as_json=as_json,
    )
    if any(what != "sent" for what in found.values()):
        raise SystemExit(1)


COMMANDS = (roles, allow, delete, revoke, failures, budget, notify)
