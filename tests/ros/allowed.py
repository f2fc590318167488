# SPDX-License-Identifier: Apache-2.0
"""Compares what a running node has opened with what its policy in share/security allows."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from metarl_robot.ros_nodes.security_policy import Opened, opened, read_policy

SHARE = Path(__file__).resolve().parents[2] / "share" / "security"
WITHIN_S = 20.0


def written(name: str) -> dict[str, dict[str, Opened]]:
    """The package's policy of a launch file: processes, and the nodes of each."""
    return read_policy((SHARE / f"{name}.policy.xml").read_text(encoding="utf-8"))


def assert_exactly_allowed(observer: Any, launched: str, process: str, nodes: Set[str] | None = None) -> None:
    """Wait until the nodes of a process (or some of them) have opened what their policy allows, and nothing else."""
    profiles = written(launched)[process]
    for node in profiles.keys() if nodes is None else nodes:
        names = profiles[node]
        end_s = monotonic() + WITHIN_S
        while (have := opened(observer, node)) != names and monotonic() < end_s:
            sleep(0.1)
        assert have == names, f"{node}: {difference(have, names)}"


def difference(have: Opened, names: Opened) -> str:
    """Names that were opened without being allowed, and the reverse."""
    return "; ".join(
        f"{right}: opened without {sorted(mine - theirs)}, allowed without need {sorted(theirs - mine)}"
        for right, mine, theirs in zip(Opened._fields, have, names, strict=True)
        if mine != theirs
    )
