# SPDX-License-Identifier: Apache-2.0
"""Status messages that tell a reference's sender whether it was accepted."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus

from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.ros_nodes.convert import nanoseconds, status_message
from metarl_robot.trajectories.reference_manager import Taken

NAME = "mpc: reference"


def reference_id(message: Any) -> str:
    """The stamp and frame of a reference's header, as its sender set them: `12.500000000 base_link`."""
    seconds, rest = divmod(nanoseconds(message.header.stamp), NANOSECONDS)
    return f"{seconds}.{rest:09d} {message.header.frame_id}".rstrip()


def accepted(message: Any, topic: str, taken: Taken, now_s: float) -> DiagnosticStatus:
    """Report that the reference is followed from `begins_s` on; WARN if it was changed."""
    ahead_s = taken.begins_s - now_s
    words = [f"it begins in {ahead_s:.3f} s"] if ahead_s > 0.0 else []
    reason = "; ".join([*words, *taken.remarks])
    level = DiagnosticStatus.WARN if taken.remarks else DiagnosticStatus.OK
    values = {"begins_s": f"{taken.begins_s:.9f}", "ends_s": f"{taken.ends_s:.9f}"}
    return _status(level, f"accepted{': ' if reason else ''}{reason}", message, topic, True, reason, values, now_s)


def refused(message: Any, topic: str, reason: str, now_s: float | None) -> DiagnosticStatus:
    """Report that the reference is refused and the old one kept."""
    nothing = {"begins_s": "", "ends_s": ""}
    return _status(DiagnosticStatus.ERROR, f"refused: {reason}", message, topic, False, reason, nothing, now_s)


def _status(
    level: bytes,
    text: str,
    message: Any,
    topic: str,
    taken: bool,
    reason: str,
    when: dict[str, str],
    now_s: float | None,
) -> DiagnosticStatus:
    time = "" if now_s is None else f"{now_s:.9f}"
    values = {"id": reference_id(message), "topic": topic, "accepted": taken, "reason": reason, **when, "time_s": time}
    return status_message(NAME, level, text, values)
