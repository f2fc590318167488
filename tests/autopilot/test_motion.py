# SPDX-License-Identifier: Apache-2.0
"""Full-state setpoints lie on the motion of the nominal robot under the command, a short time ahead."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.quadrotor.autopilot.commander import Commander, Settings
from metarl_robot.robots.quadrotor.autopilot.motion import motion_ahead
from metarl_robot.robots.quadrotor.autopilot.offboard import Vehicle
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2

ROBOT = load_robot("crazyflie", check_model=False)
LOOP_S = 0.02
DOWN = np.array([0.0, 0.0, -GRAVITY_M_S2])


def random_state(rng: np.random.Generator) -> State:
    q = np.concatenate([rng.normal(0.0, 1.0, 3), rotation.normalise(rng.normal(0.0, 1.0, 4))])
    return State(q, rng.normal(0.0, 1.0, 6))


def test_it_is_where_the_nominal_robot_is_then() -> None:
    """Against an integration with 1000 steps, with ẇ = (w_c - w) / T."""
    rng = np.random.default_rng(0)
    for lead_s in (0.0, 0.005, 0.02):
        state, force, rates = random_state(rng), float(rng.uniform(2.0, 18.0)), rng.normal(0.0, 2.0, 3)
        got = motion_ahead(state, force, rates, lead_s, LOOP_S)
        place, velocity, q, rate = state.q[:3].copy(), state.v[:3].copy(), state.q[3:], state.v[3:].copy()
        for _ in range(1000):
            dt = lead_s / 1000
            acceleration = force * rotation.to_matrix(q)[:, 2] + DOWN
            place, velocity = place + dt * velocity, velocity + dt * acceleration
            q, rate = rotation.integrate(q, rate, dt), rate + dt * (rates - rate) / LOOP_S
        assert got.position == pytest.approx(place, abs=3e-4) and got.velocity == pytest.approx(velocity, abs=0.02)
        assert np.linalg.norm(rotation.error(got.q, q)) < 0.02
        assert got.acceleration == pytest.approx(force * rotation.to_matrix(q)[:, 2] + DOWN, abs=0.3)
        assert np.array_equal(got.rates, rates)


def test_a_setpoint_tells_the_force_of_its_thrust_and_leads_by_the_age_of_the_state() -> None:
    commander = Commander(ROBOT, Settings(lead_s=0.01))
    level = np.array([1.0, 2.0, 3.0, 1.0, 0.0, 0.0, 0.0])
    moving = State(level, np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    commander.report(0.0, Vehicle(True, False, "its own"))
    commander.state(10**9, moving)
    commander.inertial(0.0, 10**9, Inertial(-DOWN, np.zeros(3)))
    setpoint = commander.setpoint(0.0, 10**9 + 20_000_000, 10**9, 1.2 * ROBOT.hover_thrust)
    assert setpoint is not None and setpoint.motion is not None
    assert setpoint.motion.position == pytest.approx([1.03, 2.0, 3.0], abs=1e-3)
    share = commander.curve.hover_thrust
    assert share * ROBOT.effort_limit.sum() == pytest.approx(ROBOT.mass_kg * GRAVITY_M_S2, rel=1e-6)
    wanted = setpoint.thrust * ROBOT.effort_limit.sum() / ROBOT.mass_kg - GRAVITY_M_S2
    assert setpoint.motion.acceleration == pytest.approx([0.0, 0.0, wanted]) and wanted > 1.0
    assert Commander(ROBOT, Settings()).setpoint(0.0, 0, 0, ROBOT.hover_thrust) is None
