# SPDX-License-Identifier: Apache-2.0
"""A ground vehicle's tyres and dynamics against physics, finite differences and the simulated vehicle."""

from __future__ import annotations

from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import feature_map, raw_groups, true_contexts
from metarl_robot.core.robot import load_robot
from metarl_robot.dynamics.momentum_balance import Balance
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.dynamics import (
    ACTUATORS,
    LOAD,
    N_PARAMETERS,
    SLOPE,
    SURFACE,
    GroundDynamics,
    flow,
    mass_of,
    tyre_wrench,
)
from metarl_robot.robots.ground.tyre import LEAST_LATERAL_SHARE, lateral_force, slip_force
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.task import GroundTask

Array = NDArray[np.float64]

DT = 0.01
NOMINAL = np.zeros(N_PARAMETERS)
LEVEL = GroundTask()


@pytest.fixture(scope="module")
def robot() -> Ground:
    made = load_robot("f1tenth")
    assert isinstance(made, Ground)
    return made


@pytest.fixture(scope="module")
def dynamics(robot: Ground) -> GroundDynamics:
    return GroundDynamics(robot)


def _parameters(rng: np.random.Generator) -> Array:
    """Parameters of a random surface, load, slope and actuators."""
    p = np.zeros(N_PARAMETERS)
    p[SURFACE] = rng.uniform([-0.7, -0.4, 0.0], [0.1, 0.2, 0.05])
    mass, x, y = rng.uniform([0.2, -0.15, -0.1], [1.5, 0.15, 0.1])
    p[LOAD] = mass, mass * x, mass * y, mass * (x * x + y * y) + 0.01
    p[SLOPE], p[ACTUATORS] = rng.uniform(-0.1, 0.1, 2), rng.uniform([-0.05, -0.2], [0.05, 0.1])
    return p


def _twist(rng: np.random.Generator) -> Array:
    """Forward and left velocity [m/s] and yaw rate [rad/s], up to a spin."""
    return np.array(rng.uniform([-5.0, -2.0, -6.0], [5.0, 2.0, 6.0]))


def _tyre_wrench(robot: Ground) -> ca.Function:
    twist, effort, p = ca.SX.sym("twist", 3), ca.SX.sym("effort", robot.nu), ca.SX.sym("p", N_PARAMETERS)
    force = tyre_wrench(robot, twist, effort, p)
    return ca.Function("tyres", [twist, effort, p], [ca.densify(force), ca.jacobian(force, ca.vertcat(twist, effort))])


def _mass(robot: Ground, p: Array) -> Array:
    return np.array(ca.DM(ca.evalf(mass_of(robot, ca.SX(ca.DM(p))))))


def _turn(yaw: float) -> Array:
    """Rotation (3, 3) from body to world directions."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _numbers(*rows: ca.DM) -> list[Array]:
    return [np.array(row).ravel() for row in rows]


# Tyres.


def test_slip_force_stays_in_the_friction_circle() -> None:
    rng = np.random.default_rng(0)
    count = 2000
    load, friction = rng.uniform(1.0, 30.0, count), rng.uniform(0.1, 1.5, count)
    along, across = rng.normal(size=(2, count)) * 10.0 ** rng.uniform(-3.0, 3.0, count)
    forward, left = _numbers(*slip_force(*(ca.DM(x) for x in (load, friction, along, across))))
    assert np.all(np.hypot(forward, left) <= friction * load * (1.0 + 1e-12))
    assert np.all(forward * along >= 0.0) and np.all(left * across >= 0.0)
    assert np.max(np.hypot(forward, left) / (friction * load)) > 0.99  # the peak of the tyre is its friction


def test_lateral_force_leaves_the_drive_force_its_share_of_the_friction_circle() -> None:
    rng = np.random.default_rng(1)
    count = 2000
    load, friction = rng.uniform(1.0, 30.0, count), rng.uniform(0.1, 1.5, count)
    across = rng.normal(size=count) * 10.0 ** rng.uniform(-3.0, 3.0, count)
    grip = friction * load
    drive = grip * rng.uniform(-1.0, 1.0, count)
    (left,) = _numbers(lateral_force(*(ca.DM(x) for x in (load, friction, across, drive))))
    # a least share of the lateral force is left at the limit: |F|² <= (1 + share²) grip²
    assert np.all(np.hypot(left, drive) <= grip * np.sqrt(1.0 + LEAST_LATERAL_SHARE**2))
    free = np.abs(drive) < 0.99 * grip
    assert np.all(np.hypot(left, drive)[free] <= grip[free] * (1.0 + 1e-12))


def test_small_slip_gives_the_linear_tyre() -> None:
    load, friction, slip = 10.0, 0.8, 1e-3
    forward, left = slip_force(*(ca.DM(x) for x in (load, friction, slip, -2.0 * slip)))
    assert np.allclose([float(forward), float(left)], [load * slip, -2.0 * load * slip], rtol=1e-3)
    assert float(lateral_force(*(ca.DM(x) for x in (load, friction, slip, 0.0)))) == pytest.approx(
        load * slip, rel=1e-3
    )


def test_all_tyres_together_pull_no_more_than_friction_times_weight(robot: Ground) -> None:
    function, rng = _tyre_wrench(robot), np.random.default_rng(2)
    for _ in range(300):
        p = _parameters(rng)
        effort = rng.uniform(1.2 * robot.effort_lower, 1.2 * robot.effort_limit)
        force = np.array(function(_twist(rng), effort, p)[0]).ravel()
        weight, friction = GRAVITY_M_S2 * (robot.mass_kg + p[LOAD][0]), robot.friction * np.exp(p[0])
        rolling = robot.rolling + p[2]
        assert np.hypot(force[0], force[1]) <= weight * (friction * np.sqrt(1.0 + LEAST_LATERAL_SHARE**2) + rolling)


@pytest.mark.parametrize("steering", [0.0, 0.3])
def test_forces_are_smooth_at_standstill(robot: Ground, steering: float) -> None:
    function, step = _tyre_wrench(robot), 1e-4
    for torque in (0.0, 0.5, 5.0):
        effort = np.array([steering, torque])
        still, slope = (np.array(part) for part in function(np.zeros(3), effort, NOMINAL))
        assert np.all(np.isfinite(still)) and np.all(np.isfinite(slope))
        for k, direction in enumerate(np.eye(3)):
            ahead, behind = (
                np.array(function(sign * step * direction, effort, NOMINAL)[0]).ravel() for sign in (1.0, -1.0)
            )
            # a Coulomb force would jump by 2 mu m g within the step: 77 N, against 0.04 N of the damper
            assert np.allclose((ahead - behind) / (2.0 * step), slope[:, k], atol=1e-3 * np.abs(slope).max())


def test_balance_is_finite_at_standstill(robot: Ground, dynamics: GroundDynamics) -> None:
    still = np.zeros(3)
    for effort in (np.zeros(2), np.array([0.2, 1.0]), np.array([-0.4, -robot.effort_limit[1]])):
        balance = dynamics.balance(still, still, still, DT, NOMINAL, effort)
        assert all(np.all(np.isfinite(part)) for part in balance)


# Energy.


@pytest.mark.parametrize("steering", [0.0, 0.25, -0.4])
def test_tyres_of_a_coasting_vehicle_take_energy(robot: Ground, steering: float) -> None:
    function, rng = _tyre_wrench(robot), np.random.default_rng(3)
    for _ in range(300):
        twist = _twist(rng) * 10.0 ** rng.uniform(-4.0, 0.0)
        force = np.array(function(twist, np.array([steering, 0.0]), NOMINAL)[0]).ravel()
        assert force @ twist < 0.0


def test_kinetic_energy_of_the_loaded_vehicle_changes_by_the_power_of_its_tyres(robot: Ground) -> None:
    x, u, p = ca.SX.sym("x", 8), ca.SX.sym("u", 2), ca.SX.sym("p", N_PARAMETERS)
    function = ca.Function("flow", [x, u, p], [flow(robot, x, u, ca.SX.zeros(3), p)])
    tyres, rng = _tyre_wrench(robot), np.random.default_rng(4)
    for _ in range(50):
        twist, yaw, parameters = _twist(rng), rng.uniform(-3.0, 3.0), _parameters(rng)
        parameters[SLOPE] = 0.0
        effort = rng.uniform(robot.effort_lower, robot.effort_limit)
        state = np.concatenate([[1.0, -2.0, yaw], _turn(yaw) @ twist, effort])
        rate = np.array(function(state, effort, parameters)).ravel()[3:6]
        # the twist changes by the acceleration and by the turn of the body's directions
        change = _turn(-yaw) @ rate + twist[2] * np.array([twist[1], -twist[0], 0.0])
        power = np.array(tyres(twist, effort, parameters)[0]).ravel() @ twist
        assert twist @ _mass(robot, parameters) @ change == pytest.approx(power, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("steering", [0.0, 0.3])
def test_a_coasting_simulated_vehicle_does_not_gain_energy(robot: Ground, steering: float) -> None:
    rng = np.random.default_rng(5)
    wheel = robot.description.wheel_inertia_kg_m2
    masses = np.array([robot.mass_kg, robot.mass_kg, robot.yaw_inertia])
    for _ in range(4):
        plant = GroundPlant(robot, LEVEL)
        plant.reset(np.zeros(3), _twist(rng))
        energies = []
        for _ in range(60):
            plant.step(np.array([steering, 0.0]), DT)
            energies.append(0.5 * masses @ plant.truth.v**2 + 0.5 * wheel * plant.wheel_speeds @ plant.wheel_speeds)
        assert np.all(np.diff(energies) <= 1e-9)
        # rolling resistance alone takes 2 c g t / v = 3.5 % at 5 m/s
        assert energies[-1] < 0.98 * energies[0]


# Load.


def test_mass_matrix_with_a_load_is_that_of_two_rigid_bodies(robot: Ground) -> None:
    rng = np.random.default_rng(6)
    for own in (0.0, 0.02):
        mass, place = float(rng.uniform(0.2, 1.5)), rng.uniform(-0.2, 0.2, 2)
        p = np.zeros(N_PARAMETERS)
        p[LOAD] = mass, *(mass * place), mass * place @ place + own
        matrix = _mass(robot, p)
        twist = rng.normal(size=3)
        there = twist[:2] + twist[2] * np.array([-place[1], place[0]])
        wheels = robot.rolling_mass_kg * twist[0] ** 2
        vehicle = robot.mass_kg * twist[:2] @ twist[:2] + robot.yaw_inertia * twist[2] ** 2
        load = mass * there @ there + own * twist[2] ** 2
        assert twist @ matrix @ twist == pytest.approx(wheels + vehicle + load, rel=1e-12)
        # parallel axis: about the common centre of mass, both bodies turn with their reduced mass
        whole = robot.mass_kg + mass
        centre = np.array([matrix[1, 2], -matrix[0, 2]]) / whole
        about = matrix[2, 2] - whole * centre @ centre
        reduced = robot.mass_kg * mass / whole
        assert about == pytest.approx(robot.yaw_inertia + own + reduced * place @ place, rel=1e-12)


def test_mass_matrix_turns_with_the_vehicle(robot: Ground, dynamics: GroundDynamics) -> None:
    for yaw in (0.0, 0.7, -2.5):
        turn = _turn(yaw)
        matrix = dynamics.mass_matrix(np.array([1.0, 2.0, yaw]))
        assert np.allclose(matrix, turn @ _mass(robot, NOMINAL) @ turn.T, atol=1e-12)


def test_weight_on_a_slope_acts_on_vehicle_and_load_at_their_places(robot: Ground, dynamics: GroundDynamics) -> None:
    mass, place, rise, yaw = 0.9, np.array([-0.1, 0.07]), np.array([0.08, -0.05]), 0.7
    p, still = np.zeros(N_PARAMETERS), np.zeros(3)
    p[LOAD] = mass, *(mass * place), mass * place @ place
    level = dynamics.force(np.array([0.0, 0.0, yaw]), still, np.zeros(2), p)
    p[SLOPE] = rise
    pull = dynamics.force(np.array([0.0, 0.0, yaw]), still, np.zeros(2), p) - level
    x, y = (_turn(yaw) @ np.append(place, 0.0))[:2]
    on_load = -mass * GRAVITY_M_S2 * rise
    assert np.allclose(pull[:2], -robot.mass_kg * GRAVITY_M_S2 * rise + on_load, atol=1e-12)
    assert pull[2] == pytest.approx(x * on_load[1] - y * on_load[0], rel=1e-12)


# The momentum balance of estimators.


def _missing(dynamics: GroundDynamics, interval: tuple[Array, Array, Array], p: Array, effort: Array) -> Array:
    """What the linearised balance states at its own point."""
    balance = dynamics.balance(*interval, DT, p, effort)
    return np.array(balance.deficit + DT * balance.input_map @ effort + balance.attached_impulse @ p)


def _interval(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    yaw = rng.uniform(-3.0, 3.0)
    v = _turn(yaw) @ (0.5 * _twist(rng))
    return np.array([rng.normal(), rng.normal(), yaw]), v, v + rng.normal(size=3) * [0.05, 0.05, 0.2]


def _copied(balance: Balance) -> Balance:
    return Balance(*(part.copy() for part in balance))


def test_balance_derivatives_equal_finite_differences(robot: Ground, dynamics: GroundDynamics) -> None:
    rng, step = np.random.default_rng(7), 1e-5
    for _ in range(10):
        interval, p = _interval(rng), _parameters(rng)
        effort = rng.uniform(0.7 * robot.effort_lower, 0.7 * robot.effort_limit)
        balance = _copied(dynamics.balance(*interval, DT, p, effort))

        def by(change_p: Array, change_u: Array, at: tuple = (interval, p, effort)) -> Array:
            where, parameters, u = at
            ahead = _missing(dynamics, where, parameters + change_p, u + change_u)
            return (ahead - _missing(dynamics, where, parameters - change_p, u - change_u)) / (2.0 * step)

        by_p = np.array([by(step * e, np.zeros(2)) for e in np.eye(N_PARAMETERS)]).T
        by_u = np.array([by(np.zeros(N_PARAMETERS), step * e) for e in np.eye(2)]).T
        # central differences: error of second order in the step, of rounding 1e-16 * 1 N s / step
        assert np.allclose(balance.attached_impulse, by_p, rtol=1e-5, atol=1e-7)
        assert np.allclose(DT * balance.input_map, by_u, rtol=1e-5, atol=1e-7)


def test_balance_is_momentum_change_under_the_force(robot: Ground, dynamics: GroundDynamics) -> None:
    rng = np.random.default_rng(8)
    for _ in range(10):
        (q, v_0, v_1), p = _interval(rng), _parameters(rng)
        effort = rng.uniform(0.7 * robot.effort_lower, 0.7 * robot.effort_limit)
        missing = _missing(dynamics, (q, v_0, v_1), p, effort)
        balance = _copied(dynamics.balance(q, v_0, v_1, DT, p, effort))
        turn = _turn(q[2] + 0.25 * DT * (v_0 + v_1)[2])
        mass, there = turn @ _mass(robot, p) @ turn.T, q + 0.5 * DT * (v_0 + v_1)
        force = 0.5 * (dynamics.force(q, v_0, effort, p) + dynamics.force(there, v_1, effort, p))
        assert np.allclose(missing, mass @ (v_0 - v_1) + DT * force, atol=1e-12)
        assert np.allclose(balance.mass + balance.attached_inertia, mass, atol=1e-12)
        assert np.allclose(balance.q, there, atol=1e-12) and np.allclose(balance.v_mean, 0.5 * (v_0 + v_1))


def test_attached_forces_are_differences_of_force_and_mass(robot: Ground, dynamics: GroundDynamics) -> None:
    rng = np.random.default_rng(9)
    points = [_interval(rng) for _ in range(6)]
    q, v, a = np.array([x[0] for x in points]), np.array([x[1] for x in points]), rng.normal(size=(6, 3))
    efforts, p = rng.uniform(robot.effort_lower, robot.effort_limit, (6, 2)), _parameters(rng)
    forces = dynamics.attached_forces(q, v, a, efforts, p)
    for k in range(6):
        turn = _turn(q[k, 2])
        inertia = turn @ (_mass(robot, p) - _mass(robot, NOMINAL)) @ turn.T
        change = dynamics.force(q[k], v[k], efforts[k], p) - dynamics.force(q[k], v[k], efforts[k], NOMINAL)
        assert np.allclose(forces[k], change - inertia @ a[k], atol=1e-10)
    assert not np.any(dynamics.attached_forces(q, v, a, efforts, NOMINAL))


# Against the simulated vehicle, which has four wheels with speeds of their own.


def _reached(robot: Ground, p: Array, v: Array, command: Array, duration_s: float) -> Array:
    """Position and yaw (3,) of the model by Runge-Kutta steps of 2 ms."""
    x, h = ca.SX.sym("x", 8), 0.002
    rate = ca.Function("rate", [x], [flow(robot, x, ca.SX(ca.DM(command)), ca.SX.zeros(3), ca.SX(ca.DM(p)))])
    k1 = rate(x)
    k2 = rate(x + 0.5 * h * k1)
    k3 = rate(x + 0.5 * h * k2)
    step = ca.Function("step", [x], [x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + rate(x + h * k3))])
    state = ca.DM(np.concatenate([np.zeros(3), v, np.zeros(2)]))
    for _ in range(round(duration_s / h)):
        state = step(state)
    return np.array(state).ravel()[:3]


def _parameters_of(robot: Ground, dynamics: GroundDynamics, task: GroundTask) -> Array:
    names = raw_groups(robot.kind)
    features = feature_map(robot, dynamics, names)
    return np.array(features.attached(true_contexts(robot, [task], names, features.groups)[0]))


def _driven(robot: Ground, task: GroundTask, v: Array, command: Array, duration_s: float) -> Array:
    plant = GroundPlant(robot, task)
    plant.reset(np.zeros(3), v)
    for _ in range(round(duration_s / DT)):
        plant.step(command, DT)
    return plant.truth.q


CONDITIONS = {
    "nominal": LEVEL,
    "load": replace(LEVEL, payload_mass_kg=1.2, payload_position_m=np.array([-0.08, 0.05, 0.074])),
    "slope": replace(LEVEL, slope_rad=np.array([0.08, -0.06])),
    "steering": replace(LEVEL, steering_offset_rad=0.03),
    "motor": replace(LEVEL, motor_strength=0.7),
    "surface": replace(LEVEL, friction=0.6, stiffness_scale=0.7, rolling_resistance=0.05),
}


COMMAND, START, DURATION_S = np.array([0.08, 0.4]), np.array([2.0, 0.0, 0.0]), 0.3


@pytest.fixture(scope="module")
def motions(robot: Ground, dynamics: GroundDynamics) -> dict[str, tuple[Array, Array, Array]]:
    """Final pose by condition: of the simulated vehicle, of the model with the true parameters, of the nominal one."""
    made = {}
    for name, task in CONDITIONS.items():
        models = (_parameters_of(robot, dynamics, task), NOMINAL)
        told, nominal = (_reached(robot, p, START, COMMAND, DURATION_S) for p in models)
        made[name] = _driven(robot, task, START, COMMAND, DURATION_S), told, nominal
    return made


@pytest.mark.parametrize("name", CONDITIONS)
def test_model_with_the_true_parameters_goes_as_far_as_the_simulated_vehicle(
    motions: dict[str, tuple[Array, Array, Array]], name: str
) -> None:
    truth, told, _ = motions[name]
    way = float(np.hypot(*truth[:2]))
    assert way > 0.25 * START[0]  # it drives
    # the model leaves out the slip of driven wheels: 0.4 Nm / (r c_x m g) = 2 % of the wheels' speed
    assert np.hypot(*(told - truth)[:2]) < 0.02 * way


@pytest.mark.parametrize("name", CONDITIONS)
def test_model_with_the_true_parameters_turns_as_the_simulated_vehicle(
    motions: dict[str, tuple[Array, Array, Array]], name: str
) -> None:
    truth, told, nominal = motions[name]
    way, turn = float(np.hypot(*truth[:2])), abs(truth[2])
    assert turn > 0.5 * DURATION_S * START[0] * COMMAND[0] / 0.33  # more than half of the turn without slip
    # the model leaves out the wheels' inertia about the yaw axis: 4 J y² / r² = 8 % of the yaw inertia, which acts in
    # the first 0.1 s
    assert abs(told[2] - truth[2]) < 0.02 * turn
    if name != "nominal":  # the parameters explain most of the condition's effect
        scale = np.array([way, way, turn])
        assert np.linalg.norm((told - truth) / scale) < 0.3 * np.linalg.norm((nominal - truth) / scale)


def test_a_simulated_vehicle_without_a_load_has_the_described_inertia(robot: Ground) -> None:
    """A steering step at speed: the first yaw acceleration is the front tyres' torque over the yaw inertia."""
    plant, speed, angle, duration_s = GroundPlant(robot, LEVEL), 6.0, 0.02, 0.02
    plant.reset(np.zeros(3), np.array([speed, 0.0, 0.0]))
    angles, rates = [], []
    for _ in range(round(duration_s / 0.001)):
        plant.step(np.array([angle, 0.0]), 0.001)
        angles.append(plant.applied_effort[0])
        rates.append(plant.truth.v[2])
    front = robot.track.positions[robot.track.steered]
    load = robot.mass_kg * GRAVITY_M_S2 * robot.track.load_share[robot.track.steered, 0].sum()
    stiffness = robot.track.cornering_stiffness[robot.track.steered][0]
    impulse = load * stiffness * front[0, 0] * np.sum(angles) * 0.001
    # the tyres' damping of the yaw rate, (c_f l_f² + c_r l_r²) m g / (2 v I) = 9 1/s, and the wheels' inertia lower it
    assert 0.8 < rates[-1] / (impulse / robot.yaw_inertia) < 1.02


def test_a_slope_slows_the_model_as_it_slows_the_simulated_vehicle(robot: Ground, dynamics: GroundDynamics) -> None:
    command, v = np.array([0.0, 0.0]), np.array([2.0, 0.0, 0.0])
    task = replace(LEVEL, slope_rad=np.array([0.08, 0.0]))
    p = _parameters_of(robot, dynamics, task)
    truth = _driven(robot, task, v, command, 0.3)
    uphill, downhill = (_reached(robot, sign * p, v, command, 0.3) for sign in (1.0, -1.0))
    lost = 0.5 * GRAVITY_M_S2 * 0.08 * 0.3**2  # way lost to the slope [m]
    assert abs(uphill[0] - truth[0]) < 0.2 * lost and downhill[0] - truth[0] > 1.5 * lost
