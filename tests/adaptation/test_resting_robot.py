# SPDX-License-Identifier: Apache-2.0
"""A resting robot: a force that moves it away is told from one that the controller applies, and from friction."""

from __future__ import annotations

import numpy as np

import metarl_robot as mr
from metarl_robot.adaptation.resting_robot import LEFT_RAD, PULL_S, REST_S, RestingRobot

DT, STIFFNESS, STILL = 0.005, 1600.0, np.zeros(2)
FORCE = np.array([2.0, -1.0])


def rested() -> RestingRobot:
    robot = RestingRobot(np.full(2, 2.0))
    for _ in range(round(REST_S / DT) + 1):
        robot.update(mr.State(STILL, STILL), STILL, DT)
        robot.undisturbed(mr.State(STILL, STILL), STILL, DT)
    return robot


def moved(away: np.ndarray, pull: np.ndarray, force: np.ndarray = FORCE) -> np.ndarray:
    """The driving part of a force, after the robot has moved by `away` under this pull of the tracking."""
    robot = rested()
    for _ in range(round(5.0 * PULL_S / DT)):
        state, effort = mr.State(away, STILL), pull - force
        robot.update(state, effort, DT)
        robot.disturbed(state, effort, force, DT)
    return robot.driving(force)


def test_a_force_that_moves_a_robot_against_its_tracking_drives_it() -> None:
    away = FORCE / STIFFNESS
    np.testing.assert_array_equal(moved(away, -STIFFNESS * away), FORCE)


def test_a_force_along_a_commanded_motion_does_not_drive_it() -> None:
    away = FORCE / STIFFNESS
    assert not moved(away, STIFFNESS * away).any()


def test_friction_that_stops_a_motion_does_not_drive_it() -> None:
    away = -FORCE / STIFFNESS
    assert not moved(away, -STIFFNESS * away).any()


def test_joints_moved_against_the_force_are_left_out_of_it() -> None:
    away = np.array([2e-3, 5e-4])
    np.testing.assert_array_equal(moved(away, -STIFFNESS * away), [FORCE[0], 0.0])


def test_motions_within_the_measurement_error_show_nothing() -> None:
    away = 1e-5 * FORCE
    assert not moved(away, -STIFFNESS * away).any()


def test_a_robot_that_has_left_no_longer_rests_until_it_rests_again() -> None:
    robot, there = rested(), np.array([1.1 * LEFT_RAD, 0.0])
    assert robot.known
    robot.update(mr.State(there, STILL), STILL, DT)
    assert not robot.known
    for _ in range(round(REST_S / DT) + 1):
        robot.update(mr.State(there, STILL), STILL, DT)
    assert robot.known and robot.slow
    robot.update(mr.State(there, np.array([0.0, 0.5])), STILL, DT)
    assert not robot.known and not robot.slow
