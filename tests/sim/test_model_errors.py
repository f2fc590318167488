# SPDX-License-Identifier: Apache-2.0
"""Errors of model, sensors and drives in simulation: each follows its formula, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.arm.model_errors import FrictionLaw, JointLaws, LinkErrors, Ripple
from metarl_robot.sim.arm.oracle import ModelErrorFeature
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import Task, nominal_task
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.sensor_errors import ErroneousSensors, SensorErrors

PLANAR, PANDA = load_robot("planar2"), load_robot("panda")
NOMINAL = nominal_task(PLANAR)
LINKS = LinkErrors(*(np.full(2, ratio) for ratio in (1.3, 0.8, 1.2, 0.7)))
LAW = FrictionLaw(np.array([2.0, 0.0]), np.array([0.1, 1.0]), np.array([0.0, 0.1]))
RIPPLE = Ripple(np.array([0.5, 0.1]), np.array([3.0, 4.0]), np.array([0.0, 1.0]))


def test_friction_falls_with_velocity_and_grows_with_load() -> None:
    task = replace(NOMINAL, coulomb_nm=np.array([1.0, 1.0]), friction_law=LAW, motor_strength=np.array([1.0, 0.5]))
    laws = JointLaws([task])
    still, moving = (laws.friction(np.full((1, 2), v), np.array([[4.0, -8.0]]))[0] for v in (0.0, 0.1))
    np.testing.assert_allclose(still, [3.0, 1.0 + 0.1 * 4.0])
    np.testing.assert_allclose(moving, [1.0 + 2.0 / np.e, 1.4])


def test_an_arm_sticks_below_its_static_friction_only() -> None:
    """Beyond gravity, 2.5 Nm do not move a joint with 1 Nm of Coulomb and 2 Nm of Stribeck friction; 3.5 Nm do."""
    task = replace(NOMINAL, coulomb_nm=np.ones(2), friction_law=LAW)
    for push, moves in ((2.5, False), (3.5, True)):
        plant = ArmPlant(PLANAR, task)
        hold = plant.applied_effort
        for _ in range(40):
            state = plant.step(hold + [push, 0.0], 0.005)
        assert (abs(state.q[0] - PLANAR.home[0]) > 1e-3) == moves


def test_ripple_pushes_the_joint() -> None:
    plant = ArmPlant(PLANAR, replace(NOMINAL, ripple=RIPPLE))
    plant.step(plant.applied_effort, 0.001)
    mass = ArmDynamics(PLANAR).mass_matrix(PLANAR.home)
    expected = RIPPLE.amplitude_nm * np.sin(RIPPLE.cycles * PLANAR.home + RIPPLE.phase_rad)
    np.testing.assert_allclose(mass @ plant.truth.v / 0.001, expected, rtol=0.02)


@pytest.mark.parametrize("change", [{"links": LINKS}, {"ripple": RIPPLE}, {"friction_law": LAW}])
def test_a_change_of_the_task_leaves_nothing_of_it_behind(change: dict) -> None:
    disturbed, plain = ArmPlant(PLANAR, replace(NOMINAL, **change)), ArmPlant(PLANAR, NOMINAL)
    disturbed.set_task(NOMINAL)
    start, effort = (PLANAR.home, np.array([0.3, -0.2])), np.array([5.0, 1.0])
    for plant in (disturbed, plain):
        plant.reset(*start)
    a, b = (plant.step(effort, 0.05) for plant in (disturbed, plain))
    np.testing.assert_array_equal(a.q, b.q)
    np.testing.assert_array_equal(a.v, b.v)


@pytest.mark.parametrize("robot", [PLANAR, PANDA], ids=["planar2", "panda"])
def test_the_oracle_knows_wrong_links_and_ripple(robot) -> None:
    """Nominal effort less the known force is the effort that gives the plant the wanted acceleration."""
    rng, n = np.random.default_rng(1), robot.dof
    errors = LinkErrors(*rng.uniform(0.7, 1.3, (4, n)))
    task = replace(nominal_task(robot), links=errors, ripple=Ripple(np.ones(n), np.full(n, 5.0), np.zeros(n)))
    q, v, a = robot.home + 0.1, rng.uniform(-0.5, 0.5, n), rng.uniform(-1.0, 1.0, n)
    plant = ArmPlant(robot, task)
    plant.reset(q, v)
    known = ModelErrorFeature(robot, task)._force(q, v, a)
    plant.step(ArmDynamics(robot).inverse_dynamics(q, v, a) - known, 0.001)
    np.testing.assert_allclose((plant.truth.v - v) / 0.001, a, atol=0.1)


def measured(errors: SensorErrors, q: np.ndarray, v: np.ndarray, dt: float = 0.005) -> tuple[State, np.ndarray]:
    """All measurements (K, n) of true states (K, n), and which were lost."""
    sensors = ErroneousSensors([errors], [3], q.shape[1])
    states, lost = [], []
    for q_k, v_k in zip(q[:, None], v[:, None], strict=True):
        place = sensors.position(q_k, v_k)
        states.append(sensors.delivered(State(place, sensors.velocity(place, v_k, dt))))
        lost.append(bool(sensors.lost[0]))
    return State(*(np.concatenate([getattr(s, name) for s in states]) for name in ("q", "v"))), np.array(lost)


def test_noise_and_jitter_have_their_size() -> None:
    v = np.tile([0.0, 2.0], (4000, 1))
    state, _ = measured(SensorErrors(position_noise=2e-4, jitter_s=4e-4), np.zeros_like(v), v)
    np.testing.assert_allclose(state.q.std(axis=0), [2e-4, np.hypot(2e-4, 8e-4)], rtol=0.05)
    np.testing.assert_array_equal(state.v, v)


@pytest.mark.parametrize("differences", [False, True])
def test_velocities_lag_by_the_stated_time(differences: bool) -> None:
    """Under a constant acceleration a velocity that lags by t is off by a t; a difference by half a period more."""
    times = np.arange(400)[:, None] * 0.005
    errors = SensorErrors(velocity_lag_s=0.008, differences=differences)
    state, _ = measured(errors, 1.5 * times**2, 3.0 * times)
    late = 0.008 + (0.0025 if differences else 0.0)
    np.testing.assert_allclose(3.0 * times[-1] - state.v[-1], 3.0 * late, rtol=1e-6)


def test_a_lost_measurement_is_the_last_one_with_its_stamp() -> None:
    motion = np.arange(2000.0)[:, None]
    state, lost = measured(SensorErrors(lost=0.1), motion, motion)
    assert 0.07 < lost.mean() < 0.13 and not lost[0]
    assert np.all((np.diff(state.q[:, 0]) == 0.0) == lost[1:])
    plant = ArmPlant(PLANAR, replace(NOMINAL, sensor_errors=SensorErrors(lost=0.3)))
    stamps = []
    for _ in range(60):
        plant.step(plant.applied_effort, 0.005)
        stamps.append(plant.stamp)
    steps = np.diff(stamps)
    assert steps.min() == 0.0 and stamps[-1] > 0.2


def test_the_command_that_acts_differs_from_the_one_that_was_sent() -> None:
    plant = ArmPlant(PLANAR, replace(NOMINAL, sensor_errors=SensorErrors(effort_noise=0.3)))
    acted = []
    for _ in range(300):
        plant.step(np.ones(2), 0.005)
        acted.append(plant.applied_effort)
    assert np.std(acted) == pytest.approx(0.3, rel=0.15)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sensor_errors": {"lost": 1.0}}, "probability below 1"),
        ({"sensor_errors": {"jitter_s": -1.0}}, "jitter_s must be finite and >= 0"),
        ({"links": {"mass": [1.0], "centre": [1.0], "inertia": [1.0], "armature": [1.0]}}, "one number per joint"),
        ({"ripple": {"amplitude_nm": [-1.0, 0.0], "cycles": [1, 1], "phase_rad": [0, 0]}}, "amplitude_nm must be >= 0"),
        ({"friction_law": {"stribeck_nm": [1, 1], "stribeck_rad_s": [0, 1], "load_share": [0, 0]}}, "stribeck_rad_s"),
    ],
)
def test_impossible_errors_are_refused(change: dict, says: str) -> None:
    with pytest.raises(SignalError, match=says):
        Task.from_dict(NOMINAL.to_dict() | change)


@pytest.mark.parametrize("robot", [PLANAR, PANDA], ids=["planar2", "panda"])
def test_suites_draw_what_their_names_say(robot) -> None:
    room = simulation(robot)
    runs = {
        (suite, kind): room.scenario(suite, kind, 0)
        for suite in ("mismatch", "friction", "sensors", "long")
        for kind in room.scenario_names(suite)
    }
    tasks = {name: run.task_at(run.duration_s) for name, run in runs.items()}
    for kind in room.scenario_names("mismatch"):
        links = tasks["mismatch", kind].links
        assert np.all(np.abs(np.array([links.mass, links.centre, links.inertia, links.armature]) - 1.0) <= 0.3)
        assert np.all(np.abs(tasks["mismatch", kind].motor_strength - 1.0) <= 0.1)
    assert tasks["mismatch", "ripple"].ripple is not None
    assert np.all(tasks["friction", "coulomb"].coulomb_nm <= 0.065 * robot.effort_limit)
    assert runs["friction", "rise"].initial.friction_law is None and tasks["friction", "rise"].friction_law is not None
    assert tasks["sensors", "differences"].sensor_errors.differences
    assert runs["long", "rest"].estimates_after_s[-1] == 35.0
    assert not np.any(runs["long", "rest"].reference.sample(np.array([12.0, 30.0])).v)
