# SPDX-License-Identifier: Apache-2.0
"""Machine of a benchmark: processor, system and versions."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "numpy", "scipy", "casadi", "mujoco", "torch", "ros-rclpy",
    "do-mpc", "comma-deps-acados", "l4casadi", "torchopt", "higher",
)  # fmt: skip


def machine() -> str:
    """One line: processor, number of processors, memory, system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} processors, {memory:.0f} GiB, {platform.system()} "
        f"{platform.machine()}"
    )


def today() -> str:
    """The date (UTC), as 2026-11-23."""
    return datetime.now(UTC).date().isoformat()


def versions() -> dict[str, str]:
    """Versions of Python and of every package in use; 'not installed' for a missing one."""
    return {"python": ".".join(map(str, sys.version_info[:3])), **{name: _version(name) for name in _PACKAGES}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
