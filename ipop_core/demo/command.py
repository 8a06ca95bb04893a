"""`ipop demo`: the tutorial, with real nodes."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from typing import Any

import click

from ipop_core.cli.output import json_option, print_json
from ipop_core.demo import programs
from ipop_core.demo.errors import DemoError
from ipop_core.demo.figures import Figures
from ipop_core.demo.laboratory import InLaboratory
from ipop_core.demo.narrator import Narrator
from ipop_core.demo.place import Place
from ipop_core.demo.story import Story
from ipop_core.lab import LabError, NatKind, capabilities, enter_user_namespace

KINDS = [kind.value for kind in NatKind]


class NatPair(click.ParamType):
    name = "KIND,KIND"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        kinds = value.split(",")
        if len(kinds) != 2 or not set(kinds) <= set(KINDS):
            self.fail(f"{value!r} is not two of {', '.join(KINDS)} with a comma between", param, ctx)
        return kinds[0], kinds[1]


@click.command()
@click.option(
    "--nat",
    type=NatPair(),
    default="port-restricted,port-restricted",
    show_default=True,
    help="The NATs in front of Alice and of Bob.",
)
@json_option
@click.pass_context
def demo(ctx: click.Context, nat: tuple[str, str], as_json: bool) -> None:
    """Alice and Bob, each behind a NAT, find each other through an overlay of strangers."""
    narrator = Narrator(to_stderr=as_json)
    with InLaboratory(nat) as place:
        figures = asyncio.run(Story(place, narrator).tell())
    if as_json:
        print_json(dataclasses.asdict(figures))
    for f in figures.faults(): narrator.bad(f)
