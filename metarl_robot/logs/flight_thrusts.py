# SPDX-License-Identifier: Apache-2.0
"""Rotor thrusts of a mapped recording: from thrusts, speeds, shares, pulses, or a collective thrust alone.

A collective thrust does not say how the rotors share it. The torque is then the one that the recorded body rates need
by the nominal model, τ = J dω/dt + ω × J ω. A residual torque is not seen in such a recording; a residual force is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.window_means import values_at, window_means
from metarl_robot.core import rotation
from metarl_robot.core.thrust_polynomial import ThrustPolynomial
from metarl_robot.logs.flight_map import RotorMap
from metarl_robot.logs.log_map import UNITS
from metarl_robot.logs.motor_thrusts import pulse_shares
from metarl_robot.logs.recording import LogError

Array = NDArray[np.float64]

_HALF_WINDOW_S = 0.02
"""Body rates are smoothed over twice this time before they are differentiated."""


def mapped_thrusts(robot: Any, place: RotorMap, values: Array) -> tuple[Array, str]:
    """Thrusts (K, n) [N] before the motors' lag, and how they were found, in words.

    values: (K, n) in the robot's order of rotors and in the map's unit, or (K, 1) collective.
    """
    scaled = values if place.quantity == "pulse" else values * UNITS.get(place.in_unit, 1.0)
    if place.quantity == "speed" and place.polynomial is not None:
        thrusts = np.maximum(ThrustPolynomial(*place.polynomial).thrust(scaled), 0.0)
        return thrusts, "thrusts from rotor speeds, by the polynomial of the map"
    if place.quantity == "speed":
        return robot.thrusts_of(scaled), "thrusts from rotor speeds, by thrust_coefficient_n_s2 of robot.yaml"
    if place.quantity == "share":
        return scaled * robot.effort_limit, "thrusts from shares of the largest thrust, by robot.yaml"
    if place.quantity == "pulse" and place.curve:
        pulses, thrusts = np.array(place.curve).T
        return np.interp(scaled, pulses, thrusts), "thrusts from pulses, by the curve of the map"
    if place.quantity == "pulse":
        share = pulse_shares(scaled, place.pulse_us, place.thrust_factor)
        return share * robot.effort_limit, "thrusts from pulses, by pulse_us of the map and robot.yaml"
    if place.quantity == "collective":
        most = robot.collective(robot.effort_limit)
        whole = {"1": most, "%": most, "m/s2": robot.mass_kg}
        each = scaled * whole.get(place.in_unit, 1.0) / robot.rotor_axes[:, 2].sum()
        return np.tile(each, (1, len(robot.channel_names))), "equal thrusts from a collective thrust"
    return scaled, "thrusts as given"


def with_torques(robot: Any, time_s: Array, rates: Array, thrusts: Array) -> Array:
    """Thrusts (K, n) with the sum of those given, and the torques that the body rates (K, 3) need."""
    at, half = np.clip(time_s, time_s[0] + _HALF_WINDOW_S, time_s[-1] - _HALF_WINDOW_S), _HALF_WINDOW_S
    if time_s[-1] - time_s[0] < 4.0 * half:
        raise LogError(f"a collective thrust needs more than {4.0 * half:g} s of body rates")
    rate = window_means(time_s, rates, at, half)
    change = (values_at(time_s, rates, at + half) - values_at(time_s, rates, at - half)) / (2.0 * half)
    torque = change @ robot.inertia + rotation.cross(rate, rate @ robot.inertia)
    wanted = np.column_stack([(robot.rotor_axes[:, 2] * thrusts).sum(axis=1), torque])
    return np.asarray(robot.unlimited_thrusts(wanted))
