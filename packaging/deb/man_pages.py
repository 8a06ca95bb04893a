"""Man pages of both programs and of every subcommand, made from their own help: `man_pages.py FOLDER VERSION`."""

from __future__ import annotations

import sys

import click
from click_man.core import write_man_pages

from ipop_core.cli.main import cli
from ipop_core.controller.main import main


def with_all_commands(group: click.Group) -> click.Group:
    """The group, with the commands in hand that it otherwise looks up when they are called for."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            group.add_command(command, name)
    return group


if __name__ == "__main__":
    folder, version = sys.argv[1:]
    write_man_pages("ipop", with_all_commands(cli), version=version, target_dir=folder)
    write_man_pages("ipop-controller", main, version=version, target_dir=folder)
