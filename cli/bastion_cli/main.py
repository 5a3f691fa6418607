"""The `bastion` command."""

from __future__ import annotations

import click

from bastion_cli import attest, client, keys, operations, owner


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="bastionlab", prog_name="bastion")
def main() -> None:
    """Remote data science on data nobody may see.

    \b
    See it run:      bastion demo
    Own data:        bastion keys create olga --role owner; bastion serve; bastion upload table.csv
    Explore data:    bastion datasets; then the kernel "BastionLab" in Jupyter
    """


for group in (operations.COMMANDS, keys.COMMANDS, client.COMMANDS, owner.COMMANDS, attest.COMMANDS):
    for command in group:
        main.add_command(command)
