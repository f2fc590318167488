# SPDX-License-Identifier: Apache-2.0
"""The last hop's watchdog: commands stop in full motion, and the robot comes to rest by itself, within its limits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from metarl_robot.control.factory import load_config, make_controller
from metarl_robot.core import rotation
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.ros_nodes.gate import shipped
from metarl_robot.safety.fallback_law import gate_config
from metarl_robot.safety.last_hop import RESUME_S, LastHop
from metarl_robot.sim.kinds import Plant, simulation
from metarl_robot.trajectories.flat_outputs import flat_outputs_of

CONTROLLERS = {"panda": ("pid", "tracking"), "x500": ("se3", "figure_eight")}
DEADLINE_S = 0.1


class Loop:
    """A robot under a controller on a motion, with a last hop between them. commanding: whether commands come."""

    def __init__(self, robot: Robot, deadline_s: float = DEADLINE_S, seed: int = 3) -> None:
        self.robot, self.commanding = robot, True
        controller, motion = CONTROLLERS[robot.name]
        self._reference = flat_outputs_of(robot).motion(motion, np.random.default_rng(seed), 30.0)
        self._controller = make_controller(robot, controller, load_config(robot, controller), None)
        self.plant: Plant = simulation(robot).plant(simulation(robot).nominal_task())
        self._state = self.plant.reset(self._reference.sample(np.array([0.0])).q[0])
        self.hop = LastHop(robot, gate_config(robot).model_validate(shipped(robot)), deadline_s)
        self.sent: list[np.ndarray] = []

    def step(self) -> bool:
        """One control period; whether the last hop's law was in force."""
        period_s, state = self.robot.control_period_s, self._state
        if self.commanding:
            effort = self._controller.step(self.plant.stamp, state, self._reference).effort
            self._effort = self.hop.accept(
                np.clip(effort, self.robot.effort_lower, self.robot.effort_limit), self.plant.time
            )
        override = self.hop.override(state, self.plant.time, period_s)
        self.sent.append(self._effort if override is None else override)
        self._state = self.plant.step(self.sent[-1], period_s)
        if override is None:
            self.hop.passed(self._effort, state, period_s)
        return self.hop.stopping

    def run(self, seconds: float) -> Iterator[bool]:
        return (self.step() for _ in range(round(seconds / self.robot.control_period_s)))

    @property
    def standstill_rad_s(self) -> float:
        return float(gate_config(self.robot)().model_dump()["standstill_rad_s"])

    @property
    def overspeed(self) -> float:
        """The fastest joint's share of its limit."""
        return float(np.max(np.abs(self.plant.truth.v) / self.robot.velocity_limit))


@pytest.fixture(params=CONTROLLERS)
def loop(request: pytest.FixtureRequest) -> Loop:
    made = Loop(load_robot(request.param))
    assert not any(made.run(1.0))  # it never interferes while commands come
    return made


def in_motion(robot: Robot, deadline_s: float, seed: int) -> Loop:
    """At the fastest moment of the first two seconds of a motion."""
    probe = Loop(robot, deadline_s, seed)
    speeds = []
    for _ in probe.run(2.0):
        speeds.append(float(np.abs(probe.plant.truth.v).max()))
    made = Loop(robot, deadline_s, seed)
    for _ in range(int(np.argmax(speeds)) + 1):
        made.step()
    made.commanding = False
    return made


@pytest.mark.parametrize("seed", [1, 3])
def test_an_arm_whose_commands_stop_in_motion_stands_without_ever_exceeding_a_velocity(seed: int) -> None:
    loop = in_motion(load_robot("panda"), DEADLINE_S, seed)
    fastest = max(loop.overspeed for _ in loop.run(2.0))
    assert fastest < 1.0 and loop.plant.violations.any == 0
    assert np.abs(loop.plant.truth.v).max() < loop.standstill_rad_s and loop.hop.stopping and loop.hop.stops == 1


def test_without_a_deadline_the_last_command_drives_the_arm_beyond_its_limits() -> None:
    loop = in_motion(load_robot("panda"), 0.0, seed=3)
    assert max(loop.overspeed for _ in loop.run(1.0)) > 1.0 and not loop.hop.stopping


@pytest.mark.parametrize("seed", range(2))
def test_a_quadrotor_whose_commands_stop_in_flight_lands_and_its_motors_stop(seed: int) -> None:
    robot = load_robot("x500")
    loop = in_motion(robot, DEADLINE_S, seed)
    flight = np.array([np.concatenate([loop.plant.truth.q, loop.plant.truth.v]) for _ in loop.run(12.0)])
    touched = int(np.argmax(flight[:, 2] < 0.2))
    assert touched and np.all(flight[:touched, 9] > -1.5)  # m/s
    assert np.all(rotation.tilt(flight[:, 3:7]) < 1.0)
    assert np.all(flight[-1, :7] == pytest.approx(flight[-20, :7], abs=1e-3)) and np.all(loop.sent[-1] == 0.0)


def test_what_it_sends_is_within_limits_and_changes_no_faster_than_the_effort_rate(loop: Loop) -> None:
    loop.commanding, begun = False, len(loop.sent)
    list(loop.run(1.0))
    sent, robot = np.array(loop.sent[begun:]), loop.robot
    assert np.all(np.isfinite(sent)) and np.all(sent <= robot.effort_limit) and np.all(sent >= robot.effort_lower)
    assert np.all(np.abs(np.diff(sent, axis=0)) <= robot.effort_rate_limit * robot.control_period_s * (1.0 + 1e-9))


def test_commands_are_in_force_until_the_deadline_and_again_after_a_streak(loop: Loop) -> None:
    period_s = loop.robot.control_period_s
    loop.commanding = False
    law = list(loop.run(0.2))
    assert law.index(True) == pytest.approx(DEADLINE_S / period_s, abs=1.5) and all(law[law.index(True) :])
    loop.commanding = True
    law = list(loop.run(0.2))
    assert law.index(False) == pytest.approx(RESUME_S / period_s, abs=1.5) and not any(law[law.index(False) :])
    assert loop.plant.violations.any == 0


def test_one_late_command_does_not_bring_a_stopped_robot_back(loop: Loop) -> None:
    loop.commanding = False
    list(loop.run(0.3))
    for _ in range(5):  # a queue that is flushed, then silence
        loop.commanding = True
        loop.step()
        loop.commanding = False
        assert all(loop.run(0.15))


@pytest.mark.parametrize("bad", [[np.nan] * 7, [np.inf] * 7, [1.0] * 6, [[1.0] * 7], []])
def test_what_is_not_finite_or_of_another_size_is_refused_and_counts_as_none(bad: list) -> None:
    robot = load_robot("panda")
    hop = LastHop(robot, gate_config(robot)(), DEADLINE_S)
    hop.accept(np.zeros(7), 0.0)
    with pytest.raises(SignalError, match="needs 7 finite efforts"):
        hop.accept(np.array(bad), 0.09)
    state = simulation(robot).plant(simulation(robot).nominal_task()).measure()
    assert hop.override(state, 0.1, 0.005) is None and hop.override(state, 0.105, 0.005) is not None


def test_what_is_beyond_a_limit_is_clipped_and_counted_and_all_zero_stops_motors() -> None:
    robot = load_robot("x500")
    hop = LastHop(robot, gate_config(robot)(), DEADLINE_S)
    assert np.all(hop.accept(np.full(4, 1e300), 0.0) == robot.effort_limit)
    assert np.all(hop.accept(np.full(4, -5.0), 0.0) == robot.effort_lower) and hop.clipped == 2
    assert np.all(hop.accept(np.zeros(4), 0.0) == 0.0) and hop.clipped == 2


@pytest.mark.parametrize("name", CONTROLLERS)
def test_commands_that_come_again_join_the_law_s_effort_at_the_effort_rate(name: str) -> None:
    loop = in_motion(load_robot(name), 0.1, seed=1)
    loop.commanding = False
    assert any(loop.run(0.4))
    begin = len(loop.sent) - 1
    loop.commanding = True
    list(loop.run(0.3))
    changes = np.abs(np.diff(np.array(loop.sent[begin : begin + 40]), axis=0))
    most = loop.robot.effort_rate_limit * loop.robot.control_period_s
    joined = next(k for k, change in enumerate(changes) if k > 11 and not (change > 0.99 * most).any())
    assert np.all(changes[: joined + 1] <= most * (1.0 + 1e-9))
