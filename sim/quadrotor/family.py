# SPDX-License-Identifier: Apache-2.0
"""Random quadrotors from 30 g to 2.5 kg, to train a model for quadrotors of any size.

A member's mass is drawn log-uniformly. Arms, inertia, rotors and drag scale with size as on built quadrotors, each with
its own random factor: arms with the cube root of the mass, inertia with mass times arm squared,
parasitic drag with arm squared, agility with the inverse square root of the arm.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor, QuadrotorFile

MEMBERS = 60
_ENTROPY = 7000
_MASS_KG = (0.03, 2.5)
_THRUST_TO_WEIGHT = (1.7, 4.0)
_MOTOR_TIME_S = (0.005, 0.075)
_REFERENCE = (2.0, 0.24)  # a quadrotor of 2 kg has arms of 0.24 m


@lru_cache(maxsize=MEMBERS)
def member(index: int) -> Quadrotor:
    """One of `MEMBERS` quadrotors; the same index gives the same quadrotor."""
    rng = np.random.default_rng([_ENTROPY, index])
    mass = float(np.exp(rng.uniform(*np.log(_MASS_KG))))
    arm = _REFERENCE[1] * (mass / _REFERENCE[0]) ** (1.0 / 3.0) * rng.uniform(0.8, 1.25)
    place, height = arm / np.sqrt(2.0), rng.uniform(0.0, 0.25) * arm
    across = mass * arm**2 * rng.uniform(0.14, 0.32)
    fastest, thrust = 3000.0 * (0.03 / mass) ** 0.25, rng.uniform(*_THRUST_TO_WEIGHT) * mass * GRAVITY_M_S2 / 4.0
    hover = fastest * np.sqrt(mass * GRAVITY_M_S2 / 4.0 / thrust)
    drag = rng.uniform(0.1, 0.5) * mass / (4.0 * hover)
    area = rng.uniform(0.1, 0.4) * arm**2
    motor = float(np.exp(rng.uniform(*np.log(_MOTOR_TIME_S))))
    speed = float(np.clip(12.0 * (mass / 2.0) ** (1.0 / 6.0), 4.0, 12.0))
    agility = float(np.clip(8.0 * (0.24 / arm) ** 0.5, 8.0, 20.0))
    corners = ((1, -1, "ccw"), (-1, 1, "ccw"), (1, 1, "cw"), (-1, -1, "cw"))
    content = {
        "name": f"member{index}",
        "kind": "quadrotor",
        "description": f"member {index} of the family, {mass:.3g} kg",
        "base_frame": "base_link",
        "control_rate_hz": 200.0,
        "payload": {
            "site": "payload_site",
            "rated_mass_kg": 0.3 * mass,
            "position_m": (0.0, 0.0, -rng.uniform(0.15, 0.4) * arm),
        },
        "mass_kg": mass,
        "inertia_kg_m2": (across, across * rng.uniform(0.9, 1.1), across * rng.uniform(1.6, 1.85)),
        "rotors": [
            {"name": f"rotor{i + 1}", "position_m": (x * place, y * place, height), "spin": spin}
            for i, (x, y, spin) in enumerate(corners)
        ],
        "thrust_coefficient_n_s2": thrust / fastest**2,
        "torque_ratio_m": rng.uniform(0.06, 0.2) * arm,
        "rotor_speed_rad_s": (0.12 * fastest, fastest),
        "motor_time_s": (motor, motor * rng.uniform(1.0, 2.0)),
        "thrust_rate_n_s": 200.0 * thrust,
        "rotor_drag_n_s2_m": (drag, drag * rng.uniform(0.0, 1.5)),
        "rotor_radius_m": 0.5 * arm,
        "parasitic_drag_n_s2_m2": (area, area * rng.uniform(0.9, 1.1), area * rng.uniform(1.0, 2.0)),
        "speed_limit_m_s": speed,
        "rate_limit_rad_s": (agility, agility, 0.4 * agility),
        "tilt_limit_deg": 60.0,
        "size_m": (arm, arm, 0.4 * arm),
    }
    return Quadrotor(QuadrotorFile.model_validate(content), Path(f"member{index}"))
