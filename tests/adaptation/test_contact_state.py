# SPDX-License-Identifier: Apache-2.0
"""An adapter's report of forces from outside: contact state and wrench."""

from __future__ import annotations

import numpy as np
import pytest

import metarl_robot as mr
from metarl_robot.adaptation.contact_state import GONE_S, MOVING_S, MOVING_SHARE, RAISED_S, SMOOTH_S, ContactState
from metarl_robot.adaptation.filter_algebra import Belief
from metarl_robot.core.external_force import Contact
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.hand_wrench import hand_wrench
from metarl_robot.trajectories.euclidean import TRACKING, random_tracking
from metarl_robot.trajectories.splines import Hold
from tests.pushed_arm import BEGIN_S, push

PANDA = mr.load_robot("panda")
DYNAMICS = ArmDynamics(PANDA)
STEPS_PER_S = round(1.0 / PANDA.control_period_s)
BEGUN = round(BEGIN_S * STEPS_PER_S)
LIMIT, THRESHOLD = np.full(2, 2.0), 18.0


def watched(state: ContactState, size: float, duration_s: float, speed: float = 0.0) -> list[Contact]:
    """Contact states while a force of this size acts; the motion confirms a payload where it can."""
    found = []
    for _ in range(round(duration_s / 0.005)):
        if state.watch(np.full(2, size), np.ones(2), THRESHOLD, mr.State(np.zeros(2), np.full(2, speed)), 0.005):
            state.confirm(Belief(np.zeros(2), 2))
        found.append(state.contact)
    return found


def fresh_state() -> ContactState:
    return ContactState(LIMIT, Belief(np.zeros(2), 2))


def test_a_force_stays_undecided_until_the_robot_moves() -> None:
    state = fresh_state()
    resting = watched(state, 30.0, 5.0)
    assert (
        Contact.UNDECIDED in resting[: round((SMOOTH_S + 2.0 * RAISED_S) / 0.005)] and resting[-1] is Contact.UNDECIDED
    )
    assert watched(state, 30.0, MOVING_S - 0.1, speed=0.1)[-1] is Contact.UNDECIDED
    assert watched(state, 30.0, 0.2, speed=0.1)[0] is Contact.UNDECIDED
    assert state.contact is Contact.UNDECIDED, "this robot's model has not learned the force"
    assert watched(state, 0.0, GONE_S + 5.0 * SMOOTH_S)[-1] is Contact.NONE


def test_a_force_that_ends_is_forgotten_without_motion() -> None:
    state = fresh_state()
    watched(state, 30.0, 0.1)
    assert watched(state, 0.0, GONE_S + 5.0 * SMOOTH_S)[-1] is Contact.NONE
    assert np.abs(state.force).max() < 1.0


def test_slow_joints_do_not_count_as_motion() -> None:
    state = fresh_state()
    assert watched(state, 30.0, 3.0 * MOVING_S, speed=0.9 * MOVING_SHARE * LIMIT[0])[-1] is Contact.UNDECIDED


def _in_base(q: np.ndarray, torque: np.ndarray) -> np.ndarray:
    """Wrench (6,) on the hand in the axes of the base."""
    wrench, (_, site_to_base) = hand_wrench(DYNAMICS, q, torque), DYNAMICS.forward_kinematics(q)
    return np.concatenate([site_to_base @ wrench[:3], site_to_base @ wrench[3:]])


def test_a_lift_at_the_hand_is_a_contact_within_50_ms_and_its_wrench_is_known() -> None:
    lift_n = np.array([0.0, 0.0, 15.0])
    pushed = push(PANDA, Hold(PANDA.home), lift_n, 0.3)
    states = [felt.contact for felt in pushed.felt]
    assert set(states[:BEGUN]) == {Contact.NONE}, "nothing acts on an arm at rest"
    assert Contact.CONTACT in states[BEGUN : BEGUN + round(0.05 * STEPS_PER_S)]
    wrenches = np.array(
        [_in_base(state.q, felt.force) for state, felt in zip(pushed.states, pushed.felt, strict=True)]
    )[BEGUN + round(0.2 * STEPS_PER_S) : BEGUN + round(0.3 * STEPS_PER_S)]
    assert np.linalg.norm(wrenches[:, :3] - lift_n, axis=1).max() < 0.25 * 15.0, "noise included"
    assert np.linalg.norm(wrenches[:, :3].mean(axis=0) - lift_n) < 2.0
    assert np.linalg.norm(wrenches[:, 3:], axis=1).max() < 1.0
    assert states[-1] is Contact.NONE


def test_a_pick_up_is_undecided_until_a_second_of_motion_and_never_a_contact() -> None:
    reference = random_tracking(PANDA, np.random.default_rng(1000), 6.0, TRACKING.calmer(0.7))
    pushed = push(PANDA, reference, np.zeros(3), 1.5, picked_kg=1.5)
    states, moving = [felt.contact for felt in pushed.felt], 0
    assert Contact.UNDECIDED in states[BEGUN : BEGUN + round(0.05 * STEPS_PER_S)]
    for felt, state in zip(pushed.felt, pushed.states, strict=True):
        fast = bool((np.abs(state.v) > MOVING_SHARE * PANDA.velocity_limit).any())
        moving += fast and felt.contact is Contact.UNDECIDED
    assert moving < 1.0 * STEPS_PER_S
    assert Contact.CONTACT not in states and states[-1] is Contact.NONE


@pytest.mark.parametrize("name", ["panda", "planar2"])
def test_a_force_at_the_hand_is_found_from_the_torques(name: str) -> None:
    robot = mr.load_robot(name)
    dynamics, rng = ArmDynamics(robot), np.random.default_rng(0)
    q = robot.home + 0.3 * rng.normal(size=robot.dof)
    jacobian, (_, site_to_base) = dynamics.site_jacobian(q), dynamics.forward_kinematics(q)
    felt = jacobian[:3].T @ (np.eye(3)[0] * 5.0)
    wrench = hand_wrench(dynamics, q, felt)
    in_base = np.concatenate([site_to_base @ wrench[:3], site_to_base @ wrench[3:]])
    assert np.allclose(jacobian.T @ in_base, felt, atol=0.3), "the same torques"
    if robot.dof >= 6:
        assert np.allclose(in_base, [5.0, 0.0, 0.0, 0.0, 0.0, 0.0], atol=1e-6)


def test_a_controller_that_cannot_tell_says_so() -> None:
    for name, tells in (("nominal_mpc", False), ("offset_free_mpc", False), ("meta_mpc", True)):
        controller = mr.make_controller(PANDA, name)
        command = controller.step(0.0, mr.State(PANDA.home, np.zeros(7)), Hold(PANDA.home))
        assert (command.external is not None) is tells, name
