"""Subcommands of `ipop` that tincan brings: peers, ping and trace."""

from __future__ import annotations

import asyncio
import time

import click

from ipop_core.bus.api import Bus, JsonObject
from ipop_core.cli.client import ask, with_bus
from ipop_core.cli.output import json_option, print_json, print_table, show_bytes, show_duration
from ipop_core.errors import BusError


@click.command()
@json_option
@click.pass_context
def peers(ctx: click.Context, as_json: bool) -> None:
    """Show the nodes in session with this one, and the path to each."""
    found = ask(ctx, "link", "peers").body["peers"]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            ", ".join(peer["addresses"]),
            peer["node"][:12],
            peer["path"] if peer["path"] != "overlay" else f"overlay, {peer['overlay_hops'] or '?'} hops",
            peer["endpoint"],
            peer["rtt_ms"] and f"{peer['rtt_ms']:.1f} ms",
            " ".join(peer["kinds"]),
            show_bytes(peer["bytes_in"]),
            show_bytes(peer["bytes_out"]),
            show_duration(peer["age_s"]),
        )
        for peer in found
    ]
    print_table(("address", "node", "path", "endpoint", "rtt", "wanted as", "in", "out", "since"), rows)


@click.command()
@click.argument("address")
@click.option("-c", "--count", type=click.IntRange(1, 10_000), default=4, show_default=True, help="Round trips.")
@json_option
@click.pass_context
def ping(ctx: click.Context, address: str, count: int, as_json: bool) -> None:
    """Measure round trips over the overlay to the node that owns ADDRESS, or to a node by its id."""
    body = _target(address)

    async def work(bus: Bus) -> list[JsonObject]:
        answers: list[JsonObject] = []
        for number in range(count):
            started = time.monotonic()
            try:
                answer = (await bus.request("link", "ping", body, timeout=8.0)).body
            except BusError as error:
                if error.code != "refused":
                    raise
                answer = {"error": error.message}
            answers.append(answer)
            if not as_json:
                _print_round_trip(number + 1, address, answer)
            if "error" in answer and number == 0 and "nobody" in answer["error"]:
                break
            if number + 1 < count:
                await asyncio.sleep(max(0.0, 0.5 - (time.monotonic() - started)))
        return answers

    answers = with_bus(ctx, work)
    if as_json:
        print_json(answers)
    if all("error" in answer for answer in answers):
        ctx.exit(1)


@click.command()
@click.argument("address")
@json_option
@click.pass_context
def trace(ctx: click.Context, address: str, as_json: bool) -> None:
    """Show the nodes on the way to ADDRESS, or to a node by its id, and the round trip to each. Exit 1 if not there."""
    found = ask(ctx, "link", "trace", _target(address), timeout=60.0).body
    if as_json:
        print_json(found)
    else:
        rows = [
            (
                hop["hop"],
                (hop["node"] or "*")[:12],
                ", ".join(hop["addresses"]),
                hop["endpoint"],
                "no answer" if hop["rtt_ms"] is None else f"{hop['rtt_ms']:.1f} ms",
            )
            for hop in found["hops"]
        ]
        print_table(("hop", "node", "address", "endpoint", "rtt"), rows)
        sealed = "sealed end to end" if found["sealed"] else "no session yet"
        click.echo(f"{found['path']}, {sealed}")
    ctx.exit(0 if found["reached"] else 1)


def _target(text: str) -> JsonObject:
    """A node by its id, or an address."""
    return {"node": text} if len(text) == 40 and ":" not in text else {"address": text}


def _print_round_trip(number: int, address: str, answer: JsonObject) -> None:
    if "error" in answer:
        click.echo(f"{number}: {answer['error']}")
        return
    way = "direct" if answer["path"] == "direct" else f"over the overlay, {answer['hops']} hops"
    click.echo(f"{number}: {address} at node {answer['node'][:12]}: {answer['rtt_ms']:.2f} ms, {way}")
