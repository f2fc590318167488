# SPDX-License-Identifier: Apache-2.0
"""Check that the nominal vehicle can drive a reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.signals import Reference
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground

Array = NDArray[np.float64]

_TOLERANCE = 1e-6  # relative: a reference may touch a limit exactly
_SLOW_M_S = 0.05
"""Below this speed the curvature is not checked."""


def check_motion_limits(robot: Ground, reference: Reference, start_s: float, duration_s: float, rate_hz: float) -> None:
    """Check a reference from start_s for duration_s, sampled at rate_hz.

    Raises:
        SignalError: a wrong size, a value that is not finite, or a speed, a yaw rate, a curvature or an acceleration
            beyond the nominal vehicle's; the message names quantity, value, time and limit.
    """
    times = start_s + np.linspace(0.0, duration_s, max(2, int(np.ceil(duration_s * rate_hz)) + 1))
    points = reference.sample(times)
    for name, values in (("position", points.q), ("velocity", points.v), ("acceleration", points.a)):
        if values.shape != (len(times), robot.dof):
            raise SignalError(f"reference: {name} has {values.shape[-1]} columns; {robot.name} has x, y, yaw")
        if not np.all(np.isfinite(values)):
            raise SignalError(f"reference: {name} is not finite")
    speed, acceleration = (np.linalg.norm(values[:, :2], axis=1) for values in (points.v, points.a))
    curvature = np.abs(points.v[:, 2]) / np.maximum(speed, _SLOW_M_S)
    steepest = np.inf
    if robot.is_steered:
        steepest = float(np.tan(robot.effort_limit[0])) / robot.wheelbase_m
    needs = (
        ("speed", speed, robot.velocity_limit[0], "m/s"),
        ("yaw rate", np.abs(points.v[:, 2]), robot.velocity_limit[2], "rad/s"),
        ("curvature", np.where(speed > _SLOW_M_S, curvature, 0.0), steepest, "1/m"),
        ("acceleration", acceleration, robot.friction * GRAVITY_M_S2, "m/s^2"),
    )
    for name, values, limit, unit in needs:
        worst = int(np.argmax(values))
        if values[worst] > limit * (1.0 + _TOLERANCE):
            raise SignalError(
                f"reference: {name} reaches {values[worst]:.3g} {unit} at {times[worst]:.3f} s; {robot.name} allows "
                f"{limit:.3g} {unit}"
            )
