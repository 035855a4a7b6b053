"""Facts about the machine, for whoever reads the numbers later."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

from bench.peers.wraith import wraith_program


def facts() -> dict[str, str]:
    """CPU, cores, kernel, Python, versions of the programs, and how busy the machine was."""
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version() + _build(),
        "openssh": _first_line(["ssh", "-V"]),
        "wraith": _first_line([wraith_program() or "wraith", "--version"]),
        "commit": _first_line(["git", "rev-parse", "--short", "HEAD"]),
        "load at the start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _build() -> str:
    """Whose build of Python it is: one without optimisations runs all of this a fifth slower."""
    if sys.base_prefix == "/usr":
        return " of the distribution"
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return " built by hand" + ("" if optimised else " without optimisations")


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return platform.processor() or "unknown"


def _first_line(argv: list[str]) -> str:
    """What a program says of its version; empty when it cannot."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines and done.returncode == 0 else ""
