# SPDX-License-Identifier: Apache-2.0
"""A robot with no friction beyond its description, as in many simulators; training robots all have more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.kinds import simulation

AFTER_S = 3.0
WITHIN_KG = 0.08  # without the hypothesis the payload is 0.11 to 0.13 kg too heavy after 3 s


def test_a_payload_is_not_too_heavy_on_a_robot_without_further_friction() -> None:
    """The demo's robot and payload, in lockstep."""
    robot = load_robot("panda")
    simulated = simulation(robot)
    demo = simulated.demo(0)
    scenario = replace(
        simulated.scenario("heldout", "pickup", 0),
        initial=demo.before,
        changes=tuple((change.time_s, change.task) for change in demo.changes),
        noise_seed=1001,
        duration_s=demo.change_s + AFTER_S + 0.1,
        estimates_after_s=(1.0, AFTER_S),
    )
    found = run_episode(robot, lambda _: make_controller(robot, "meta_mpc"), scenario).result.estimates
    errors = [value for name, value in found.items() if name.startswith("payload_mass_error_kg")]
    assert len(errors) == 2
    np.testing.assert_allclose(np.array(errors, dtype=np.float64), 0.0, atol=WITHIN_KG)
