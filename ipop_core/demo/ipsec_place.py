"""Where the demo's IPsec part plays: in this kernel, or in User-Mode Linux where this one has no ESP."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from ipop_core.demo.errors import DemoError
from ipop_core.demo.ipsec import IpsecStory
from ipop_core.demo.ipsec_figures import IpsecFigures
from ipop_core.demo.narrator import Narrator
from ipop_core.lab.errors import LabError
from ipop_core.lab.esp import esp_right
from ipop_core.lab.uml import OUTPUT_FILE, run_in_uml, uml_right

BOOT_SECONDS: Final = 400.0
_FIGURES_FILE: Final = "figures.json"


async def tell_ipsec(narrator: Narrator) -> IpsecFigures:
    """Play the tutorial's third part. Raises DemoError where neither kernel is to be had."""
    own = esp_right()
    if own:
        return await IpsecStory(narrator, "own").tell()
    uml = uml_right()
    if not uml:
        raise DemoError(f"{own.reason}, and there is {uml.reason}")
    narrator.heading("IPsec")
    narrator.line(f"{own.reason}; so this part plays in User-Mode Linux, a kernel that is a program.")
    return _in_uml(narrator)


def _in_uml(narrator: Narrator) -> IpsecFigures:
    with tempfile.TemporaryDirectory(prefix="ipop-ipsec-demo-") as folder:
        shared = Path(folder)
        figures, output = shared / _FIGURES_FILE, shared / OUTPUT_FILE
        command = [sys.executable, "-m", "ipop_core.demo.ipsec", str(figures)]
        env = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        try:
            with narrator.step("User-Mode Linux boots, and the story plays in it"):
                status = run_in_uml(command, shared=shared, folder=Path("/"), env=env, timeout=BOOT_SECONDS)
        except LabError as error:
            raise DemoError(str(error)) from error
        said = output.read_text(errors="replace").splitlines() if output.exists() else []
        for line in said:
            narrator.line(line)
        if status != 0 or not figures.exists():
            raise DemoError(f"the story in User-Mode Linux ended with exit code {status}")
        return IpsecFigures(**json.loads(figures.read_text()))
