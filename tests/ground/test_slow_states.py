# SPDX-License-Identifier: Apache-2.0
"""States that come more slowly than control_rate_hz: the adapter learns from them, and plans know what commands may do.

A filter for the control period took each interval for a gap and kept its prior, without a word.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Command, Status
from metarl_robot.robots.ground.context_names import FRICTION
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.flat_outputs import GroundOutputs
from metarl_robot.sim.kinds import simulation

CONTROL_HZ, WET_FRICTION = 100, 0.75


class Drive(NamedTuple):
    """Distances from the path (K,) [m], and all commands (one fewer for each state that was left out)."""

    errors: NDArray[np.float64]
    commands: list[Command]


@lru_cache(maxsize=8)
def driven(name: str, periods: int, steering_rate_rad_s: float = 3.2) -> Drive:
    """A figure eight on a wet road, with a state every few control periods."""
    robot = load_robot("f1tenth")
    assert isinstance(robot, Ground)
    robot.effort_rate_limit = np.array([steering_rate_rad_s, robot.effort_rate_limit[1]])
    reference, room = GroundOutputs(robot).motion("figure_eight", np.random.default_rng(0), 8.0), simulation(robot)
    plant = room.plant(replace(room.nominal_task(), friction=WET_FRICTION))
    line, controller = reference.sample(np.arange(0.0, 8.0, 0.005)).q[:, :2], make_controller(robot, name)
    state, commands, errors = plant.reset(reference.sample(np.zeros(1)).q[0]), [], []
    for k in range(5 * CONTROL_HZ // periods):
        commands.append(controller.step(0.01 * periods * k, state, reference))
        for _ in range(periods):
            state = plant.step(commands[-1].effort, 0.01)
        errors.append(np.min(np.linalg.norm(line - state.q[:2], axis=1)))
    return Drive(np.array(errors), commands)


def test_the_context_is_learned_at_any_rate_of_the_states() -> None:
    """Of states at 25 Hz instead of 100 Hz, the deviation of the friction fell by nothing at all."""
    first, last = (driven("meta_mpc", 4).commands[k].context[FRICTION][1] for k in (1, -1))
    assert last < 0.8 * first


def test_learning_from_slow_states_is_never_worse_than_observing() -> None:
    learned, observed = (driven(name, 4).errors for name in ("meta_mpc", "offset_free_mpc"))
    tail = slice(len(learned) // 5, None)
    assert np.sqrt(np.mean(learned[tail] ** 2)) < 1.05 * np.sqrt(np.mean(observed[tail] ** 2)) + 0.005


def test_states_much_slower_than_the_control_rate_are_named() -> None:
    slow, usual = driven("meta_mpc", 4).commands[-1], driven("meta_mpc", 2).commands[-1]
    assert slow.status is Status.DEGRADED and "states come at 25 Hz" in slow.message
    assert "control_rate_hz of robot.yaml is 100" in slow.message
    assert usual.status is Status.SOLVED, usual.message


@pytest.mark.parametrize("periods", [1, 4])
def test_a_plan_changes_its_commands_no_faster_than_they_may(periods: int) -> None:
    """At each state a command changes by one control period's change; 1e-6 is for rounding."""
    rate_rad_s = 0.4
    for command in driven("offset_free_mpc", periods, rate_rad_s).commands[10:]:
        assert command.plan is not None
        since_s = command.plan.times - command.plan.times[0]
        away_rad = np.abs(command.plan.effort[:, 0] - command.effort[0])
        assert np.all(away_rad <= rate_rad_s * (since_s / periods + 0.02) + 1e-6)  # the first may be either way
