# SPDX-License-Identifier: Apache-2.0
"""Commands for a driver that takes speeds: they invert its loop, stay within limits, stop, and drive a course."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.control.factory import make_controller
from metarl_robot.core.errors import RobotError, SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.fallback import BrakeStraight, BrakeStraightConfig
from metarl_robot.robots.ground.heading import forward_speed
from metarl_robot.robots.ground.speed_commands import SPEED_STEERING, TWIST, DriverLoop, SpeedCommands
from metarl_robot.robots.ground.tyre import CREEP_M_S
from metarl_robot.safety.fallback_law import gate_config
from metarl_robot.safety.gate import Gate, GateState
from metarl_robot.sim.ground.cross_track import nearest_on
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.speed_driver import SpeedDriver, wheels_motion
from metarl_robot.sim.ground.task import GroundTask
from metarl_robot.sim.kinds import simulation
from metarl_robot.trajectories.flat_outputs import flat_outputs_of

Array = NDArray[np.float64]

DT = 0.01
LOOP = DriverLoop()
DRIVER_STEPS = 2
"""Steps of the driver in one control period."""


def ground(name: str) -> Ground:
    robot = load_robot(name)
    assert isinstance(robot, Ground)
    return robot


CAR, HUSKY = ground("f1tenth"), ground("husky")
FORMS = [(CAR, SPEED_STEERING), (CAR, TWIST), (HUSKY, TWIST)]


def at(forward: float, yaw_rate: float = 0.0, yaw: float = 0.4) -> State:
    return State(np.array([1.0, 2.0, yaw]), np.array([forward * np.cos(yaw), forward * np.sin(yaw), yaw_rate]))


@pytest.mark.parametrize(("robot", "form"), FORMS)
@pytest.mark.parametrize("integral_s", [0.3, 1e6])
def test_a_driver_answers_with_the_effort_that_was_meant(robot: Ground, form: str, integral_s: float) -> None:
    """For a second, over which the bridge forgets at most 1 s / FORGET_S of the driver's integral."""
    rng, loop = np.random.default_rng(1000), DriverLoop(speed_integral_s=integral_s, separation_ratio=1.3)
    commands, driver = SpeedCommands(robot, form, loop), SpeedDriver(robot, form, loop)
    speed = 0.4 * robot.velocity_limit[0]
    for k in range(100):
        state = at(speed * (1.0 + 0.2 * np.sin(0.1 * k)), 0.1 * np.sin(0.07 * k))
        effort = rng.uniform(0.0, 0.3, robot.nu) * robot.effort_limit * np.where(robot.torque_channels, 0.5, 1.0)
        command = commands.command(state, effort, DT)
        answer = driver.effort(command, np.array([forward_speed(state), state.v[2]]), DT)
        np.testing.assert_allclose(answer, effort, atol=1e-9 if k == 0 else 0.06 * robot.effort_limit.max())


@pytest.mark.parametrize(("robot", "form"), FORMS)
def test_commands_are_finite_and_within_the_limits_for_any_effort(robot: Ground, form: str) -> None:
    rng, commands = np.random.default_rng(1001), SpeedCommands(robot, form, DriverLoop(speed_loop_s=1.0))
    limit = [robot.velocity_limit[0], robot.effort_limit[0] if form == SPEED_STEERING else robot.velocity_limit[2]]
    reached = np.zeros(2)
    for _ in range(300):
        state = at(*rng.uniform(-2.0, 2.0, 2) * robot.velocity_limit[[0, 2]])
        command = commands.command(state, rng.uniform(-3.0, 3.0, robot.nu) * robot.effort_limit, DT)
        assert np.isfinite(command).all() and np.all(np.abs(command) <= limit)
        reached = np.maximum(reached, np.abs(command))
    np.testing.assert_array_equal(reached, limit)


@pytest.mark.parametrize("bad", [[np.nan, 0.0], [0.0, np.inf], [1.0], [1.0, 2.0, 3.0]])
def test_an_effort_that_is_none_is_refused(bad: list[float]) -> None:
    with pytest.raises(SignalError, match="needs 2 finite efforts"):
        SpeedCommands(CAR, TWIST, LOOP).command(at(1.0), np.array(bad), DT)


def test_a_vehicle_without_a_steered_axle_has_no_steering_to_send() -> None:
    with pytest.raises(RobotError, match="husky has none, and takes 'twist'"):
        SpeedCommands(HUSKY, SPEED_STEERING, LOOP)


def test_a_twist_of_a_car_holds_the_curvature_of_its_steering() -> None:
    for speed in (-1.0, 2.0):
        command = SpeedCommands(CAR, TWIST, LOOP).command(at(speed), np.array([0.3, 0.1]), DT)
        assert command[1] / command[0] == pytest.approx(np.tan(0.3) / CAR.wheelbase_m)


@pytest.mark.parametrize(("robot", "form"), FORMS)
def test_a_vehicle_that_is_being_stopped_is_not_reversed_and_stands_in_spite_of_noise(robot: Ground, form: str) -> None:
    rng, law = np.random.default_rng(1002), BrakeStraight(robot, BrakeStraightConfig())
    commands = SpeedCommands(robot, form, LOOP)
    law.begin(at(0.5))
    for speed in np.linspace(0.5, 0.06, 50):
        command = commands.command(at(speed), law.effort(at(speed), DT), DT, stopping=True)
        assert 0.0 <= command[0] <= speed * (1.0 + 1e-12)
    for _ in range(200):
        state = at(0.01 * rng.standard_normal(), 0.02 * rng.standard_normal())
        assert commands.command(state, law.effort(state, DT), DT, stopping=True)[0] == 0.0


def test_a_start_from_rest_is_not_held_back() -> None:
    effort = np.array([0.0, 0.5])
    assert SpeedCommands(CAR, TWIST, LOOP).command(at(0.0), effort, DT)[0] > 0.1
    assert SpeedCommands(CAR, TWIST, LOOP).command(at(0.0), effort, DT, stopping=True)[0] == 0.0


@pytest.mark.parametrize(("robot", "form"), FORMS)
def test_without_messages_the_speed_falls_to_zero_and_stays(robot: Ground, form: str) -> None:
    commands, speed = SpeedCommands(robot, form, LOOP), 0.5 * robot.velocity_limit[0]
    begin = commands.command(at(speed, 0.2), 0.2 * robot.effort_limit, DT)
    sent = np.array([commands.stop(2.5, DT) for _ in range(200)])
    np.testing.assert_allclose(-np.diff(sent[:10, 0]), 2.5 * DT)
    assert np.all(sent[-1] == ([0.0, begin[1]] if form == SPEED_STEERING else 0.0))
    if form == TWIST:
        np.testing.assert_allclose(sent[:10, 1] / sent[:10, 0], begin[1] / begin[0])


class Road:
    """A vehicle with its gate and, unless it takes torques, a bridge and a driver that reads the wheels' speeds.

    stated: the driver's loop as the bridge knows it; driving: as it is. places: positions (3,) at each period.
    sent: commands (2,).
    """

    def __init__(self, robot: Ground, form: str, task: GroundTask, stated: DriverLoop, driving: DriverLoop) -> None:
        self.robot, self.plant = robot, GroundPlant(robot, task, 1)
        self.gate = Gate(robot, gate_config(robot)())
        self._driving, self._by_speed = driving, form != "torque"
        if self._by_speed:
            self._commands, self._driver = SpeedCommands(robot, form, stated), SpeedDriver(robot, form, driving)
        self.places: list[Array] = []
        self.sent: list[Array] = []

    def reset(self, state: State) -> None:
        self.state = self.plant.reset(state.q, state.v)

    def step(self, effort: Array | None) -> None:
        """One control period; without an effort the controller is silent."""
        now_s = self.plant.stamp
        self.places.append(self.plant.truth.q)
        self.gate.on_state(self.state, now_s, now_s)
        if effort is not None:
            self.gate.on_command(effort, now_s, now_s, "controller")
        decision = self.gate.tick(now_s, now_s)
        passed = np.zeros(self.robot.nu) if decision.effort is None else decision.effort
        if not self._by_speed:
            self.state = self.plant.step(passed, DT)
        else:
            stopping = decision.state is not GateState.PASSING
            self._drive(self._commands.command(self.state, passed, DT, stopping))

    def _drive(self, command: Array) -> None:
        self.sent.append(command)
        for _ in range(DRIVER_STEPS):
            speeds = wheels_motion(self.robot, self.plant.wheel_speeds, self._driving)
            effort = self._driver.effort(command, speeds, DT / DRIVER_STEPS)
            self.state = self.plant.step(effort, DT / DRIVER_STEPS)


RATIO = {CAR.name: 1.0, HUSKY.name: 1.875}
SECONDS = 8.0


def driven(robot: Ground, controller: str, form: str, off: float = 1.0) -> tuple[float, float]:
    """RMS cross-track error [m] from 1 s on, and progress [m], on the oval.

    off: the driver's time constant over the one that is known to the bridge.
    """
    stated = DriverLoop(separation_ratio=RATIO[robot.name])
    driving = stated.model_copy(update={"speed_loop_s": off * stated.speed_loop_s})
    road = Road(robot, form, simulation(robot).nominal_task(), stated, driving)
    law = make_controller(robot, controller)
    reference = flat_outputs_of(robot).motion("oval", np.random.default_rng(1000), 30.0)
    road.reset(State(reference.sample(np.zeros(1)).q[0], np.zeros(3)))
    for _ in range(round(SECONDS / DT)):
        road.step(law.step(road.plant.stamp, road.state, reference).effort)
    assert road.gate.state is GateState.PASSING and road.plant.spins == 0
    course, places = reference.sample(np.arange(0.0, SECONDS, DT)).q[:, :2], np.array(road.places)[:, :2]
    nearest, along = nearest_on(course, places)
    error = np.linalg.norm(nearest - places, axis=1)[round(1.0 / DT) :]
    return float(np.sqrt(np.mean(error**2))), float(along[-1])


@cache
def by_torque(name: str, controller: str) -> float:
    """Progress [m] of a vehicle that takes torques."""
    return driven(ground(name), controller, "torque")[1]


@pytest.mark.parametrize(
    ("robot", "controller", "form", "off", "rms_m"),
    [
        (CAR, "nominal_mpc", SPEED_STEERING, 1.5, 0.08),
        (CAR, "meta_mpc", SPEED_STEERING, 1.0, 0.02),
        (CAR, "meta_mpc", SPEED_STEERING, 1.5, 0.02),
        (CAR, "meta_mpc", TWIST, 1.5, 0.02),
        (HUSKY, "meta_mpc", TWIST, 1.5, 0.02),
    ],
)
def test_it_drives_its_course_through_a_driver_that_takes_speeds(
    robot: Ground, controller: str, form: str, off: float, rms_m: float
) -> None:
    """The driver reads the wheels' speeds, which slip; torques give 9 mm (nominal), 5 mm (meta), 0.3 mm (husky)."""
    rms, progress = driven(robot, controller, form, off)
    assert rms < rms_m and progress > 0.9 * by_torque(robot.name, controller)


@pytest.mark.parametrize(("robot", "form"), FORMS)
@pytest.mark.parametrize("slope_rad", [0.0, 0.08])
def test_a_silent_controller_lets_the_vehicle_stop_and_stand(robot: Ground, form: str, slope_rad: float) -> None:
    loop = DriverLoop(separation_ratio=RATIO[robot.name])
    road = Road(robot, form, GroundTask(slope_rad=np.array([slope_rad, 0.0])), loop, loop)
    road.reset(State(np.zeros(3), np.zeros(3)))
    for _ in range(100):
        road.step(0.3 * robot.effort_limit * np.where(robot.torque_channels, 1.0, 0.1))
    assert float(np.hypot(*road.plant.truth.v[:2])) > 0.3
    for _ in range(400):
        road.step(None)
    assert road.gate.state is GateState.HOLDING and road.sent[-1][0] == 0.0
    stood = road.plant.truth.q
    for _ in range(300):
        road.step(None)
    crept = float(np.hypot(*(road.plant.truth.q - stood)[:2]))
    damper_m_s = slope_rad * CREEP_M_S / robot.slip_stiffness  # a simulated tyre creeps under a load (tyre.py)
    assert crept < 3.0 * 1.1 * damper_m_s + 0.003
    assert abs(wheels_motion(robot, road.plant.wheel_speeds, loop)[0]) < 1e-3
