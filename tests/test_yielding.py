# SPDX-License-Identifier: Apache-2.0
"""The reference while an autopilot flies by itself: the measured place, until a trajectory is sent."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.trajectories.flat_outputs import Outputs
from metarl_robot.trajectories.reference_manager import ReferenceManager
from metarl_robot.trajectories.yielding import Yielding

ROBOT = load_robot("crazyflie", check_model=False)


def at(*place: float, velocity: float = 0.0) -> State:
    return State(np.array([*place, 1.0, 0.0, 0.0, 0.0]), np.array([velocity, *np.zeros(5)]))


@pytest.fixture
def references() -> ReferenceManager:
    made = ReferenceManager(ROBOT)
    made.brake(at(0.0, 0.0, 0.0), 0.0)
    return made


def wanted(references: ReferenceManager, time_s: float) -> np.ndarray:
    assert references.current is not None
    return references.current.sample(np.array([time_s])).q[0, :3]


def send(references: ReferenceManager, yielding: Yielding, place: tuple[float, ...], now_s: float) -> None:
    references.offer(np.array([now_s + 3.0]), Outputs(np.array([[*place, 0.0]]), None, None), now_s)
    yielding.accepted()


def test_the_reference_goes_along_until_commands_act_and_comes_to_rest_there(references: ReferenceManager) -> None:
    yielding = Yielding(references)
    for k in range(1, 4):
        yielding.look(True, at(0.1 * k, 0.0, 1.0, velocity=1.0), 0.1 * k)
        assert wanted(references, 0.1 * k) == pytest.approx([0.1 * k, 0.0, 1.0])
    yielding.look(False, at(0.4, 0.0, 1.0, velocity=1.0), 0.4)
    assert wanted(references, 0.4) == pytest.approx([0.4, 0.0, 1.0], abs=1e-6)
    (slope,) = (wanted(references, 0.401) - wanted(references, 0.4))[:1] / 0.001
    assert slope == pytest.approx(1.0, abs=0.02)
    rest = wanted(references, 10.0)
    assert 0.6 < rest[0] < 1.4
    yielding.look(False, at(0.5, 0.0, 1.0), 0.5)
    assert wanted(references, 10.0) == pytest.approx(rest)  # nothing changes while commands act


def test_a_trajectory_that_is_sent_while_the_autopilot_flies_is_kept(references: ReferenceManager) -> None:
    yielding = Yielding(references)
    yielding.look(True, at(0.0, 0.0, 1.0), 0.1)
    send(references, yielding, (0.0, 0.0, 2.0), 0.1)
    for others in (True, False):
        yielding.look(others, at(0.0, 0.0, 0.9), 0.2)
        assert wanted(references, 20.0) == pytest.approx([0.0, 0.0, 2.0])


def test_a_trajectory_before_any_report_of_the_autopilot_is_kept(references: ReferenceManager) -> None:
    yielding = Yielding(references)
    send(references, yielding, (0.0, 0.0, 2.0), 0.1)
    yielding.look(True, at(0.0, 0.0, 0.0), 0.2)
    assert wanted(references, 20.0) == pytest.approx([0.0, 0.0, 2.0])


def test_a_trajectory_that_was_followed_is_dropped_when_the_autopilot_takes_over(references: ReferenceManager) -> None:
    yielding = Yielding(references)
    yielding.look(False, at(0.0, 0.0, 1.0), 0.1)
    send(references, yielding, (0.0, 0.0, 2.0), 0.1)
    yielding.look(False, at(0.0, 0.0, 1.1), 0.2)
    assert wanted(references, 20.0) == pytest.approx([0.0, 0.0, 2.0])
    yielding.look(True, at(0.0, 0.0, 1.2), 0.3)
    assert wanted(references, 20.0) == pytest.approx([0.0, 0.0, 1.2])
