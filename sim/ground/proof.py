# SPDX-License-Identifier: Apache-2.0
"""Test whether a run can be driven without foresight: by `oracle_mpc`, which gets the ground when the vehicle is on it.

It drives the whole run, with the run's noise, latency and speeds.
"""

from __future__ import annotations

from metarl_robot.control.factory import make_controller
from metarl_robot.robots.ground.description import Ground
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.ground.oracle import make_oracle
from metarl_robot.sim.ground.task import GroundTask
from metarl_robot.sim.scenario import Scenario
from metarl_robot.sim.settling import ORACLE

LEAST_MARGIN_M = 0.02
"""Least distance of the outline from the edges [m]."""


def stays_on_course(robot: Ground, scenario: Scenario[GroundTask]) -> bool:
    """Whether the oracle keeps its outline within the course's edges and does not spin."""
    oracle = make_controller(robot, ORACLE, oracle=make_oracle)
    measures = run_episode(robot, lambda _: oracle, scenario, ORACLE).result.measures
    margin_m = measures["least_margin_m"]
    return margin_m is not None and margin_m > LEAST_MARGIN_M and measures["spins"] == 0.0
