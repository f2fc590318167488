# SPDX-License-Identifier: Apache-2.0
"""A driven joint of a new robot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JointLimit:
    """A driven joint of the new robot [rad, rad/s, Nm, Nm/s; of a slide m, m/s, N, N/s].

    is_limited: whether the file limits its position.
    """

    name: str
    is_slide: bool
    is_limited: bool
    position: tuple[float, float]
    velocity: float
    effort: float
    effort_rate: float
    home: float
    armature: float
    damping: float
