# SPDX-License-Identifier: Apache-2.0
"""Simulated quadrotors: laws of mechanics, motors, air, delays and noise; a single one equals one among many."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from metarl_robot.core import rotation
from metarl_robot.core.errors import MetaRLError, SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, MotorModel, Quadrotor
from metarl_robot.sim.inertia import symmetric
from metarl_robot.sim.payload import Payload
from metarl_robot.sim.quadrotor.aerodynamics import Aerodynamics
from metarl_robot.sim.quadrotor.model import hover_command
from metarl_robot.sim.quadrotor.plant import QuadrotorBatch, QuadrotorPlant
from metarl_robot.sim.quadrotor.ranges import TRAIN, arm_length, draw_payload, draw_task
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wall, Wind

ROBOTS = {name: load_robot(name) for name in ("x500", "hummingbird", "crazyflie")}
X500, CRAZYFLIE = ROBOTS["x500"], ROBOTS["crazyflie"]
NO_AIR = QuadrotorTask(drag_scale=(0.0, 0.0), ground_effect=False)
NO_FORCE = replace(NO_AIR, effectiveness=np.zeros(4))
each_robot = pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS)


def high(robot: Quadrotor, height_m: float = 50.0) -> np.ndarray:
    return np.array([0.0, 0.0, height_m, *robot.home[3:]])


def fly(plant: QuadrotorPlant, command: np.ndarray, duration_s: float) -> None:
    for _ in range(round(duration_s / plant.robot.control_period_s)):
        plant.step(command, plant.robot.control_period_s)


def boxed(robot: Quadrotor, seed: int) -> Payload:
    return draw_payload(robot, np.random.default_rng(seed), replace(TRAIN, payload_ratio=(0.2, 0.3)))


# Mechanics.


@each_robot
def test_free_fall(robot) -> None:
    plant = QuadrotorPlant(robot, replace(NO_FORCE, payload=boxed(robot, 0)))
    plant.reset(high(robot), np.array([1.0, -2.0, 3.0, 0.0, 0.0, 0.0]))
    fly(plant, robot.effort_lower, 1.0)
    fallen = 50.0 + 3.0 - GRAVITY_M_S2 / 2
    np.testing.assert_allclose(plant.truth.q, [1.0, -2.0, fallen, 1.0, 0.0, 0.0, 0.0], atol=1e-5)  # g dt^2, rounded
    np.testing.assert_allclose(plant.truth.v, [1.0, -2.0, 3.0 - GRAVITY_M_S2, 0.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(plant.truth.specific_force, np.zeros(3), atol=1e-9)


@each_robot
@pytest.mark.parametrize("seed", range(3))
def test_hover_is_an_equilibrium(robot, seed: int) -> None:
    rng = np.random.default_rng(seed)
    task = replace(
        NO_AIR, payload=boxed(robot, seed), battery=rng.uniform(0.9, 1.0), effectiveness=rng.uniform(0.95, 1.0, 4)
    )
    command = hover_command(robot, task)
    assert np.all(command < robot.effort_limit)
    plant = QuadrotorPlant(robot, task)
    fly(plant, command, 1.0)
    np.testing.assert_allclose(plant.truth.q, robot.home, atol=1e-6)  # rounding grows: a hover is not stable by itself
    np.testing.assert_allclose(plant.truth.specific_force, [0.0, 0.0, GRAVITY_M_S2], atol=1e-6)


@each_robot
@pytest.mark.parametrize("sling", [False, True])
def test_momentum_and_energy_without_forces(robot, sling: bool) -> None:
    payload = Payload(0.2 * robot.mass_kg) if sling else boxed(robot, 1)
    task = replace(NO_FORCE, payload=payload, sling_m=3.0 * arm_length(robot) if sling else 0.0)
    plant = QuadrotorPlant(robot, task)
    plant.reset(high(robot), np.array([1.0, 0.5, 2.0, 3.0, -2.0, 1.0]))
    before, energy = momenta(plant), sum(plant.energy())
    kinetic = plant.energy()[1]
    fly(plant, robot.effort_lower, 1.0)
    after = momenta(plant)
    weight = (robot.mass_kg + payload.mass_kg) * GRAVITY_M_S2
    # the sling is shown half a step late
    np.testing.assert_allclose(after[0], before[0] - [0.0, 0.0, weight], atol=1e-4 * weight)
    np.testing.assert_allclose(after[1], before[1], atol=(5e-3 if sling else 2e-3) * np.linalg.norm(before[1]))
    lost = energy - sum(plant.energy())
    assert -2e-3 * kinetic < lost < (0.05 if sling else 2e-3) * kinetic  # a sling is damped a little


def momenta(plant: QuadrotorPlant) -> tuple[np.ndarray, np.ndarray]:
    """Linear, and angular about the common centre of mass [world]."""
    model, data = plant.mujoco_state()
    mujoco.mj_forward(model, data)
    mujoco.mj_subtreeVel(model, data)
    return model.body_subtreemass[1] * data.subtree_linvel[1], np.array(data.subtree_angmom[1])


@each_robot
@pytest.mark.parametrize("seed", range(2))
def test_against_an_integrator_of_the_equations_of_motion(robot, seed: int) -> None:
    """Payload, uneven rotors, lagging motors, drag and steady wind, integrated by an adaptive Runge-Kutta method
    without MuJoCo.
    """
    rng = np.random.default_rng(seed)
    wind = Wind(mean_m_s=rng.uniform(-3.0, 3.0, 3))
    task = QuadrotorTask(
        boxed(robot, seed),
        wind=wind,
        drag_scale=(1.2, 0.8),
        effectiveness=rng.uniform(0.8, 1.0, 4),
        ground_effect=False,
    )
    spin = 0.2 * robot.velocity_limit[3:] * rng.uniform(-1.0, 1.0, 3)
    q = np.array([0.0, 0.0, 50.0, *rotation.exp(0.3 * rng.normal(size=3))])
    v = np.array([*rng.normal(size=3), *spin])
    command = np.minimum(hover_command(robot, task) * rng.uniform(0.98, 1.02, 4), robot.effort_limit)
    q_true, v_true = integrated(robot, task, q, v, command, 0.5)
    errors = []
    for dt in (0.001, 0.0005):
        plant = QuadrotorPlant(robot, task, physics_dt_s=dt)
        plant.reset(q, v)
        fly(plant, command, 0.5)
        truth = plant.truth
        errors.append(
            np.concatenate([truth.q[:3] - q_true[:3], rotation.error(truth.q[3:], q_true[3:]), truth.v - v_true])
        )
    assert np.linalg.norm(errors[0][:3]) < 1e-3
    assert np.linalg.norm(errors[0][3:6]) < 2e-3
    assert np.linalg.norm(errors[0][6:]) < 1e-2
    # of first order: towards the truth
    assert np.linalg.norm(errors[1]) == pytest.approx(0.5 * np.linalg.norm(errors[0]), rel=0.05)


def integrated(
    robot: Quadrotor, task: QuadrotorTask, q, v, command, duration_s: float
) -> tuple[np.ndarray, np.ndarray]:
    air, payload = Aerodynamics(robot, [task]), task.payload
    lever = robot.payload_position + payload.com_m
    mass = robot.mass_kg + payload.mass_kg
    first = payload.mass_kg * lever
    inertia = (
        robot.inertia
        + symmetric(payload.inertia_kg_m2)
        + payload.mass_kg * (lever @ lever * np.eye(3) - np.outer(lever, lever))
    )
    target, start = robot.speeds(command), robot.speeds(hover_command(robot, task))
    tau = np.where(target > start, *robot.motor_time_s)

    def rate(time: float, x: np.ndarray) -> np.ndarray:
        attitude, twist = x[3:7] / np.linalg.norm(x[3:7]), x[7:]
        matrix, omega = rotation.to_matrix(attitude), twist[3:]
        square = (target + (start - target) * np.exp(-time / tau)) ** 2
        wrench = air.force(matrix[None], x[None, 2:3], twist[None], task.wind.mean_m_s[None], square[None])[0]
        force = matrix.T @ (wrench[:3] - [0.0, 0.0, mass * GRAVITY_M_S2]) - np.cross(omega, np.cross(omega, first))
        torque = wrench[3:] - np.cross(omega, inertia @ omega) + np.cross(first, matrix.T @ [0.0, 0.0, -GRAVITY_M_S2])
        coupling = rotation.skew(first)
        bodily = np.linalg.solve(
            np.block([[mass * np.eye(3), -coupling], [coupling, inertia]]), np.concatenate([force, torque])
        )
        turning = 0.5 * rotation.multiply(attitude, np.array([0.0, *omega]))
        return np.concatenate([twist[:3], turning, matrix @ bodily[:3], bodily[3:]])

    end = solve_ivp(rate, (0.0, duration_s), np.concatenate([q, v]), rtol=1e-9, atol=1e-10).y[:, -1]
    return end[:7] / np.r_[np.ones(3), np.full(4, np.linalg.norm(end[3:7]))], end[7:]


# Air.


@each_robot
def test_terminal_velocity(robot) -> None:
    task = replace(NO_FORCE, drag_scale=(0.0, 1.0))
    plant = QuadrotorPlant(robot, task)
    terminal = np.sqrt(robot.mass_kg * GRAVITY_M_S2 / robot.parasitic_drag[2])
    plant.reset(high(robot, 1000.0), np.array([0.0, 0.0, -0.8 * terminal, 0.0, 0.0, 0.0]))
    fly(plant, robot.effort_lower, 2.5 * terminal / GRAVITY_M_S2)
    assert plant.truth.v[2] == pytest.approx(-terminal, rel=0.01)


@each_robot
def test_only_motion_relative_to_the_air_counts(robot) -> None:
    rng = np.random.default_rng(0)
    air = Aerodynamics(robot, [QuadrotorTask()])
    attitude, height = rotation.to_matrix(rotation.exp(rng.normal(size=(1, 3)))), np.array([[30.0]])
    square, velocity, wind = (
        robot.speeds(robot.hover_thrust)[None] ** 2,
        rng.normal(size=(1, 6)),
        rng.normal(size=(1, 3)),
    )
    moved = velocity.copy()
    moved[:, :3] += wind
    np.testing.assert_allclose(
        air.force(attitude, height, moved, wind, square),
        air.force(attitude, height, velocity, 0 * wind, square),
        rtol=1e-10,
        atol=1e-12,
    )


@each_robot
def test_forces_against_their_formulas_rotor_by_rotor(robot) -> None:
    rng = np.random.default_rng(1)
    task = QuadrotorTask(drag_scale=(1.3, 0.7), effectiveness=(1.0, 0.9, 0.8, 0.7), battery=0.9, ground_effect=False)
    matrix = rotation.to_matrix(rotation.exp(rng.normal(size=3)))
    velocity, wind, speeds = (
        rng.normal(size=6),
        rng.normal(size=3),
        rng.uniform(0.3, 1.0, 4) * robot.speeds(robot.effort_limit),
    )
    air, omega = matrix.T @ (velocity[:3] - wind), velocity[3:]
    force, torque = -0.7 * robot.parasitic_drag * np.linalg.norm(air) * air, np.zeros(3)
    for i, place in enumerate(robot.rotor_positions):
        hub = air + np.cross(omega, place)
        thrust = 0.9 * task.effectiveness[i] * robot.thrust_coefficient * speeds[i] ** 2
        pull = np.array([0.0, 0.0, thrust]) - 1.3 * robot.rotor_drag[[0, 0, 1]] * speeds[i] * hub
        force += pull
        torque += np.cross(place, pull) - [0.0, 0.0, robot.spin[i] * robot.torque_ratio * thrust]
    made = Aerodynamics(robot, [task]).force(
        matrix[None], np.array([[9.0]]), velocity[None], wind[None], speeds[None] ** 2
    )[0]
    np.testing.assert_allclose(made, [*(matrix @ force), *torque], rtol=1e-9, atol=1e-12)


@each_robot
def test_drag_takes_energy(robot) -> None:
    rng = np.random.default_rng(2)
    air = Aerodynamics(robot, [QuadrotorTask(effectiveness=np.zeros(4))])
    square = robot.speeds(robot.hover_thrust)[None] ** 2
    for _ in range(50):
        matrix, velocity = rotation.to_matrix(rotation.exp(rng.normal(size=(1, 3)))), rng.normal(size=(1, 6))
        force = air.force(matrix, np.array([[9.0]]), velocity, np.zeros((1, 3)), square)
        assert np.sum(force * velocity) < 0.0


@each_robot
def test_ground_effect_follows_cheeseman_and_bennett_and_is_bounded(robot) -> None:
    air = Aerodynamics(robot, [QuadrotorTask(drag_scale=(0.0, 0.0))])
    square = robot.speeds(robot.hover_thrust)[None] ** 2
    radius, hub = robot.rotor_radius_m, robot.rotor_positions[0, 2]

    def lift(height_m: float) -> float:
        return air.force(np.eye(3)[None], np.array([[height_m - hub]]), np.zeros((1, 6)), np.zeros((1, 3)), square)[
            0, 2
        ]

    weight = robot.mass_kg * GRAVITY_M_S2
    assert lift(radius) == pytest.approx(weight / (1.0 - 1.0 / 16.0))
    assert lift(100.0 * radius) == pytest.approx(weight, rel=1e-5)
    assert lift(0.0) == lift(-1.0) == pytest.approx(weight * 4.0 / 3.0)


@each_robot
def test_a_wall_of_wind_is_felt_behind_it_only(robot) -> None:
    wind = Wind(mean_m_s=(3.0, 1.0, 0.0), wall=Wall((0.0, 1.0, 0.0), 2.0, 0.5))
    plant = QuadrotorPlant(robot, QuadrotorTask(wind=wind, ground_effect=False))
    felt = []
    for y in (1.9, 2.0, 2.1, 2.25, 2.4, 2.5, 3.0):
        plant.reset(np.array([5.0, y, 10.0, 1.0, 0.0, 0.0, 0.0]))
        felt.append(plant.wind[0] / 3.0)
    np.testing.assert_allclose(felt, [0.0, 0.0, 0.104, 0.5, 0.896, 1.0, 1.0], atol=1e-9)
    plant.reset(np.array([5.0, 1.0, 10.0, 1.0, 0.0, 0.0, 0.0]))
    fly(plant, hover_command(robot, plant.task), 0.5)
    assert np.linalg.norm(plant.truth.v) < 1e-6
    plant.reset(np.array([5.0, 4.0, 10.0, 1.0, 0.0, 0.0, 0.0]))
    fly(plant, hover_command(robot, plant.task), 0.5)
    assert plant.truth.v[0] > 0.01


# Motors.


@each_robot
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_motors_lag(robot, share: float) -> None:
    plant = QuadrotorPlant(robot, NO_AIR)
    plant.reset(high(robot))
    start, target = robot.speeds(robot.hover_thrust), robot.speeds(share * robot.effort_limit)
    tau = np.where(target > start, *robot.motor_time_s)
    for k in range(1, 40):
        plant.step(share * robot.effort_limit, 0.001)
        np.testing.assert_allclose(plant.rotor_speeds, target + (start - target) * np.exp(-0.001 * k / tau), rtol=1e-9)


@each_robot
def test_mean_thrust_is_that_of_the_nominal_motor_model(robot) -> None:
    rng = np.random.default_rng(0)
    task = replace(NO_AIR, effectiveness=(1.0, 0.7, 1.0, 0.9), battery=0.95)
    plant = QuadrotorPlant(robot, task)
    plant.reset(high(robot))
    motors = MotorModel(robot, hover_command(robot, task))
    for _ in range(20):
        command = rng.uniform(robot.effort_lower, robot.effort_limit)
        plant.step(command, robot.control_period_s)
        mean = motors.advance(command, robot.control_period_s)
        # The mean of a step's ends is that of the step up to (dt / tau)^2 / 6.
        np.testing.assert_allclose(plant.applied_effort, task.thrust_gain(plant.robot) * mean, rtol=0.01)


def test_weak_rotors_and_an_empty_battery_give_less() -> None:
    for task in (replace(NO_AIR, battery=0.8), replace(NO_AIR, effectiveness=np.full(4, 0.8))):
        plant = QuadrotorPlant(X500, task)
        plant.reset(high(X500))
        fly(plant, X500.hover_thrust, 0.5)
        assert plant.truth.specific_force[2] == pytest.approx(0.8 * GRAVITY_M_S2, rel=1e-6)


# Delays and sensors.


@pytest.mark.parametrize(("delay_s", "steps"), [(0.0, 0), (0.0101, 11), (0.020, 20)])
def test_commands_act_after_their_delay(delay_s: float, steps: int) -> None:
    plant = QuadrotorPlant(X500, replace(NO_AIR, command_delay_s=delay_s))
    plant.reset(high(X500))
    start = plant.rotor_speeds
    for k in range(30):
        plant.step(0.9 * X500.effort_limit if k < 3 else X500.hover_thrust, 0.001)
        assert np.all(plant.rotor_speeds > start) == (k >= steps)


@pytest.mark.parametrize(("delay_s", "steps"), [(0.0, 0), (0.0041, 5), (0.020, 20)])
def test_measurements_are_as_old_as_the_delay(delay_s: float, steps: int) -> None:
    plant = QuadrotorPlant(X500, replace(NO_AIR, sensor_delay_s=delay_s))
    plant.reset(high(X500))
    truths = [plant.truth]
    for k in range(40):
        measured = plant.step(np.array([5.0, 5.1, 5.2, 5.3]), 0.001)
        truths.append(plant.truth)
        past = truths[max(0, k + 1 - steps)]
        for name in ("q", "v", "specific_force"):
            np.testing.assert_allclose(getattr(measured, name), getattr(past, name), rtol=0, atol=1e-15)
        assert plant.stamp == pytest.approx(plant.time - 0.001 * steps)


def test_the_accelerometer_shows_the_change_of_velocity_over_a_period() -> None:
    plant = QuadrotorPlant(CRAZYFLIE, QuadrotorTask(wind=Wind(mean_m_s=(2.0, 0.0, 0.0))))
    plant.reset(high(CRAZYFLIE), np.array([0.5, 0.0, 0.0, 1.0, -2.0, 0.5]))
    period = CRAZYFLIE.control_period_s
    for _ in range(20):
        before = plant.truth
        plant.step(CRAZYFLIE.hover_thrust, period)
        after = plant.truth
        middle = rotation.integrate(before.q[3:], before.v[3:], 0.5 * period)
        expected = rotation.rotate_back(middle, (after.v[:3] - before.v[:3]) / period + [0.0, 0.0, GRAVITY_M_S2])
        # the body turns by some 0.01 rad meanwhile
        np.testing.assert_allclose(after.specific_force, expected, atol=0.02)


def test_noise_has_the_tasks_standard_deviations() -> None:
    stds = {
        "position_noise_m": 0.001,
        "attitude_noise_rad": 0.002,
        "velocity_noise_m_s": 0.02,
        "gyro_noise_rad_s": 0.01,
    }
    plant = QuadrotorPlant(X500, replace(NO_AIR, **stds, accelerometer_noise_m_s2=0.3), seed=5)
    rows = []
    for _ in range(800):
        measured = plant.step(X500.hover_thrust, 0.001)
        truth = plant.truth
        assert np.linalg.norm(measured.q[3:]) == pytest.approx(1.0, abs=1e-12)
        turned = rotation.error(truth.q[3:], measured.q[3:])
        rows.append(
            [
                *(measured.q - truth.q)[:3],
                *turned,
                *(measured.v - truth.v),
                *(measured.specific_force - truth.specific_force),
            ]
        )
    measured_stds = np.array(rows).std(0)
    # five standard errors of 800 samples
    np.testing.assert_allclose(measured_stds, np.repeat([*stds.values(), 0.3], 3), rtol=0.12)
    assert np.abs(np.corrcoef(np.array(rows).T) - np.eye(15)).max() < 0.16


# Payloads.


@each_robot
@pytest.mark.parametrize("sling", [False, True])
def test_hooking_on_a_payload_changes_neither_pose_nor_velocity(robot, sling: bool) -> None:
    plant = QuadrotorPlant(robot, QuadrotorTask())
    plant.reset(high(robot), np.array([1.0, 0.0, 0.5, 0.3, -0.2, 0.1]))
    fly(plant, robot.hover_thrust, 0.1)
    before, speeds = plant.truth, plant.rotor_speeds
    payload = Payload(0.3 * robot.mass_kg) if sling else boxed(robot, 3)
    plant.set_task(QuadrotorTask(payload=payload, sling_m=0.5 if sling else 0.0))
    np.testing.assert_array_equal(plant.truth.q, before.q)
    np.testing.assert_array_equal(plant.truth.v, before.v)
    np.testing.assert_array_equal(plant.rotor_speeds, speeds)
    site = before.q[:3] + rotation.rotate(
        before.q[3:], robot.payload_position + (0.0 if sling else 1.0) * payload.com_m
    )
    # half a step's motion
    np.testing.assert_allclose(plant.payload_position, site - [0.0, 0.0, 0.5 if sling else 0.0], atol=2e-3)
    plant.step(robot.hover_thrust, 0.05)
    assert plant.truth.v[2] < before.v[2] - 0.05  # and it is heavy
    plant.set_task(QuadrotorTask())
    plant.step(robot.hover_thrust, 0.05)


@each_robot
def test_a_slung_payload_hangs_still_and_swings_about_its_hook_at_the_length_of_the_sling(robot) -> None:
    length = 0.5
    task = replace(NO_AIR, payload=Payload(0.2 * robot.mass_kg), sling_m=length)
    plant = QuadrotorPlant(robot, task)
    plant.reset(high(robot))
    fly(plant, hover_command(robot, task), 0.5)
    hook = plant.truth.q[:3] + robot.payload_position
    np.testing.assert_allclose(plant.payload_position, hook - [0.0, 0.0, length], atol=1e-6)
    plant.reset(high(robot), np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    for _ in range(40):
        plant.step(hover_command(robot, task), robot.control_period_s)
        q = plant.truth.q
        hook = q[:3] + rotation.rotate(q[3:], robot.payload_position)
        assert np.linalg.norm(plant.payload_position - hook) == pytest.approx(length, abs=2e-3)


# Crashes, limits, misuse.


@each_robot
def test_a_crash_is_noticed_on_the_ground(robot) -> None:
    plant = QuadrotorPlant(robot, QuadrotorTask())
    assert not plant.crashed
    fly(plant, robot.effort_lower, 2.0)
    assert plant.crashed
    assert 0.0 < plant.truth.q[2] < 0.2  # it lies there
    plant.reset()
    assert not plant.crashed


@each_robot
def test_a_crash_is_noticed_upside_down(robot) -> None:
    plant = QuadrotorPlant(robot, QuadrotorTask())
    for angle, crashed in ((95.0, False), (105.0, True)):
        plant.reset(np.array([0.0, 0.0, 50.0, *rotation.exp(np.array([np.deg2rad(angle), 0.0, 0.0]))]))
        plant.step(robot.hover_thrust, 0.001)
        assert plant.crashed == crashed


def test_violations_are_counted() -> None:
    plant = QuadrotorPlant(X500, NO_FORCE)
    plant.reset(high(X500), np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.1 * X500.velocity_limit[5]]))
    plant.step(1.1 * X500.effort_limit, 0.005)
    plant.step(X500.effort_lower, 0.005)
    counts = plant.violations
    assert (counts.thrust, counts.speed, counts.rate, counts.any) == (5, 0, 10, 10)


@pytest.mark.parametrize("effort", [np.zeros(3), np.array([1.0, 1.0, np.nan, 1.0])])
def test_commands_that_cannot_be_are_refused(effort) -> None:
    plant = QuadrotorPlant(X500, QuadrotorTask())
    before = plant.truth
    with pytest.raises(SignalError, match="plant: effort"):
        plant.step(effort, 0.005)
    with pytest.raises(SignalError, match="multiple of the physics step"):
        plant.step(X500.hover_thrust, 0.0005)
    np.testing.assert_array_equal(plant.truth.q, before.q)


# Repetition and batches.


def test_the_same_seed_gives_the_same_flight() -> None:
    task = draw_task(X500, np.random.default_rng(4))
    runs = []
    for seed in (1, 1, 2):
        plant = QuadrotorPlant(X500, task, seed)
        runs.append([plant.step(hover_command(X500, task), 0.005).q for _ in range(50)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@each_robot
@pytest.mark.parametrize("sling", [False, True])
@pytest.mark.parametrize("compiled", [True, False])
def test_each_quadrotor_of_a_batch_flies_as_it_would_alone(robot, sling: bool, compiled: bool) -> None:
    rng = np.random.default_rng(0)
    tasks = [draw_task(robot, rng) for _ in range(5)]
    tasks[0] = replace(tasks[0], wind=Wind((3.0, 0.0, 0.0), gust_m_s=1.0, wall=Wall((1.0, 0.0, 0.0), -0.2)))
    if sling:
        tasks = [
            replace(task, payload=Payload(0.1 * robot.mass_kg), sling_m=0.2 + 0.1 * i) for i, task in enumerate(tasks)
        ]
    q = np.array([high(robot)] * 5) + 0.1 * rng.normal(size=(5, 7))
    q[:, 3:] = rotation.normalise(q[:, 3:])
    v = 0.3 * rng.normal(size=(5, 6))
    batch = QuadrotorBatch(robot, tasks, range(5))
    plants = [QuadrotorPlant(robot, task, seed) for seed, task in enumerate(tasks)]
    for _ in range(2):  # the second reset forgets the first run
        measured, singles = batch.reset(q, v), [plant.reset(q[i], v[i]) for i, plant in enumerate(plants)]
        for _ in range(40):
            for name in ("q", "v", "specific_force"):
                np.testing.assert_array_equal(getattr(measured, name), [getattr(single, name) for single in singles])
            effort = robot.hover_thrust * rng.uniform(0.7, 1.3, (5, 4))
            measured, singles = (
                batch.step(effort),
                [p.step(effort[i], robot.control_period_s) for i, p in enumerate(plants)],
            )
        np.testing.assert_array_equal(batch.truth.q, [plant.truth.q for plant in plants])


def test_a_batch_takes_slings_or_none() -> None:
    with pytest.raises(MetaRLError, match="slings"):
        QuadrotorBatch(X500, [QuadrotorTask(), QuadrotorTask(payload=Payload(0.1), sling_m=0.3)], [0, 1])
