# SPDX-License-Identifier: Apache-2.0
"""Vehicles of other simulators, driven through `step`: wheels in contact, wrapped yaw, two driven wheels, stops."""

from __future__ import annotations

import math
from pathlib import Path

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.control.factory import make_adapter, make_controller
from metarl_robot.core.errors import RobotError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Reference, Setpoints, State, Status
from metarl_robot.robots.ground.catching_up import reachable
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.early_braking import braked, next_stop
from metarl_robot.robots.ground.flat_outputs import GroundOutputs
from metarl_robot.robots.ground.obstacles import Obstacles
from metarl_robot.robots.ground.path import Path as Way
from metarl_robot.robots.ground.path_reference import PathReference
from metarl_robot.robots.ground.speed_profile import limited_speeds, speed_profile, stations
from metarl_robot.robots.ground.turning_round import TurningRound
from metarl_robot.sim.ground.cross_track import nearest_on
from metarl_robot.sim.kinds import simulation

Array = NDArray[np.float64]

FREE_WHEELS = """<mujoco><option timestep="0.0025" cone="elliptic" impratio="10"/><worldbody>
  <geom type="plane" size="100 100 1" friction="0.8 0.005 0.0001"/>
  <body name="base" pos="0 0 0.19"><freejoint/><inertial pos="0.03 0 0.02" mass="49.6" diaginertia="0.8 1.5 1.9"/>
  {wheels}</body></worldbody><actuator>{motors}</actuator></mujoco>"""
WHEEL = """<body pos="{x} {y} -0.025"><joint name="{name}" axis="0 1 0" armature="0.02"/>
  <geom type="cylinder" size="0.1651 0.05" euler="90 0 0" mass="2.6" friction="0.8 0.005 0.0001"/></body>"""


class SkidSteered:
    """A skid-steered vehicle of 60 kg as another simulator has it: free bodies on stiff wheels that stick and slip."""

    def __init__(self, husky: Ground) -> None:
        names = [wheel.name for wheel in husky.description.wheels]
        wheels = [
            WHEEL.format(x=wheel.position_m[0], y=wheel.position_m[1], name=wheel.name)
            for wheel in husky.description.wheels
        ]
        motors = [f'<motor joint="{name}"/>' for name in names]
        text = FREE_WHEELS.format(wheels="".join(wheels), motors="".join(motors))
        self._model = mujoco.MjModel.from_xml_string(text)
        self._data, self._share = mujoco.MjData(self._model), husky.track.torque_share

    def place(self, q: Array) -> None:
        self._data.qpos[:7] = [q[0], q[1], 0.19, math.cos(0.5 * q[2]), 0.0, 0.0, math.sin(0.5 * q[2])]

    def state(self) -> State:
        x, y, _, w, *_, z = self._data.qpos[:7]
        speed = self._data.qvel
        return State(np.array([x, y, 2.0 * math.atan2(z, w)]), np.array([speed[0], speed[1], speed[5]]))

    def step(self, effort: Array) -> None:
        self._data.ctrl[:] = self._share @ effort
        mujoco.mj_step(self._model, self._data, 4)


@pytest.mark.parametrize("name", ["nominal_mpc", "meta_mpc"])
def test_a_slow_vehicle_on_wheels_that_stick_neither_stops_nor_races(name: str) -> None:
    """A turn needs torques that no plan expects; a metre per second less or more must not count as little."""
    husky = load_robot("husky")
    assert isinstance(husky, Ground)
    reference = GroundOutputs(husky).motion("figure_eight", np.random.default_rng(0), 6.0)
    controller, vehicle, speeds = make_controller(husky, name), SkidSteered(husky), []
    vehicle.place(reference.sample(np.zeros(1)).q[0])
    for k in range(600):
        state = vehicle.state()
        vehicle.step(controller.step(0.01 * k, state, reference).effort)
        speeds.append(float(np.hypot(*state.v[:2])))
    assert min(speeds[100:]) > 0.6 and max(speeds) < 1.2 * husky.velocity_limit[0]


def _turning(robot: Ground) -> tuple[Reference, list[float], list[State]]:
    """A reference, and states of a vehicle on its circle whose yaw passes π."""
    reference = GroundOutputs(robot).motion("circle", np.random.default_rng(0), 8.0)
    times = [1.5 + 0.01 * k for k in range(200)]
    points = reference.sample(np.array(times))
    return reference, times, [State(q, v) for q, v in zip(points.q, points.v, strict=True)]


def _wrapped(state: State) -> State:
    return State(np.array([*state.q[:2], np.arctan2(np.sin(state.q[2]), np.cos(state.q[2]))]), state.v)


@pytest.mark.parametrize("name", ["pure_pursuit", "stanley", "offset_free_mpc"])
def test_a_yaw_that_wraps_is_continued(name: str) -> None:
    robot = load_robot("f1tenth")
    assert isinstance(robot, Ground)
    reference, times, states = _turning(robot)
    assert any(_wrapped(state).q[2] != state.q[2] for state in states) and abs(states[0].q[2]) < np.pi
    continuous, wrapping = make_controller(robot, name), make_controller(robot, name)
    for time, state in zip(times, states, strict=True):
        wanted, command = (c.step(time, s, reference) for c, s in ((continuous, state), (wrapping, _wrapped(state))))
        assert command.status is Status.SOLVED, command.message
        np.testing.assert_allclose(command.effort, wanted.effort, atol=1e-6)


def test_an_adapter_continues_a_yaw_that_wraps() -> None:
    robot = load_robot("f1tenth")
    assert isinstance(robot, Ground)
    _, _, states = _turning(robot)
    continuous, wrapping = (make_adapter(robot, "last_layer") for _ in range(2))
    for state in states:
        wanted = continuous.update(state, np.array([0.1, 0.5]), 0.01)
        given = wrapping.update(_wrapped(state), np.array([0.1, 0.5]), 0.01)
    np.testing.assert_allclose(given.mean, wanted.mean, atol=1e-6)


@pytest.fixture(scope="module", params=["rear", "front"])
def two_driven(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """The f1tenth with two driven wheels, and a high centre of mass."""
    idle = {"rear": "front", "front": "rear"}[request.param]
    lines = (load_robot("f1tenth").folder / "robot.yaml").read_text().splitlines()
    lines = [line.replace("}", ", driven: false}") if f"name: {idle}_" in line else line for line in lines]
    folder: Path = tmp_path_factory.mktemp(request.param) / "car"
    folder.mkdir()
    (folder / "robot.yaml").write_text("\n".join(lines).replace("com_height_m: 0.074", "com_height_m: 0.12"))
    robot = load_robot(folder)
    assert isinstance(robot, Ground)
    return robot


def test_speeds_need_no_more_grip_than_the_driven_wheels_have(two_driven: Ground) -> None:
    friction, x = 0.6, np.linspace(0.0, 20.0, 41)
    way = Way(np.column_stack([x, 0.4 * np.sin(0.6 * x)]))
    along, speed = speed_profile(two_driven, way, friction)
    _used_within(two_driven, way, along, speed, friction)
    most = np.full(len(stations(way)), 5.0)
    most[-1] = 0.0
    grip, bend = friction * GRAVITY_M_S2, np.abs(way.at(along).curvature)
    speed = limited_speeds(two_driven, along, bend, grip, grip, most)
    _used_within(two_driven, way, along, speed, friction)


def _used_within(robot: Ground, way: Way, along: Array, speed: Array, friction: float) -> None:
    """Check accelerations of speeds (N,) [m/s] at arc lengths (N,) [m] against the load of the driven wheels."""
    track = robot.track
    driven = track.torque_share.sum(axis=1) > 0.0
    rate = np.diff(np.square(speed)) / (2.0 * np.diff(along))
    turning = (np.square(speed) * np.abs(way.at(along).curvature))[:-1]
    left = np.sqrt(np.maximum(1.0 - np.square(turning / (friction * GRAVITY_M_S2)), 0.0))
    shares = track.load_share[driven].sum(axis=0)
    load = shares[0] * GRAVITY_M_S2 - shares[1] * robot.com_height * rate  # over the mass [m/s²]
    within = friction * load * left
    middle = slice(1, -1)  # a pass limits the speed at the other end of a step by the curvature at this one
    assert np.all(np.abs(rate)[middle] <= 1.1 * within[middle] + 0.1)
    assert np.max(np.abs(rate)) > 0.3 * friction * GRAVITY_M_S2


def _line() -> PathReference:
    """A straight line of 30 m that is driven at 6 m/s and braked at 6 m/s²."""
    way = Way(np.column_stack([np.linspace(0.0, 30.0, 61), np.zeros(61)]))
    along = stations(way)
    return PathReference(way, along, np.minimum(6.0, np.sqrt(2.0 * 6.0 * (30.0 - along) + 1e-9)))


def test_a_stop_is_approached_with_the_deceleration_that_is_believed() -> None:
    reference, dt = _line(), 0.02
    points = reference.sample(2.0 + dt * np.arange(400))
    slower = braked(points, next_stop(points), dt, 6.0, 3.0, 4.0)
    speed = slower.v[:, 0]
    np.testing.assert_allclose(np.diff(slower.q[:, 0]) / dt, 0.5 * (speed[1:] + speed[:-1]), atol=0.1)
    assert np.min(np.diff(speed)) / dt > -3.3 and slower.a[:, 0].min() > -3.1
    assert slower.q[-1, 0] == pytest.approx(30.0, abs=1e-2) and speed[-1] == pytest.approx(0.0, abs=1e-2)
    assert speed.max() == pytest.approx(6.0, abs=0.05), "far from the stop, nothing changes"


def test_a_vehicle_too_fast_for_a_stop_brakes_from_its_own_speed() -> None:
    dt = 0.02
    points = _line().sample(4.5 + dt * np.arange(400))
    left = 30.0 - points.q[0, 0]
    slower = braked(points, next_stop(points), dt, 5.0, 3.0, 40.0)
    assert slower.v[0, 0] == pytest.approx(5.0)
    assert slower.a[0, 0] == pytest.approx(-(5.0**2) / (2.0 * left), rel=0.02)


def test_a_stop_that_is_gentle_enough_is_left_as_it_is() -> None:
    stopping = _line().sample(4.5 + 0.02 * np.arange(200))
    assert braked(stopping, next_stop(stopping), 0.02, 0.0, 8.0, 9.0) is stopping


def test_a_stop_is_where_a_moving_reference_first_stands() -> None:
    points = _line().sample(4.5 + 0.02 * np.arange(200))
    stop = next_stop(points)
    speed = points.v[:, 0]
    assert stop > 0 and speed[stop] < 0.05 <= speed[:stop].min()
    assert next_stop(_line().sample(9.0 + 0.02 * np.arange(50))) == 0, "it waits"
    assert next_stop(_line().sample(0.5 + 0.02 * np.arange(50))) == 0, "it goes on"
    broken = points.q.copy()
    broken[stop - 1] = np.nan
    assert next_stop(Setpoints(broken, points.v, points.a)) == 0


def test_a_vehicle_does_not_overshoot_the_end_of_its_path() -> None:
    """Of a stop that uses all the torque that a plan may use; without early braking it was 14 cm beyond the end."""
    robot = load_robot("f1tenth")
    assert isinstance(robot, Ground)
    reference, room = _line(), simulation(robot)
    plant, controller = room.plant(room.nominal_task()), make_controller(robot, "offset_free_mpc")
    state, furthest = plant.reset(np.array([13.0, 0.0, 0.0])), 0.0
    for k in range(450):
        state = plant.step(controller.step(3.0 + 0.01 * k, state, reference).effort, 0.01)
        furthest = max(furthest, float(state.q[0]))
    assert furthest < 30.1


@pytest.fixture(scope="module")
def f1tenth() -> Ground:
    robot = load_robot("f1tenth")
    assert isinstance(robot, Ground)
    return robot


def _ahead(reference: Reference, time: float) -> Setpoints:
    return reference.sample(time + 0.04 * np.arange(26))


def test_a_car_that_faces_away_turns_round_and_follows_its_path_forwards(f1tenth: Ground) -> None:
    reference, room = GroundOutputs(f1tenth).motion("oval", np.random.default_rng(0), 8.0), simulation(f1tenth)
    plant, controller = room.plant(room.nominal_task()), make_controller(f1tenth, "offset_free_mpc")
    state, forward = plant.reset(reference.sample(np.zeros(1)).q[0] + [0.0, 0.5, 3.0]), []
    for k in range(500):
        state = plant.step(controller.step(0.01 * k, state, reference).effort, 0.01)
        forward.append(float(np.cos(state.q[2]) * state.v[0] + np.sin(state.q[2]) * state.v[1]))
    assert min(forward) > -0.2, "it never drives in reverse"
    near = reference.sample(np.arange(0.0, 8.0, 0.01)).q
    nearest = near[np.argmin(np.linalg.norm(near[:, :2] - state.q[:2], axis=1))]
    assert np.linalg.norm(nearest[:2] - state.q[:2]) < 0.15 and np.cos(nearest[2] - state.q[2]) > 0.9


def test_a_car_with_an_obstacle_beside_it_stands_instead_of_turning_round(f1tenth: Ground) -> None:
    turning, goal = TurningRound(f1tenth), _ahead(_line(), 1.0)
    pose = np.array([goal.q[0, 0], 0.0, 3.0])
    assert turning.needed(0.0, pose, 0.0, goal)
    times = np.linspace(0.0, 1.0, 26)
    free = turning.arc(pose, goal, times, 1.0, Obstacles(np.zeros((0, 3))), 0.15)
    assert free.v[:, 2].max() < 0.0, "the short way: to the right"
    np.testing.assert_allclose(np.gradient(free.q, times, axis=0)[1:-1], free.v[1:-1], atol=0.02)
    np.testing.assert_allclose(np.gradient(free.v, times, axis=0)[1:-1], free.a[1:-1], atol=0.05)
    beside = Obstacles(np.array([[*(free.q[-1, :2]), 0.1]]))
    assert not turning.arc(pose, goal, times, 1.0, beside, 0.15).v[:, :2].any()


def test_a_spin_and_a_halt_are_no_reason_to_turn_round(f1tenth: Ground) -> None:
    turning, goal = TurningRound(f1tenth), _ahead(_line(), 1.0)
    away = np.array([0.0, 0.0, 2.5])
    assert not turning.needed(0.0, away, 3.0, goal) and not turning.needed(0.8, away, -3.0, goal)
    assert turning.needed(1.1, away, -3.0, goal), "a spin that does not end"
    beside = np.array([goal.q[0, 0], 2.0, 0.3])
    assert turning.needed(1.2, beside, 1.0, goal), "until it is near the path"
    assert not turning.needed(1.3, np.array([*goal.q[0, :2], 0.5]), 1.0, goal)
    assert not turning.needed(1.4, away, 0.0, _ahead(_line(), 20.0)), "the reference stands"
    husky = load_robot("husky")
    assert isinstance(husky, Ground)
    assert not TurningRound(husky).needed(0.0, away, 0.0, goal), "it turns on the spot"


SALOON = """name: saloon
description: a saloon car
kind: ground
base_frame: base_link
world_frame: odom
control_rate_hz: 100
mass_kg: 1093.3
yaw_inertia_kg_m2: 1791.6
com_height_m: 0.614
wheels:
  - {name: front_left, position_m: [1.1562, 0.693], steered: true, driven: false}
  - {name: front_right, position_m: [1.1562, -0.693], steered: true, driven: false}
  - {name: rear_left, position_m: [-1.4227, 0.682]}
  - {name: rear_right, position_m: [-1.4227, -0.682]}
wheel_radius_m: 0.344
wheel_inertia_kg_m2: 1.7
steering: {limit_rad: 1.066, rate_rad_s: 0.4, lag_s: 0.1}
drive: {torque_nm: 4000.0, rate_nm_s: 40000.0, lag_s: 0.05}
tyre: {friction: 1.0489, cornering_stiffness: [20.9, 20.9], slip_stiffness: 22.3, rolling_resistance: 0.01}
speed_limit_m_s: 30.0
yaw_rate_limit_rad_s: 2.0
size_m: [4.508, 1.61, 1.4]
"""
"""A saloon car (vehicle 2 of CommonRoad): stiff tyres, slow steering, two driven wheels."""


@pytest.mark.parametrize(("inertia", "wrong"), [(1.7916, True), (120.0, False), (3000.0, False), (17916.0, True)])
def test_a_yaw_inertia_that_mass_and_size_cannot_have_is_refused(tmp_path: Path, inertia: float, wrong: bool) -> None:
    """In other units, plans would turn a thousand times too fast. A uniform box of this size has 2088 kg m²."""
    (tmp_path / "robot.yaml").write_text(SALOON.replace("1791.6", str(inertia)))
    if not wrong:
        assert load_robot(tmp_path).name == "saloon"
        return
    with pytest.raises(RobotError, match=f"yaw_inertia_kg_m2: {inertia:g} cannot be.*uniform box has 2088"):
        load_robot(tmp_path)


def test_a_car_with_stiff_tyres_and_slow_steering_adapts_without_weights(tmp_path: Path) -> None:
    """Plans that steered beyond the tyres' peak, or faster than the car can, left the path by metres.

    Setpoints faster than the believed friction allows drew plans across the bends, by 5 cm.
    """
    (tmp_path / "robot.yaml").write_text(SALOON)
    robot = load_robot(tmp_path)
    assert isinstance(robot, Ground)
    reference, room = GroundOutputs(robot).motion("figure_eight", np.random.default_rng(0), 8.0), simulation(robot)
    plant, controller = room.plant(room.nominal_task()), make_controller(robot, "meta_mpc")
    state, places = plant.reset(reference.sample(np.zeros(1)).q[0]), []
    for k in range(800):
        command = controller.step(0.01 * k, state, reference)
        assert command.status is Status.SOLVED, command.message
        state = plant.step(command.effort, 0.01)
        places.append(plant.truth.q[:2])
    path = reference.sample(np.arange(0.0, 10.0, 0.01)).q[:, :2]
    nearest, _ = nearest_on(path, np.array(places))
    assert np.linalg.norm(nearest - places, axis=1).max() < 0.01


def _bend() -> PathReference:
    """A circle of 5 m that is driven at 4 m/s."""
    angle = np.linspace(0.0, 2.0, 81)
    way = Way(5.0 * np.column_stack([np.sin(angle), 1.0 - np.cos(angle)]))
    return PathReference(way, stations(way), np.full(len(stations(way)), 4.0))


def test_a_slow_vehicle_gets_setpoints_that_it_can_reach() -> None:
    dt, speed, rate = 0.02, 1.0, 2.0
    points = _bend().sample(0.5 + dt * np.arange(60))
    slower = reachable(points, dt, points.q[0, :2], speed, rate, 0.1)
    wanted = np.minimum(speed + rate * dt * np.arange(60), 4.0)
    np.testing.assert_allclose(np.hypot(*slower.v[:, :2].T), wanted, atol=0.02)
    np.testing.assert_allclose(np.hypot(slower.q[:, 0], slower.q[:, 1] - 5.0), 5.0, atol=2e-3)  # the same path
    np.testing.assert_allclose(np.diff(slower.q, axis=0) / dt, 0.5 * (slower.v[1:] + slower.v[:-1]), atol=0.02)
    inwards = np.array([0.0, 5.0]) - slower.q[:, :2]  # the reference's own acceleration along the path is zero
    np.testing.assert_allclose(slower.a[:, :2], wanted[:, None] ** 2 / 25.0 * inwards, atol=0.1)
    np.testing.assert_array_equal(slower.q[0], points.q[0])


def test_a_vehicle_as_fast_as_its_reference_or_beside_one_that_stands_keeps_the_setpoints() -> None:
    dt = 0.02
    points, standing = _bend().sample(0.5 + dt * np.arange(60)), _bend().sample(-2.0 + dt * np.arange(60))
    assert reachable(points, dt, points.q[0, :2], 4.1, 2.0, 0.1) is points
    assert reachable(standing, dt, standing.q[0, :2], 0.0, 2.0, 0.1) is standing


def test_a_vehicle_away_from_its_path_is_not_slowed() -> None:
    dt = 0.02
    points = _bend().sample(0.5 + dt * np.arange(60))
    for away_m, first in ((0.0, 1.0), (0.05, 1.0), (0.075, 2.5), (0.1, 4.0), (3.0, 4.0)):
        left = np.array([-np.sin(points.q[0, 2]), np.cos(points.q[0, 2])])
        slower = reachable(points, dt, points.q[0, :2] + away_m * left, 1.0, 2.0, 0.1)
        assert np.hypot(*slower.v[0, :2]) == pytest.approx(first)


def test_a_vehicle_that_stands_or_rolls_back_beside_a_moving_reference_starts() -> None:
    dt = 0.02
    points = _line().sample(4.5 + dt * np.arange(400))  # it ends at rest
    for speed in (0.0, -0.3):
        slower = reachable(points, dt, points.q[0, :2], speed, 2.0, 0.1)
        assert np.isfinite(slower.q).all() and np.isfinite(slower.v).all() and np.isfinite(slower.a).all()
        np.testing.assert_allclose(slower.v[:20, 0], 2.0 * dt * np.arange(20), atol=0.03)
        assert slower.q[-1, 0] == pytest.approx(30.0, abs=1e-2)
