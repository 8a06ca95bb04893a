"""A bar chart of TCP throughput as SVG, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from benchmarks.report import LIMIT, OURS, Result

_WIDTH: Final = 720
_ROW: Final = 30
_LABELS: Final = 120
_NUMBERS: Final = 90
_TOP: Final = 40
_STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  .bar { fill: #8c959f } .ours { fill: #0969da }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .bar { fill: #6e7681 } .ours { fill: #4493f8 } }
"""


def draw(results: Sequence[Result], title: str) -> str:
    """Bars of the medians, fastest first, with what each reached in text. The wire itself is named in the title."""
    bars = [(result, median) for result in results if (median := result.median("tcp_mbps"))]
    limit = next((median for result, median in bars if result.name == LIMIT), None)
    bars = sorted(((result, median) for result, median in bars if result.name != LIMIT), key=lambda bar: -bar[1])
    longest = max((median for _, median in bars), default=1.0)
    heading = title if limit is None else f"{title} (the wire itself: {limit:,.0f})"
    height = _TOP + _ROW * len(bars) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="8" y="22">{escape(heading)}</text>',
    ]
    for row, (result, median) in enumerate(bars):
        lines += _bar(result, median, longest, _TOP + row * _ROW)
    return "\n".join([*lines, "</svg>", ""])


def _bar(result: Result, median: float, longest: float, y: int) -> list[str]:
    width = median / longest * (_WIDTH - _LABELS - _NUMBERS)
    kind = "ours" if result.name == OURS else "bar"
    return [
        f'<text x="{_LABELS - 8}" y="{y + 16}" text-anchor="end">{escape(result.name)}</text>',
        f'<rect class="{kind}" x="{_LABELS}" y="{y}" width="{width:.1f}" height="{_ROW - 8}" rx="3"/>',
        f'<text x="{_LABELS + width + 8:.1f}" y="{y + 16}">{median:,.0f}</text>',
    ]
