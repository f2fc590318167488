# SPDX-License-Identifier: Apache-2.0
"""Mixing for four rotors or more: right inverses, limits, and what is refused with a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from metarl_robot.core.errors import RobotError
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2
from metarl_robot.robots.quadrotor.mixing import bounded_least_squares, mixing, wrench_map
from tests.multirotors import NAMES, content, multirotor


@pytest.mark.parametrize("count", [4, 5, 6, 8])
def test_mixing_is_a_right_inverse_with_the_least_sideways_force(count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(20):
        axes = rng.normal(size=(count, 3)) * 0.3 + [0.0, 0.0, 1.0]
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
        spin = rng.choice([-1.0, 1.0], count)
        wrenches = wrench_map(rng.uniform(-0.3, 0.3, (count, 3)), axes, spin, 0.02)
        if np.linalg.cond(wrenches[2:]) > 1e4:
            continue
        mixed = mixing(wrenches)
        np.testing.assert_allclose(wrenches[2:] @ mixed, np.eye(4), atol=1e-8)
        if count >= 6:  # six rotors may command all six components
            np.testing.assert_allclose(wrenches[:2] @ mixed, 0.0, atol=1e-6)
        free = np.linalg.svd(wrenches[2:])[2][4:].T
        for change in free.T:  # no other thrusts with this wrench push less
            other = mixed + 0.1 * change[:, None]
            assert np.all(
                np.linalg.norm(wrenches[:2] @ other, axis=0) >= np.linalg.norm(wrenches[:2] @ mixed, axis=0) - 1e-9
            )


def test_bounded_least_squares_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows, wanted = rng.normal(size=(12, 8)), 2.0 * rng.normal(size=12)
        lower, upper = -rng.uniform(0.0, 0.5, 8), rng.uniform(0.0, 0.5, 8)
        found = bounded_least_squares(rows, wanted, lower, upper, np.linalg.lstsq(rows, wanted)[0])
        assert np.all((found >= lower) & (found <= upper))
        np.testing.assert_allclose(found, lsq_linear(rows, wanted, (lower, upper), tol=1e-12).x, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_thrusts_give_the_wrench_where_limits_allow_and_else_roll_and_pitch_first(name: str, tmp_path: Path) -> None:
    robot, rng = multirotor(name, tmp_path), np.random.default_rng(0)
    weight = robot.mass_kg * GRAVITY_M_S2
    reach = np.abs(robot.allocation) @ (robot.effort_limit - robot.effort_lower) / 2.0
    for _ in range(100):
        torque = 0.2 * reach[1:] * rng.uniform(-1.0, 1.0, 3)
        thrusts = robot.thrusts(weight, torque)
        np.testing.assert_allclose(robot.allocation @ thrusts, [weight, *torque], atol=1e-9 * weight)
    for _ in range(100):
        collective, torque = rng.uniform(0.3, 2.5) * weight, reach[1:] * rng.uniform(-1.0, 1.0, 3) * [0.4, 0.4, 3.0]
        for reserve in (0.0, 0.15):
            thrusts = robot.thrusts(collective, torque, reserve)
            assert np.all((thrusts >= robot.effort_lower) & (thrusts <= robot.effort_limit))
            off = np.abs(robot.allocation @ thrusts - [collective, *torque]) / reach
            assert off[1:3].max() <= 0.05, "roll and pitch torque give way last"


def test_a_yaw_torque_within_the_reserve_comes_before_collective_thrust(tmp_path: Path) -> None:
    robot = multirotor("hexa", tmp_path)
    most = robot.collective(robot.effort_limit)
    reach = float(np.abs(robot.allocation[3]) @ (robot.effort_limit - robot.effort_lower))
    wanted = np.array([0.0, 0.0, 0.1 * reach])
    without, reserved = (robot.allocation @ robot.thrusts(most, wanted, reserve) for reserve in (0.0, 0.15))
    assert without[3] < 0.1 * wanted[2] and reserved[3] > 0.9 * wanted[2]
    assert reserved[0] > 0.8 * most


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rotors": content("hexa")["rotors"][:3]}, "rotors: .*needs 4 to 16 rotors; given 3"),
        (
            {"rotors": [{**rotor, "spin": "cw"} for rotor in content("hexa")["rotors"]]},
            r"nothing turns the body about z; let half of the rotors turn the other way \(spin\)",
        ),
        (
            {"rotors": [{**r, "position_m": [r["position_m"][0], 0.0, 0.0]} for r in content("hexa")["rotors"]]},
            r"their hubs are on one line; place them around the centre of mass \(position_m\)",
        ),
        (
            {"rotors": [{**r, "axis": [0.0, 0.4, 1.0]} for r in content("hexa")["rotors"]]},
            "push sideways with .* tilt rotors in pairs whose sideways forces cancel",
        ),
        (
            {"rotors": [{**r, "position_m": [r["position_m"][0] + 0.24, *r["position_m"][1:]]}
                        for r in content("hexa")["rotors"]]},
            "a level hover needs .* the body's origin is its centre of mass",
        ),
        ({"rotors": [{**r, "axis": [0.0, 0.0, 0.0]} for r in content("hexa")["rotors"]]}, "needs a length"),
    ],
    ids=["three", "one direction", "one line", "sideways", "off the centre", "no axis"],
)  # fmt: skip
def test_what_cannot_be_flown_is_refused_with_a_remedy(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RobotError, match=said):
        multirotor("hexa", tmp_path, **changes)
