# SPDX-License-Identifier: Apache-2.0
"""Joints that turn without end: wrapped angles are continued, and references go the short way."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.core.robot import MODELS_DIR, Robot, load_robot
from metarl_robot.core.signals import State
from metarl_robot.core.turns import Unwrapped, short_way
from metarl_robot.safety.input_validation import StateValidation
from metarl_robot.trajectories.flat_outputs import Outputs
from metarl_robot.trajectories.reference_manager import ReferenceManager

PERIOD_S = 0.005


@pytest.fixture
def endless(tmp_path: Path) -> Robot:
    """The shipped two-joint arm whose first joint turns without end."""
    shutil.copytree(MODELS_DIR / "planar2", tmp_path / "mine")
    text = (tmp_path / "mine" / "robot.yaml").read_text()
    first = next(line for line in text.splitlines() if "name: shoulder" in line)
    turning = first.replace("[-3.0, 3.0]", "[-6.2, 6.2]").replace("}", ", endless: true}")
    (tmp_path / "mine" / "robot.yaml").write_text(text.replace(first, turning))
    return load_robot(tmp_path / "mine", check_model=False)


def wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2.0 * np.pi) - np.pi)


def spin(robot: Robot) -> list[State]:
    """Measured states of 1.5 turns of the first joint at 2 rad/s, as a driver that wraps gives them."""
    angles = robot.home[0] + 2.0 * PERIOD_S * np.arange(round(3.0 * np.pi / 2.0 / PERIOD_S))
    return [State(np.array([wrapped(angle), robot.home[1]]), np.array([2.0, 0.0])) for angle in angles]


def test_wrapped_angles_are_continued(endless: Robot) -> None:
    assert endless.endless is not None and endless.endless.tolist() == [True, False]
    unwrapped, validation = Unwrapped(endless.home, endless.endless), StateValidation(endless)
    for k, measured in enumerate(spin(endless)):
        state = unwrapped.state(measured)
        assert state.q[0] == pytest.approx(endless.home[0] + 2.0 * PERIOD_S * k)
        assert validation.offer(state, 1.0 + PERIOD_S * k, PERIOD_S * k) is None
    broken = State(np.array([np.nan, 0.0]), np.zeros(2))
    assert unwrapped.state(broken) is broken
    assert unwrapped.state(spin(endless)[-1]).q[0] == pytest.approx(state.q[0]), "a broken state changes nothing"


def test_angles_of_other_joints_are_left_alone(endless: Robot) -> None:
    assert load_robot("planar2").endless is None
    leap = State(endless.home + np.array([0.0, 2.0 * np.pi]), np.zeros(2))
    assert np.array_equal(Unwrapped(endless.home, endless.endless).state(leap).q, leap.q)


@pytest.mark.parametrize(("present", "given", "due"), [(3.0, -3.0, -3.0 + 2 * np.pi), (0.0, 6.0, 6.0 - 2 * np.pi)])
def test_a_position_is_reached_by_the_short_way(present: float, given: float, due: float) -> None:
    both, limits = np.array([True, False]), np.full(2, 2.0 * np.pi)
    moved, turns = short_way(np.array([[given, given]]), np.array([present, present]), both, -limits, limits)
    assert moved[0] == pytest.approx([due, given]) and abs(turns[0]) == 1.0 and turns[1] == 0.0
    tight = np.full(2, abs(due) - 0.1 if abs(due) > abs(given) else abs(due) / 2.0)
    kept, turns = short_way(np.array([[given, given]]), np.array([present, present]), both, -tight, tight)
    assert np.array_equal(kept, [[given, given]]) and not turns.any(), "it would leave its limits"


def test_a_trajectory_through_pi_is_followed_without_a_turn_back(endless: Robot) -> None:
    manager = ReferenceManager(endless)
    lower, upper = endless.position_lower[0], endless.position_upper[0]
    assert lower < -np.pi and upper > np.pi, "the arm of this test can pass π"
    manager.hold(np.array([3.0, endless.home[1]]))
    times = np.linspace(0.0, 2.0, 21)
    angles = np.array([wrapped(3.0 + 0.3 * time) for time in times])
    assert np.abs(np.diff(angles)).max() > np.pi
    taken = manager.offer(times, Outputs(np.column_stack([angles, np.full(21, endless.home[1])]), None, None), 0.0)
    assert manager.current is not None
    followed = manager.current.sample(np.linspace(0.5, 2.0, 50)).q[:, 0]
    assert np.all(np.diff(followed) > 0.0) and followed[-1] == pytest.approx(3.6, abs=0.02)
    assert taken.remarks == ()
