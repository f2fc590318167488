# SPDX-License-Identifier: Apache-2.0
"""Robots with more than four rotors, for tests: the contents of their robot.yaml.

hexa: F550 class (550 mm, 2.4 kg, 9.4 inch propellers, thrust-to-weight 2.2). octo_x8: 3DR X8+ class (pairs of
coaxial rotors that turn opposite ways, 2.6 kg). tilted: the hexarotor with its rotors tilted by 20 degrees about their
arms, alternately left and right, so that it can push sideways while it stays level.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import yaml

from metarl_robot.core.robot import load_robot
from metarl_robot.robots.quadrotor.description import Quadrotor

TILT_DEG = 20.0
NAMES = ("hexa", "octo_x8", "tilted")


def _ring(count: int, radius_m: float, height_m: float, tilt_deg: float = 0.0) -> list[dict[str, Any]]:
    """Rotors at equal angles, turning alternately; tilted about their arms, alternately."""
    rotors: list[dict[str, Any]] = []
    for i in range(count):
        angle, side = math.pi * (2 * i + 1) / count, (-1.0) ** i
        place = [radius_m * math.cos(angle), radius_m * math.sin(angle), height_m]
        lean = side * math.sin(math.radians(tilt_deg))
        axis = [-lean * math.sin(angle), lean * math.cos(angle), math.cos(math.radians(tilt_deg))]
        rotors.append({"position_m": place, "spin": "cw" if i % 2 else "ccw"})
        if tilt_deg:
            rotors[-1]["axis"] = axis
    return rotors


def _coaxial(radius_m: float) -> list[dict[str, Any]]:
    """Four pairs on an X, each with an upper and a lower rotor that turn opposite ways."""
    return [
        {**rotor, "position_m": [*rotor["position_m"][:2], height], "spin": spin}
        for rotor in _ring(4, radius_m, 0.0)
        for height, spin in ((0.03, rotor["spin"]), (-0.03, "cw" if rotor["spin"] == "ccw" else "ccw"))
    ]


def content(name: str) -> dict[str, Any]:
    """The contents of one of NAMES' robot.yaml."""
    hexa: dict[str, Any] = {
        "name": name,
        "kind": "quadrotor",
        "description": "multirotor for tests",
        "base_frame": "base_link",
        "control_rate_hz": 200,
        "payload": {"site": "payload_site", "rated_mass_kg": 0.72, "position_m": [0.0, 0.0, -0.08]},
        "mass_kg": 2.4,
        "inertia_kg_m2": [0.030, 0.030, 0.054],
        "rotors": _ring(6, 0.275, 0.03, TILT_DEG if name == "tilted" else 0.0),
        "thrust_coefficient_n_s2": 1.21e-5,
        "torque_ratio_m": 0.016,
        "rotor_speed_rad_s": [120.0, 850.0],
        "motor_time_s": [0.02, 0.03],
        "thrust_rate_n_s": 1000.0,
        "rotor_drag_n_s2_m": [8.0e-5, 0.0],
        "rotor_radius_m": 0.119,
        "parasitic_drag_n_s2_m2": [0.025, 0.025, 0.035],
        "speed_limit_m_s": 12.0,
        "rate_limit_rad_s": [8.0, 8.0, 3.0],
        "tilt_limit_deg": 60.0,
        "size_m": [0.30, 0.30, 0.12],
    }
    if name == "octo_x8":
        octo = {
            "mass_kg": 2.6,
            "inertia_kg_m2": [0.032, 0.032, 0.058],
            "rotors": _coaxial(0.25),
            "thrust_coefficient_n_s2": 1.05e-5,
            "rotor_speed_rad_s": [100.0, 840.0],
            "rotor_radius_m": 0.14,
        }
        hexa |= octo
    for i, rotor in enumerate(hexa["rotors"]):
        rotor["name"] = f"rotor{i + 1}"
    return hexa


def folder(name: str, parent: Path, **changes: Any) -> Path:
    """A folder with the robot.yaml of one of NAMES, with some keys changed."""
    made = parent / name
    made.mkdir(parents=True, exist_ok=True)
    (made / "robot.yaml").write_text(yaml.safe_dump(content(name) | changes))
    return made


def multirotor(name: str, parent: Path, **changes: Any) -> Quadrotor:
    """One of NAMES, loaded from such a folder."""
    robot = load_robot(folder(name, parent, **changes))
    assert isinstance(robot, Quadrotor)
    return robot


if __name__ == "__main__":
    for each in sys.argv[1:-1]:
        folder(each, Path(sys.argv[-1]))
