"""The end of the demo, for somebody who sees all this for the first time: a timeline and a verdict."""

from __future__ import annotations

from ipop_core.demo.figures import Figures
from ipop_core.demo.narrator import Narrator


def narrate_timeline(narrator: Narrator, figures: Figures, evidence: str) -> None:
    """`evidence` is what the captures saw, in a sentence or two."""
    narrator.heading("What happened, in milliseconds since the first ping")
    for moment, event in _events(figures):
        narrator.line(f"{moment:8.0f}  {event}")
    narrator.heading("The way of the pings")
    narrator.line(f"round trip over the overlay: {_round_trip_over_the_overlay(figures)}")
    narrator.line(f"round trip on the direct path: {_show(figures.direct_rtt_ms)}")
    narrator.line(evidence)
    if figures.canary_on_card is not None:
        narrator.line(
            f"The pings' secret payload was readable in {figures.canary_on_card} packets on Alice's card, and in "
            f"{figures.canary_on_public} on the public segment."
        )


def narrate_verdict(narrator: Narrator, figures: Figures) -> None:
    narrator.heading("Verdict")
    faults = list(figures.faults())
    for fault in faults:
        narrator.bad(fault)
    if not faults:
        narrator.good(f"{figures.sent} pings sent, {figures.received} answered, none lost, {_way(figures)}.")


def _events(figures: Figures) -> list[tuple[float, str]]:
    moments: list[tuple[float | None, str]] = [
        (0.0, "Alice's computer asks for Bob's address; the ping waits in the kernel"),
        (
            figures.looked_up_after_ms,
            f"looked up: the directory said in {_show(figures.lookup_ms)} which node is Bob's",
        ),
        (
            figures.first_reply_ms,
            f"first reply, over {figures.first_reply_hops or 'an unknown number of'} hops of the overlay",
        ),
        (figures.direct_after_ms, "direct path found: from here on the pings go from router to router"),
    ]
    return sorted((moment, event) for moment, event in moments if moment is not None)


def _way(figures: Figures) -> str:
    if figures.direct:
        return "and a direct path was found"
    one, other = figures.nat.split(",")
    return f"over the overlay to the end: between {one} and {other} NATs no hole can be punched"


def _round_trip_over_the_overlay(figures: Figures) -> str:
    if figures.relay_rtt_ms is None and figures.direct:
        return "unknown, as the direct path was there before the first reply"
    return _show(figures.relay_rtt_ms)


def _show(milliseconds: float | None) -> str:
    return "none" if milliseconds is None else f"{milliseconds:.1f} ms"
