# SPDX-License-Identifier: Apache-2.0
"""Faults of the robot's clock, which stamps its states; the machine's clock is not affected."""

from __future__ import annotations

from metarl_robot.sim.faults_draw import Draw
from metarl_robot.sim.faults_loop import CLOCK_START_S, Fault


def clock_zero(draw: Draw) -> Fault:
    """Stamps are zero."""
    return Fault("stamps are 0", clock=lambda t: 0.0 if draw.during(t) else CLOCK_START_S + t)


def clock_back(draw: Draw) -> Fault:
    """The clock steps back, temporarily or permanently."""
    return _stepped(draw, -draw.magnitude(0.002, 100.0), "goes back by {:.3g} s")


def clock_leap(draw: Draw) -> Fault:
    """The clock jumps ahead, temporarily or permanently."""
    return _stepped(draw, draw.magnitude(0.002, 1000.0), "leaps by {:.3g} s")


def clock_pause(draw: Draw) -> Fault:
    """The clock stands still, then continues from there or from the right time."""
    lost_s = draw.end_s - draw.start_s if draw.chance(0.5) else 0.0

    def clock(time_s: float) -> float:
        if draw.during(time_s):
            return CLOCK_START_S + draw.start_s
        return CLOCK_START_S + time_s - lost_s * (time_s >= draw.end_s)

    return Fault(f"stands for {1e3 * (draw.end_s - draw.start_s):.0f} ms", clock=clock)


def clock_reset(draw: Draw) -> Fault:
    """The clock restarts at zero."""

    def clock(time_s: float) -> float:
        return time_s - draw.start_s if time_s >= draw.start_s else CLOCK_START_S + time_s

    return Fault("starts again at 0", clock=clock)


def _stepped(draw: Draw, by_s: float, words: str) -> Fault:
    for_good = draw.chance(0.5)

    def clock(time_s: float) -> float:
        stepped = draw.during(time_s) or (for_good and time_s >= draw.start_s)
        return CLOCK_START_S + time_s + by_s * stepped

    return Fault(f"{words.format(abs(by_s))}{' for good' if for_good else ''}", clock=clock)


CLOCK = (clock_zero, clock_back, clock_leap, clock_pause, clock_reset)
