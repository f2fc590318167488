# SPDX-License-Identifier: Apache-2.0
"""Rotor thrusts from what an autopilot logs: speeds, normalised thrusts, or pulses.

PX4: `actuator_motors` holds each thrust as a share of the largest. A mixer turns it into a pulse between MIN and MAX by
the inverse of the curve of THR_MDL_FAC (core/thrust_polynomial.py).
The largest thrust is that of robot.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from metarl_robot.core.thrust_polynomial import ThrustPolynomial
from metarl_robot.logs.recording import LogError

Array = NDArray[np.float64]

_QUAD_X: Array = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
"""Places (forward, right) of PX4's motors 1 to 4 where the log has no geometry."""
_PULSE_US = (1000.0, 2000.0)
_FARTHEST = 0.5
"""Farthest place of a motor from that of robot.yaml, share of the mean distance from the body's origin."""


@dataclass(frozen=True)
class Signal:
    """One topic's field of one value a motor. kind: speed [rpm], share of the largest thrust, or pulse [µs].

    field: its name, with {} for the motor's number from 0.
    """

    kind: str
    field: str

    @property
    def measured(self) -> bool:
        """Whether these are the motors' states, not commands."""
        return self.kind == "speed"

    def of(self, data: Mapping[str, Any], motors: int) -> Array | None:
        """Values (K, motors); None: the topic has other fields. Motors that are off (NaN) have zero."""
        fields = [self.field.format(i) for i in range(motors)]
        if any(name not in data for name in fields):
            return None
        return np.nan_to_num(np.stack([np.asarray(data[name], dtype=np.float64) for name in fields], axis=1))


ROTORS: Mapping[str, Signal] = MappingProxyType(
    {
        "esc_status": Signal("speed", "esc[{}].esc_rpm"),
        "actuator_motors": Signal("share", "control[{}]"),
        "actuator_outputs": Signal("pulse", "output[{}]"),
    }
)
"""Topics by preference."""


def thrusts_of(robot: Any, signal: Signal, values: Array, parameters: Mapping[str, Any]) -> tuple[Array, str]:
    """Thrusts (K, n) [N], those commanded if speeds were not measured, and how they were found, in words."""
    if signal.measured:
        return robot.thrusts_of(2.0 * np.pi / 60.0 * values), "thrusts from the motors' speeds, by robot.yaml"
    if signal.kind == "share":
        return values * robot.effort_limit, "thrusts from normalised commands, by largest thrust and lag of robot.yaml"
    least, most = (
        float(parameters.get(f"PWM_MAIN_{end}1", usual)) for end, usual in zip(("MIN", "MAX"), _PULSE_US, strict=True)
    )
    factor = float(parameters.get("THR_MDL_FAC", 0.0))
    words = f"thrusts from pulses of {least:g} to {most:g} µs with THR_MDL_FAC {factor:g}, by robot.yaml"
    return pulse_shares(values, (least, most), factor) * robot.effort_limit, words


def pulse_shares(pulses: Array, ends: tuple[float, float], factor: float) -> Array:
    """Shares of the largest thrust of pulses, any shape; ends: pulses of no and of the largest thrust."""
    signals = np.clip((pulses - ends[0]) / (ends[1] - ends[0]), 0.0, 1.0)
    return ThrustPolynomial.of_factor(factor).thrust(signals)


def rotor_order(robot: Any, parameters: Mapping[str, Any]) -> list[int]:
    """Index of the log's motor for each rotor of the robot.

    Raises LogError where the log's motors are at other places.
    """
    if robot.nu > len(_QUAD_X):
        return _order_of_many(robot, parameters)
    named = [f"CA_ROTOR{i}_P{axis}" for i in range(len(_QUAD_X)) for axis in "XY"]
    known = all(name in parameters for name in named)
    places = np.array([float(parameters[name]) for name in named]).reshape(-1, 2) if known else _QUAD_X
    here = robot.rotor_positions[:, :2] * np.array([1.0, -1.0])
    nearer = _directions(here) @ _directions(places).T
    order = nearer.argmax(axis=1).tolist()
    if sorted(order) != list(range(len(_QUAD_X))) or nearer.max(axis=1).min() < np.cos(np.deg2rad(30.0)):
        raise LogError(
            "the log's motors (CA_ROTOR*_PX, _PY, or Quadrotor X) are not in the directions of the rotors in robot.yaml"
        )
    return [int(each) for each in order]


def _order_of_many(robot: Any, parameters: Mapping[str, Any]) -> list[int]:
    """The same for more than four rotors, by place and direction of rotation; coaxial rotors differ in both."""
    named = [f"CA_ROTOR{i}_{of}" for i in range(robot.nu) for of in ("PX", "PY", "PZ", "KM")]
    missing = [name for name in named if name not in parameters and not name.endswith("PZ")]
    if missing:
        raise LogError(f"the log lacks {missing[0]}: the order of {robot.nu} motors follows from their places only")
    logged = np.array([float(parameters.get(name, 0.0)) for name in named]).reshape(-1, 4)
    places = logged[:, :3] * np.array([1.0, -1.0, -1.0]) - robot.rotor_positions[:, None]
    size = np.linalg.norm(robot.rotor_positions, axis=1).mean()
    other = robot.spin[:, None] != np.sign(logged[:, 3])
    cost = np.linalg.norm(places, axis=2) / size + other
    rows, order = linear_sum_assignment(cost)
    if cost[rows, order].max() > _FARTHEST:
        raise LogError("the log's motors (CA_ROTOR*) are not at the places of the rotors in robot.yaml")
    return [int(each) for each in order]


def _directions(places: Array) -> Array:
    return places / np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-9)


def lagged(robot: Any, time_s: Array, thrusts: Array) -> Array:
    """Mean thrusts (K, n) [N] that act from each time until the next, of motors with a lag.

    Speeds follow with a first-order lag, separate for speeding up and slowing down (robot.yaml: motor_time_s).
    """
    commanded, made = robot.speeds(thrusts), np.empty_like(thrusts)
    steps = np.diff(time_s, append=2.0 * time_s[-1] - time_s[-2])
    speed, (up, down) = commanded[0], robot.motor_time_s
    for k, step_s in enumerate(steps):
        ratio = step_s / np.where(commanded[k] > speed, up, down)
        gap, target = speed - commanded[k], commanded[k]
        once, twice = (1.0 - np.exp(-ratio)) / ratio, (1.0 - np.exp(-2.0 * ratio)) / (2.0 * ratio)
        made[k] = robot.thrusts_of(1.0) * (target**2 + 2.0 * target * gap * once + gap**2 * twice)
        speed = target + gap * np.exp(-ratio)
    return made
