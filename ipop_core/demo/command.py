"""`ipop demo`: the tutorial, with real nodes."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from typing import Final

import click

from ipop_core.cli.output import json_option, print_json
from ipop_core.demo import programs
from ipop_core.demo.errors import DemoError
from ipop_core.demo.ipsec_place import tell_ipsec
from ipop_core.demo.laboratory import InLaboratory
from ipop_core.demo.loopback import OnLoopback
from ipop_core.demo.narrator import Narrator
from ipop_core.demo.place import Place
from ipop_core.demo.story import Story
from ipop_core.demo.timeline import narrate_verdict
from ipop_core.lab import FIVE_KINDS, LabError, capabilities, enter_user_namespace
from ipop_core.lab.commands import run
from ipop_core.lab.user_namespace import is_inside

KINDS: Final = [kind.value for kind in FIVE_KINDS]
Pair = tuple[str, str]


def read_pair(_context: click.Context, _parameter: click.Parameter, value: str) -> Pair:
    one, _, other = value.partition(",")
    if one not in KINDS or other not in KINDS:
        raise click.BadParameter(f"{value!r} is not two kinds with a comma between; kinds: {', '.join(KINDS)}")
    return one, other


@click.command()
@click.option(
    "--nat",
    metavar="KIND,KIND",
    callback=read_pair,
    default="port-restricted,port-restricted",
    show_default=True,
    help=f"The NATs in front of Alice and of Bob: {', '.join(KINDS)}.",
)
@click.option("--ipsec", "with_ipsec", is_flag=True, help="Tell the tutorial's third part too: IPsec on top.")
@json_option
@click.pass_context
def demo(ctx: click.Context, nat: Pair, with_ipsec: bool, as_json: bool) -> None:
    """Show how Alice and Bob, each behind a NAT, find each other through an overlay of strangers.

    Everything is real but the network, and nothing of it is left afterwards.
    """
    narrator = Narrator(to_stderr=as_json)
    try:
        with choose_place(nat) as place:
            figures = asyncio.run(Story(place, narrator).tell())
        ipsec = asyncio.run(tell_ipsec(narrator)) if with_ipsec else None
    except LabError as error:
        raise DemoError(str(error)) from error
    narrate_verdict(narrator, figures)
    faults = [*figures.faults(), *(ipsec.faults() if ipsec else ())]
    for fault in ipsec.faults() if ipsec else ():
        narrator.bad(fault)
    if as_json:
        print_json(dataclasses.asdict(figures) | ({"ipsec": dataclasses.asdict(ipsec)} if ipsec else {}))
    ctx.exit(1 if faults else 0)


def choose_place(nat: Pair) -> Place:
    """Networks of our own where the machine allows it, if need be in a user namespace; else loopback.

    Raises DemoError when only a program is missing that root can install.
    """
    if lacking := programs.missing():
        if os.geteuid() == 0:
            raise DemoError(lacking)
        return OnLoopback(lacking)
    rights = capabilities()
    if rights.laboratory and rights.tun:
        return InLaboratory(nat)
    if not rights.laboratory and rights.user_namespace:
        enter_user_namespace([sys.executable, *sys.orig_argv[1:]])
    if is_inside():
        run(["ip", "link", "set", "lo", "up"])  # in a network namespace of its own that got no further
    refused = rights.tun if rights.laboratory else rights.laboratory
    return OnLoopback(refused.reason)
