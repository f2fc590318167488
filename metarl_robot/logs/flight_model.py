# SPDX-License-Identifier: Apache-2.0
"""A multirotor's accelerations by its physical parameters, beside those of a recording, over short windows.

    m (v̇ - g) = R e_z Σ T_i - R (Σ d Ω_i (v_b + ω × r_i) + p |v_b| v_b)
    J ω̇ = -ω × J ω + Σ (r_i - c) × T_i e_z - (s_i c_τ + c_z) T_i e_z - Σ r_i × d Ω_i (v_b + ω × r_i)
    T_i = γ u_i (1 + κ (u_i / u_h - 1))

v_b = Rᵀ (v - w) is the velocity through the air in body axes, with a constant horizontal wind w of each recording.
d and p are the rotors' and the body's drag. c is the offset of the centre of mass from the rotors' centre. The thrusts
u_i are commands after the motors' lag and a delay; γ is the thrust over the nominal one at hover thrust u_h, κ the
curvature of the curve.

Errors are those of measured accelerations, not of forces: noise of measured accelerations in a regressor would make
inertias seem too small. Velocities are means over `SMOOTHED_S`. The same means are taken of the integrals of the
accelerations that the parameters give, so that both are smoothed alike. The accelerometer is not used: its bias would
look like mass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.window_means import values_at, window_means
from metarl_robot.core import rotation
from metarl_robot.logs.motor_thrusts import lagged
from metarl_robot.logs.recording import COMMANDED, Recording

Array = NDArray[np.float64]

GRAVITY: Array = np.array([0.0, 0.0, -9.81])
SMOOTHED_S = 0.02
WINDOWS_S = (0.2, 0.06)
"""Windows of velocities and of body rates; each begins half a window after the one before."""
GAP_S = 0.1
AIRBORNE = 0.5
"""Thrust over weight above which the robot flies."""
NAMES = (
    *("mass", "thrust", "thrust_curvature", "inertia_x", "inertia_y", "inertia_z", "torque_ratio"),
    *("rotor_drag_across", "rotor_drag_along", "parasitic_drag_x", "parasitic_drag_y", "parasitic_drag_z"),
    *("motor_time_up", "motor_time_down", "delay", "centre_x", "centre_y", "yaw_offset"),
)
AS_LOGARITHM = tuple(
    NAMES.index(name)
    for name in (
        *("mass", "thrust", "inertia_x", "inertia_y", "inertia_z", "torque_ratio", "motor_time_up", "motor_time_down"),
    )
)
"""Coordinates that are logarithms of the value over the nominal one; the others are values."""
WINDS = 2
"""Further coordinates of each recording: the wind w [m/s]."""


def nominal_values(robot: Any) -> Array:
    """Values of NAMES by robot.yaml, in its units; thrust: γ."""
    return np.array(
        [robot.mass_kg, 1.0, 0.0, *np.diagonal(robot.inertia), robot.torque_ratio]
        + [*robot.rotor_drag, *robot.parasitic_drag, *robot.motor_time_s, 0.0, 0.0, 0.0, 0.0]
    )


def values_of(nominal: Array, z: Array) -> Array:
    """Values of NAMES at coordinates z, of which there may be more."""
    made = np.array(z[: len(NAMES)])
    at = list(AS_LOGARITHM)
    made[at] = nominal[at] * np.exp(made[at])
    return made


@dataclass(frozen=True, eq=False)
class Errors:
    """W windows of velocities and of rates. usable: flying, without a gap. middle_s: (W,)."""

    value: tuple[Array, Array]
    usable: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    middle_s: tuple[Array, Array]


class FlightModel:
    """Errors of accelerations in one recording.

    Arguments:
        robot: the nominal one.
        recording: with commands before the motors' lag, if thrusts are not measured.
    """

    def __init__(self, robot: Any, recording: Recording) -> None:
        self._robot, self._recording = robot, recording
        self.nominal = nominal_values(robot)
        self._hover = float(robot.hover_thrust.mean())
        self.has_commands = recording.rotors == COMMANDED
        time_s, q, v = recording.time_s, recording.q, recording.v
        self._steps = np.diff(time_s)[:, None]
        self._attitude = rotation.normalise(0.5 * (q[1:, 3:] + _near(q[1:, 3:], q[:-1, 3:])))
        self._v, self._rate = (0.5 * (each[1:] + each[:-1]) for each in (v[:, :3], v[:, 3:]))
        self._ends = tuple(_ends(time_s, length_s) for length_s in WINDOWS_S)
        self._impulses: dict[tuple[float, float], Array] = {}

    def errors(self, z: Array, wind: Array) -> Errors:
        """Measured accelerations minus those by coordinates z, with a wind (2,) [m/s; world]: (W, 3) each."""
        value = values_of(self.nominal, z)
        linear, angular = self._accelerations(value, wind)
        recording = self._recording
        made = []
        for measured, acceleration, ends in (
            (recording.v[:, :3], linear, self._ends[0]),
            (recording.v[:, 3:], angular, self._ends[1]),
        ):
            integral = np.concatenate([np.zeros((1, 3)), np.cumsum(self._steps * acceleration, axis=0)])
            smooth = window_means(recording.time_s, measured - integral, ends, 0.5 * SMOOTHED_S)
            made.append((smooth[2:] - smooth[:-2]) / (ends[2:] - ends[:-2])[:, None])
        usable = tuple(self._usable(ends) for ends in self._ends)
        return Errors((made[0], made[1]), (usable[0], usable[1]), (self._ends[0][1:-1], self._ends[1][1:-1]))

    def _usable(self, ends: Array) -> NDArray[np.bool_]:
        """Whether (W,) the robot flies during a window and its recording has no gap."""
        time_s = self._recording.time_s
        bad = (self._steps[:, 0] > max(GAP_S, 2.5 * self._recording.period_s)) | (
            self._recording.effort[1:].sum(axis=1) < AIRBORNE * self._robot.mass_kg * -GRAVITY[2]
        )
        counted = np.concatenate([[0], np.cumsum(bad)])
        first = np.clip(np.searchsorted(time_s, ends[:-2] - SMOOTHED_S) - 1, 0, len(bad))
        last = np.clip(np.searchsorted(time_s, ends[2:] + SMOOTHED_S), 0, len(bad))
        return np.asarray(counted[last] == counted[first])

    def _accelerations(self, value: Array, wind: Array) -> tuple[Array, Array]:
        """Mean accelerations (K - 1, 3) between samples [m/s²; world], [rad/s²; body]."""
        of, robot = dict(zip(NAMES, value, strict=True)), self._robot
        u = self._acting(of["motor_time_up"], of["motor_time_down"], of["delay"])
        thrust = of["thrust"] * u * (1.0 + of["thrust_curvature"] * (u / self._hover - 1.0))
        speed = np.sqrt(np.maximum(u, 0.0) / robot.thrust_coefficient)
        places = robot.rotor_positions - np.array([of["centre_x"], of["centre_y"], 0.0])
        v_air = rotation.rotate_back(self._attitude, self._v - np.append(wind, 0.0))
        pull, torque = np.zeros_like(v_air), np.zeros_like(v_air)
        for i, (place, axis) in enumerate(zip(places, robot.rotor_axes, strict=True)):
            hub = v_air + rotation.cross(self._rate, np.broadcast_to(place, self._rate.shape))
            along = (hub @ axis)[:, None] * axis
            drag = -speed[:, [i]] * (of["rotor_drag_across"] * (hub - along) + of["rotor_drag_along"] * along)
            drag += thrust[:, [i]] * axis
            pull += drag
            torque += rotation.cross(np.broadcast_to(place, drag.shape), drag)
            torque -= (robot.spin[i] * of["torque_ratio"] + of["yaw_offset"]) * thrust[:, [i]] * axis
        parasitic = np.array([of[f"parasitic_drag_{axis}"] for axis in "xyz"])
        pull -= parasitic * np.linalg.norm(v_air, axis=1)[:, None] * v_air
        pushed = rotation.rotate(self._attitude, pull)
        inertia = np.array([of[f"inertia_{axis}"] for axis in "xyz"])
        turning = torque - rotation.cross(self._rate, inertia * self._rate)
        return pushed / of["mass"] + GRAVITY, turning / inertia

    def _acting(self, up_s: float, down_s: float, delay_s: float) -> Array:
        """Mean thrusts (K - 1, n) between samples by the nominal curve, after lag and delay [N]."""
        time_s = self._recording.time_s
        impulse = self._impulse(up_s, down_s)
        later = values_at(time_s, impulse, time_s - delay_s)  # linear beyond the ends
        return np.asarray(np.diff(later, axis=0) / self._steps)

    def _impulse(self, up_s: float, down_s: float) -> Array:
        """∫ u dt (K, n) after the lag."""
        key = (up_s, down_s) if self.has_commands else (0.0, 0.0)
        if key not in self._impulses:
            if len(self._impulses) >= _MOST_KEPT:
                self._impulses.clear()
            effort = self._recording.effort
            mean = 0.5 * (effort[1:] + effort[:-1])
            if self.has_commands:
                mean = lagged(_WithLag(self._robot, key), self._recording.time_s[:-1], mean)
            self._impulses[key] = np.concatenate([np.zeros((1, mean.shape[1])), np.cumsum(self._steps * mean, axis=0)])
        return self._impulses[key]


_MOST_KEPT = 4
"""Simulations of the lag that are kept: three of a step of the iteration."""


class _WithLag:
    """A robot's motors with another lag; see motor_thrusts.lagged."""

    def __init__(self, robot: Any, motor_time_s: tuple[float, float]) -> None:
        self.speeds, self.thrusts_of, self.motor_time_s = robot.speeds, robot.thrusts_of, motor_time_s


def _near(q: Array, to: Array) -> Array:
    """Quaternions (K, 4) with the sign that is nearer to others."""
    return np.where((q * to).sum(axis=1, keepdims=True) < 0.0, -to, to)


def _ends(time_s: Array, length_s: float) -> Array:
    """Times between which windows lie, each half as long as a window, within the recording."""
    first, last = time_s[0] + 0.5 * SMOOTHED_S, time_s[-1] - 0.5 * SMOOTHED_S
    count = int((last - first) / (0.5 * length_s))
    return np.asarray(first + 0.5 * length_s * np.arange(count + 1))
