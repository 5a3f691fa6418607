"""Running a server, installing the kernel, checking a policy, the demo."""

from __future__ import annotations

import asyncio
import json
import math
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bastion_cli import context
from bastion_cli.keys import owner_exists
from bastion_cli.output import console, foreign, json_option, naming, reporting, say

_ATTESTED = {
    "": "no: clients see it as UNATTESTED (--attest auto, on hardware that can)",
    "simulated": "UNATTESTED: a simulation, which proves nothing",
    "auto": "by the hardware", "tsm": "by configfs-tsm", "sev-guest": "by /dev/sev-guest", "nitro": "by AWS Nitro",
}  # fmt: skip


class _Amount(click.FloatRange):
    """A number from a least one to a million; no infinity, and not what is no number."""

    def __init__(self, least: float) -> None:
        super().__init__(min=least, max=1e6)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


#: what fits may take: option, the field of TrainingSettings, what is asked for, times what, help
_FITS = (
    ("--max-parameters", "max_parameters", click.IntRange(min=1), 1, "Numbers that one model may train [50 million]."),
    ("--training-steps", "steps", click.IntRange(min=1), 1, "Steps of one fit [a million]."),
    ("--training-memory", "worker", _Amount(0.5), 2**30, "GiB of one fit's process [4]."),
    ("--training-disk", "disk", _Amount(0.01), 2**30, "GiB of one person's weights and checkpoints [20]."),
    ("--training-grace", "grace", _Amount(0.0), 1, "Seconds that a step has to end once its fit was stopped [15]."),
)  # fmt: skip


def _fit_options(function: Callable[..., None]) -> Callable[..., None]:
    for name, field, kind, _, said in reversed(_FITS):
        function = click.option(name, field, type=kind, default=None, help=said)(function)
    return function


@click.command()
@context.directory_option
@click.option(
    "--endpoint",
    default="tcp://127.0.0.1:50056",
    show_default=True,
    help="Address to listen on; * as port takes a free one.",
)
@click.option("--bootstrap", default=None, help="Address of the socket that tells this server's key to newcomers.")
@click.option("--memory", type=_Amount(0.1), default=2.0, show_default=True, help="GiB one query may use.")
@click.option("--seconds", type=_Amount(0.1), default=60.0, show_default=True, help="Wall clock of one query.")
@click.option(
    "--answer",
    type=_Amount(0.1),
    default=1.0,
    show_default=True,
    help="GiB of one answer, or of a fit's rows.",
)
@click.option(
    "--attest",
    type=click.Choice(["auto", "tsm", "sev-guest", "nitro", "simulated"]),
    default=None,
    help="Show clients evidence of what this server is: from the hardware (auto finds it), or simulated for trials.",
)
@click.option(
    "--tsm-root",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Of configfs-tsm, where it is not the kernel's own.",
)
@_fit_options
@reporting
def serve(
    directory: Path | None, endpoint: str, bootstrap: str | None, memory: float, seconds: float, answer: float, attest: str | None,
    tsm_root: Path | None, **fits: float | None,
) -> None:  # fmt: skip
    """Run a server until Ctrl-C.

    \b
    Example:  bastion serve --endpoint tcp://0.0.0.0:50056
    """
    from bastion_server.process import serve as run

    folder = (directory or context.default_directory()).resolve()
    given = {field: value * times for _, field, _, times, _ in _FITS if (value := fits[field]) is not None}
    training = {field: value if field == "grace" else int(value) for field, value in given.items()}

    def ready(facts: dict[str, Any]) -> None:
        console.print(f"[bold]BastionLab server[/] on {facts['endpoint']}, store {folder}")
        console.print(f"  server key   {shlex.quote(facts['server_key'])}", markup=False)
        console.print(f"  attested     {_ATTESTED[attest or '']}", markup=False)
        for warning in facts["warnings"]:
            console.print(f"  [red]warning[/]      {foreign(warning)}")
        if not owner_exists(folder):
            console.print(f"  no owner yet: bastion keys create NAME --role owner --dir {folder}", markup=False)
        console.print("  invite       bastion invite NAME        stop with Ctrl-C")

    asyncio.run(
        run(
            folder, endpoint, bootstrap=bootstrap, memory=int(memory * 2**30), seconds=seconds, answer=int(answer * 2**30),
            training=training, attest=attest, tsm_root=tsm_root, ready=ready,
        )
    )  # fmt: skip


@click.group()
def policy() -> None:
    """Check policy files; show, try and set policies.

    \b
    Example:  bastion policy check policy.toml
              bastion policy try titanic policy.toml --as olga
    """


@policy.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@reporting
def check(file: Path, as_json: bool) -> None:
    """Read a policy file and say in plain words what it means.

    \b
    Example:  bastion policy check policy.toml
    """
    from bastion_plan.errors import PolicyError
    from bastion_policy.checks import check_rules
    from bastion_policy.model import from_toml
    from bastion_policy.toml import with_line
    from bastion_policy.words import policy_words

    text = file.read_text(encoding="utf-8-sig")
    with naming(file):
        found = from_toml(text)
        try:
            check_rules(found)
        except PolicyError as error:
            raise with_line(error, text) from None
    words, warnings, unsupported = list(policy_words(found)), list(found.warnings()), list(found.unsupported())
    if as_json:
        click.echo(json.dumps({"words": words, "warnings": warnings, "unsupported": unsupported}, indent=2))
    else:
        for line in words:
            console.print(f"· {line}", markup=False)
        for line in warnings:
            console.print(f"[yellow]look at this:[/] {foreign(line)}")
        for line in unsupported:
            console.print(f"[red]refused by this release:[/] {foreign(line)}")
    if unsupported:
        sys.exit(1)


@click.group()
def kernel() -> None:
    """The Jupyter kernel."""


@kernel.command("install")
@click.option("--user", is_flag=True, help="For this account instead of this Python environment.")
@click.option("--prefix", help="Below this folder.")
@click.option("--connect", help='Connect at start: "profile", a profile file (.toml), or a server\'s address.')
@click.option("--as", "who", help="As whom: a name from `keys create`, or the path of a NAME.key file.")
@click.option("--server-key", help="The key of the server at that address, 40 characters.")
@click.option("--name", default="bastionlab", show_default=True, help="The kernel's name for Jupyter.")
@click.option("--display-name", help="What the launcher shows.")
@json_option
@reporting
def install(
    user: bool,
    prefix: str | None,
    connect: str | None,
    who: str | None,
    server_key: str | None,
    name: str,
    display_name: str | None,
    as_json: bool,
) -> None:
    """Add the kernel "BastionLab" to Jupyter. With --connect, one that connects by itself.

    \b
    Example:  bastion kernel install
              bastion kernel install --connect profile
              bastion kernel install --connect tcp://hospital:50056 --name hospital --display-name "Hospital data"
    """
    from bastion_kernel.install import connecting
    from bastion_kernel.install import install as add

    environment = connecting(connect, who, server_key)
    folder = add(user=user, prefix=prefix, name=name, display_name=display_name, environment=environment)
    text = f"The kernel {display_name or 'BastionLab'} is installed in {folder}"
    say({"kernel": name, "folder": folder}, text, as_json=as_json)


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print versions.

    \b
    Example:  bastion version
    """
    from importlib.metadata import version as of

    names = ["bastionlab", "polars", "pyzmq", "msgspec", "PyNaCl", "ipykernel"]
    found = {name: of(name) for name in names}
    say(found, "\n".join(f"{name} {number}" for name, number in found.items()), as_json=as_json)


@click.command()
@click.option("--lab", is_flag=True, help="Start JupyterLab on the demo's server and notebook instead.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), default=Path(".demo"), show_default=True)
@reporting
def demo(lab: bool, directory: Path) -> None:
    """Run the quick tour on the Titanic table. It has an owner and a scientist, a denial and an approval.

    \b
    Example:  bastion demo
    """
    from bastion_cli import demo as tour

    if lab:
        tour.lab(directory)
    else:
        tour.run(directory)


COMMANDS = (demo, serve, policy, kernel, version)
