"""Installs an example as its reader would, for nodes that tests start."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def install(name: str, folder: Path) -> Path:
    """Install the example into a folder of its own; that folder belongs on PYTHONPATH."""
    source, site = folder / "source", folder / "site"  # a build writes into its source
    shutil.copytree(EXAMPLES / name, source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "install", *pip_options()]
    subprocess.run([*pip, "--target", site, source], check=True)
    return site


def pip_options() -> list[str]:
    options = ["--quiet", "--no-deps", "--disable-pip-version-check"]
    if _setuptools_makes_wheels():
        options.append("--no-build-isolation")  # else pip fetches one that does
    return options


def _setuptools_makes_wheels() -> bool:
    """Those before 70.1 need the package `wheel` besides."""
    try:
        major, minor = importlib.metadata.version("setuptools").split(".")[:2]
    except importlib.metadata.PackageNotFoundError:
        return False
    return (int(major), int(minor)) >= (70, 1)
