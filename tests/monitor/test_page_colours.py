"""What is written on the page can be read: contrast as WCAG 2.2 computes it (1.4.3, and 1.4.11 for lines)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ipop_modules.monitor

CSS = (Path(ipop_modules.monitor.__file__).with_name("page") / "page.css").read_text()
WRITTEN = ("ink", "quiet", "bad", "near", "shortcut")
DRAWN = ("near", "long", "shortcut", "other", "own", "good", "focus")


def colours(scheme: str) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    return dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", blocks[("light", "dark").index(scheme)]))


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out(scheme: str) -> None:
    palette = colours(scheme)
    for ground in ("paper", "card"):
        for name in WRITTEN:
            assert contrast(palette[name], palette[ground]) >= 4.5, f"{name} on {ground}"
        for name in DRAWN:
            assert contrast(palette[name], palette[ground]) >= 3, f"{name} on {ground}"


def test_the_formula() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
