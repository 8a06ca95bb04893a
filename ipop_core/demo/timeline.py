"""The timeline at the end, for somebody who sees this for the first time."""

from __future__ import annotations

from ipop_core.demo.evidence import Evidence
from ipop_core.demo.figures import Figures
from ipop_core.demo.narrator import Narrator


def narrate_timeline(narrator: Narrator, figures: Figures, evidence: Evidence) -> None:
    narrator.heading("What happened")
    if figures.lookup_ms is not None:
        narrator.line(f"{figures.lookup_ms:8.1f} ms  looked up: the overlay's directory said which node is 192.168.10.20")
    if figures.first_reply_ms is not None:
        narrator.line(f"{figures.first_reply_ms:8.1f} ms  first reply, over {figures.first_reply_hops} hops of the overlay")
    if figures.direct_after_ms is not None:
        narrator.line(f"{figures.direct_after_ms:8.1f} ms  direct path found: the pings go from router to router")
    narrator.line(f"round trips: {_show(figures.relay_rtt_ms)} over the overlay, {_show(figures.direct_rtt_ms)} on the direct path")
    narrator.line(evidence.summary)


def _show(milliseconds: float | None) -> str:
    return "none" if milliseconds is None else f"{milliseconds:.2f} ms"
