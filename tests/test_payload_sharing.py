# SPDX-License-Identifier: Apache-2.0
"""When an estimated payload may be given to a driver, in which frame, and what the driver compensates meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
import pytest

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.arm.flange import payload_pose
from metarl_robot.robots.arm.payload_sharing import SETTLED_S, VALID_S, PayloadSharing, SharingError, Stage
from metarl_robot.robots.arm.tool_load import NOTHING, Load, Pose, load_of, moved, parameters_of

RATED_KG, FADE_S, PERIOD_S = 3.0, 2.0, 0.02
BOX = parameters_of(Load(1.2, np.array([0.01, -0.02, 0.05]), np.diag([0.002, 0.003, 0.004])))


class Driven:
    """A sharing with its clock. Estimates come each PERIOD_S."""

    def __init__(self, fades: bool) -> None:
        self.sharing, self.time_s = PayloadSharing(RATED_KG, fades, FADE_S), 10.0
        self.sharing.acts(True, True)
        self.sharing.moves(0.0)

    def see(self, seconds: float, parameters: np.ndarray = BOX, std_kg: float = 0.05, contact: bool = False) -> Driven:
        for _ in range(round(seconds / PERIOD_S)):
            self.time_s += PERIOD_S
            self.sharing.see(self.time_s, parameters, std_kg, contact)
        return self

    def share(self, parameters: np.ndarray = BOX) -> Driven:
        """A first load, accepted while the robot holds the arm; then our efforts act again."""
        self.see(2.0, parameters).sharing.acts(False, False)
        self.sharing.request(self.time_s)
        self.sharing.accept(self.time_s)
        self.sharing.acts(True, True)
        return self

    @property
    def stage(self) -> Stage:
        return self.sharing.stage(self.time_s)

    @property
    def obstacle(self) -> str:
        return self.sharing.obstacle(self.time_s)


def test_a_load_is_given_while_the_robot_holds_the_arm_and_taken_away_again() -> None:
    one = Driven(fades=False)
    assert one.stage is Stage.IDLE and "no estimate" in one.obstacle
    assert one.see(2.0).stage is Stage.SETTLED and "~/hold" in one.obstacle
    one.sharing.acts(False, True)
    assert "taking over" in one.obstacle
    one.sharing.acts(False, False)
    one.see(1.0, 5.0 * BOX)  # worth nothing: these efforts did not act
    parameters, within_s = one.sharing.request(one.time_s)
    assert one.stage is Stage.REQUESTED and within_s == 0.0
    assert not one.sharing.compensated(one.time_s).any()
    np.testing.assert_allclose(parameters, BOX, atol=1e-9)
    one.sharing.accept(one.time_s)
    assert one.stage is Stage.ACCEPTED
    np.testing.assert_array_equal(one.sharing.compensated(one.time_s), parameters)

    one.sharing.acts(True, True)
    assert one.see(2.0).stage is Stage.ACCEPTED, "the estimate stays that of the whole payload"
    assert one.see(2.0, NOTHING).stage is Stage.SETTLED, "it was put down"
    one.sharing.acts(False, False)
    assert not one.sharing.request(one.time_s)[0].any()
    one.sharing.accept(one.time_s)
    assert one.stage is Stage.IDLE and not one.sharing.compensated(one.time_s).any()


def test_a_driver_that_fades_takes_a_further_load_under_our_efforts_without_a_jump() -> None:
    one = Driven(fades=True)
    assert "for the first time" in one.see(2.0).obstacle
    one.share().see(2.0, 0.5 * BOX)
    one.sharing.moves(0.2)
    assert "the arm moves" in one.obstacle
    one.sharing.moves(0.0)
    _, within_s = one.sharing.request(one.time_s)
    assert within_s == FADE_S
    one.sharing.accept(one.time_s)
    times = one.time_s + np.linspace(0.0, FADE_S, 101)
    masses = np.array([one.sharing.compensated(time_s)[0] for time_s in times])
    np.testing.assert_allclose(masses, np.linspace(1.2, 0.6, 101), atol=1e-9)
    assert "being faded in" in one.obstacle


@pytest.mark.parametrize(
    ("disturb", "why"),
    [
        (lambda one: one.see(0.1), "changed"),
        (lambda one: one.see(2.0, 0.8 * BOX, std_kg=0.8), "known to 0.80 kg"),
        (lambda one: one.see(0.2, contact=True).see(0.5), "a contact"),
        (lambda one: one.see(2.0, 3.0 * BOX), "outside the rating"),
        (lambda one: one.see(2.0, -0.3 * BOX), "outside the rating"),
        (lambda one: one.see(2.0, replace_com(0.4)), "centre of mass is 0.4"),
        (lambda one: one.see(2.0, np.nan * BOX), "not finite"),
        (lambda one: one.see(2.0).later(1.0), "1 s old; allowed: 0.5 s"),
        (lambda one: one.later(1.0).see(0.5), "younger than"),
    ],
)
def test_an_estimate_that_is_not_settled_or_not_plausible_is_not_shared(
    disturb: Callable[[Driven], object], why: str
) -> None:
    one = Waiting(fades=True).share().see(1.5, 0.5 * BOX)
    disturb(one)
    assert why in one.obstacle
    with pytest.raises(SharingError, match="no payload is shared"):
        one.sharing.request(one.time_s)


class Waiting(Driven):
    """One whose clock can pass without estimates."""

    def later(self, seconds: float) -> Waiting:
        self.time_s += seconds
        return self


def replace_com(distance_m: float) -> np.ndarray:
    return parameters_of(load_of(BOX)._replace(com_m=np.array([0.0, 0.0, distance_m])))


def test_a_refused_load_changes_nothing_and_one_without_an_answer_can_be_asked_for_again() -> None:
    one = Waiting(fades=False).share().see(2.0, NOTHING)
    before = one.sharing.compensated(one.time_s).copy()
    one.sharing.acts(False, False)
    one.sharing.request(one.time_s)
    one.sharing.refuse("command rejected")
    np.testing.assert_array_equal(one.sharing.compensated(one.time_s), before)
    assert "command rejected" in one.sharing.words(one.time_s) and one.stage is Stage.SETTLED
    one.sharing.request(one.time_s)
    assert "has not answered" in one.obstacle
    one.later(6.0)
    assert "no answer yet" in one.sharing.words(one.time_s) and not one.obstacle
    one.sharing.accept(one.time_s)
    assert not one.sharing.compensated(one.time_s).any()


def test_a_settled_estimate_is_forgotten_a_minute_after_the_efforts_ceased_to_act() -> None:
    one = Waiting(fades=False).see(SETTLED_S + 1.0)
    one.sharing.acts(False, False)
    assert not one.later(VALID_S - 1.0).obstacle
    assert "allowed: 60 s" in one.later(2.0).obstacle


def test_a_load_in_the_flanges_frame_is_the_same_body() -> None:
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    pose = Pose(rotation * np.linalg.det(rotation), rng.standard_normal(3))
    load = moved(load_of(BOX), pose)
    np.testing.assert_allclose(parameters_of(load_of(BOX)), BOX, atol=1e-15)
    point = np.array([0.1, 0.2, -0.3])  # of the body, fixed to it: its moment of inertia about an axis through it
    axis = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(
        _inertia_about(load, pose.rotation @ axis, pose.rotation @ point + pose.position),
        _inertia_about(load_of(BOX), axis, point),
    )
    nothing = moved(load_of(NOTHING), pose)
    assert nothing.mass_kg == 0.0 and not nothing.com_m.any() and not nothing.inertia_kg_m2.any()


def _inertia_about(load: Load, axis: np.ndarray, point: np.ndarray) -> float:
    off = np.cross(load.com_m - point, axis)
    return float(axis @ load.inertia_kg_m2 @ axis + load.mass_kg * off @ off)


def test_the_flange_is_a_site_or_a_body_of_the_payloads_link() -> None:
    panda = load_robot("panda")
    same = payload_pose(panda, "")
    np.testing.assert_allclose(same.rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(same.position, 0.0, atol=1e-12)
    model, site = panda.mj_model, panda.mj_model.site("flange")
    link = model.body(int(model.site_bodyid[site.id])).name
    pose = payload_pose(panda, link)
    np.testing.assert_allclose(pose.position, site.pos, atol=1e-12)
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, site.quat)
    np.testing.assert_allclose(pose.rotation, rotation.reshape(3, 3), atol=1e-12)
    for wrong, why in (("world", "not on the link"), ("flanche", "Did you mean 'flange'")):
        with pytest.raises(MetaRLError, match=why):
            payload_pose(panda, wrong)
