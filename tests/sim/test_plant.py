# SPDX-License-Identifier: Apache-2.0
"""The simulated arm: every effect against its formula, delays to the step, and nothing random that the seed does not
decide.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.core.errors import MetaRLError, SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import Cable, Task, draw_cable, draw_payload, draw_swinging, draw_task, nominal_task
from metarl_robot.sim.payload import Payload

PLANAR, PANDA = load_robot("planar2"), load_robot("panda")
GRAVITY = 9.81
DT = 0.001


def random_state(robot, rng: np.random.Generator):
    q = robot.home + 0.3 * rng.uniform(-1, 1, robot.dof)
    return q, rng.uniform(-1, 1, robot.dof)


def unexplained(robot, task: Task, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(torque that the nominal model with the payload does not explain, q, v), one step after a random start."""
    rng = np.random.default_rng(seed)
    q, v = random_state(robot, rng)
    plant = ArmPlant(robot, task)
    plant.reset(q, v)
    command = 0.2 * robot.effort_limit * rng.uniform(-1, 1, robot.dof)
    plant.step(command, DT)
    now = plant.truth
    explained = ArmDynamics(robot).inverse_dynamics(
        now.q, now.v, plant.acceleration, task.payload.inertial_parameters()
    )
    return task.motor_strength * command - explained, now.q, now.v


@pytest.mark.parametrize("robot", [PLANAR, PANDA], ids=["planar2", "panda"])
@pytest.mark.parametrize("seed", range(3))
def test_payload_and_motor_strength_obey_the_rigid_body_equation(robot, seed: int) -> None:
    rng = np.random.default_rng(seed)
    task = replace(
        nominal_task(robot), payload=draw_payload(robot, rng), motor_strength=rng.uniform(0.8, 1.2, robot.dof)
    )
    rest, _, _ = unexplained(robot, task, seed)
    np.testing.assert_allclose(rest, 0.0, atol=1e-9)


@pytest.mark.parametrize("robot", [PLANAR, PANDA], ids=["planar2", "panda"])
def test_friction_torque_when_moving(robot) -> None:
    rng = np.random.default_rng(5)
    coulomb, viscous = (rng.uniform(0.1, 0.5, robot.dof) for _ in range(2))
    rest, _, v = unexplained(robot, replace(nominal_task(robot), coulomb_nm=coulomb, viscous_nm_s=viscous), seed=1)
    assert np.abs(v).min() > 0.02  # every joint slips
    np.testing.assert_allclose(rest, coulomb * np.sign(v) + viscous * v, atol=1e-6)


def test_arm_sticks_below_the_coulomb_torque() -> None:
    plant = ArmPlant(PLANAR, replace(nominal_task(PLANAR), coulomb_nm=np.array([0.8, 0.4])))
    holding = plant.applied_effort
    for _ in range(200):
        plant.step(holding + [0.4, -0.2], 0.005)
    assert np.abs(plant.truth.v).max() < 1e-4  # MuJoCo's friction creeps, ever so slowly
    for _ in range(40):
        plant.step(holding + [1.6, -0.8], 0.005)
    assert np.abs(plant.truth.v).min() > 0.1


def test_friction_stops_a_coasting_arm_sooner() -> None:
    speeds = []
    for coulomb in (0.0, 0.5):
        plant = ArmPlant(PANDA, replace(nominal_task(PANDA), coulomb_nm=np.full(7, coulomb)))
        plant.reset(PANDA.home, np.array([1.0, 0, 0, 0, 0, 0, 0]))  # about the vertical: gravity does no work
        plant.step(plant.applied_effort, 0.1)
        speeds.append(plant.truth.v[0])
    assert 0.0 < speeds[1] < speeds[0] < 1.0


def test_static_torque_of_a_payload_is_weight_times_lever() -> None:
    payload = Payload(1.2, [0.05, 0.0, 0.0], [0.001] * 3 + [0.0] * 3)
    plant = ArmPlant(PLANAR, replace(nominal_task(PLANAR), payload=payload))
    plant.reset(np.zeros(2))  # stretched out, level
    shoulder = GRAVITY * (2 * 0.2 + 1 * 0.55 + 1.2 * 0.75)
    elbow = GRAVITY * (1 * 0.15 + 1.2 * 0.35)
    np.testing.assert_allclose(plant.applied_effort, [shoulder, elbow], rtol=1e-12)
    plant.step(np.array([shoulder, elbow]), 0.05)
    np.testing.assert_allclose(plant.truth.v, 0.0, atol=1e-9)


@pytest.mark.parametrize("robot", [PLANAR, PANDA], ids=["planar2", "panda"])
def test_cable_pulls_along_itself_by_its_law(robot) -> None:
    anchor = np.array([0.3, 0.2, 1.2])
    cable = Cable(anchor, np.zeros(3), slack_m=0.3, stiffness_n_m=12.0, stiffening_n_m2=25.0)
    rest, q, _ = unexplained(robot, replace(nominal_task(robot), cable=cable), seed=2)
    dynamics = ArmDynamics(robot)
    towards = anchor - dynamics.forward_kinematics(q)[0]
    length = np.linalg.norm(towards)
    assert cable.tension(length) > 1.0
    force = cable.tension(length) * towards / length
    np.testing.assert_allclose(rest, -dynamics.site_jacobian(q)[:3].T @ force, atol=1e-9)


def test_slack_cable_does_nothing() -> None:
    cable = Cable([0.3, 0.2, 1.2], np.zeros(3), slack_m=3.0, stiffness_n_m=12.0, stiffening_n_m2=25.0)
    rest, _, _ = unexplained(PLANAR, replace(nominal_task(PLANAR), cable=cable), seed=2)
    np.testing.assert_allclose(rest, 0.0, atol=1e-9)


def test_cable_tied_off_the_site_pulls_there() -> None:
    shift = np.array([0.03, 0.0, 0.02])
    cable = Cable([0.3, 0.0, 1.2], shift, slack_m=0.1, stiffness_n_m=20.0, stiffening_n_m2=0.0)
    rest, q, _ = unexplained(PLANAR, replace(nominal_task(PLANAR), cable=cable), seed=2)
    site, rotation = ArmDynamics(PLANAR).forward_kinematics(q)
    point = site + rotation @ shift
    towards = cable.anchor_m - point
    pull = cable.tension(np.linalg.norm(towards)) * towards / np.linalg.norm(towards)
    elbow = np.array([0.4 * np.cos(q[0]), 0.0, 0.4 * np.sin(q[0])])
    torque = [np.cross(point - joint, pull) @ [0, -1, 0] for joint in (np.zeros(3), elbow)]
    np.testing.assert_allclose(rest, -np.array(torque), atol=1e-9)


def energy_error(dt: float) -> float:
    """Share of the energy lost in 0.3 s of free fall that damping does not explain."""
    rng = np.random.default_rng(0)
    task = replace(
        nominal_task(PANDA),
        payload=draw_payload(PANDA, rng),
        cable=draw_cable(PANDA, rng),
        viscous_nm_s=np.full(7, 0.2),
    )
    plant = ArmPlant(PANDA, task, physics_dt_s=dt)
    plant.reset(PANDA.home, np.full(7, 0.3))
    start, speeds = sum(plant.energy()), [plant.truth.v]
    for _ in range(round(0.3 / dt)):
        plant.step(np.zeros(7), dt)
        speeds.append(plant.truth.v)
    lost = start - sum(plant.energy())
    assert lost > 1.0
    power = (1.0 + 0.2) * np.sum(np.square(speeds), axis=1)  # nominal and extra viscous friction
    return float(abs(lost / np.trapezoid(power, dx=dt) - 1.0))


def test_energy_lost_is_what_damping_took() -> None:
    coarse, fine = energy_error(0.001), energy_error(0.00025)
    assert fine < 0.002
    assert coarse / fine == pytest.approx(4.0, rel=0.1)  # the integrator is of first order


@pytest.mark.parametrize("delay_s", [0.0, 0.0004, 0.001, 0.0034, 0.01])
def test_command_acts_at_the_first_step_after_its_delay(delay_s: float) -> None:
    plant = ArmPlant(PLANAR, replace(nominal_task(PLANAR), command_delay_s=delay_s))
    push = plant.applied_effort + 1.0
    still = 0
    for _ in range(20):
        plant.step(push, DT)
        if np.abs(plant.truth.v).max() > 1e-6:
            break
        still += 1
    assert still == int(np.ceil(delay_s / DT - 1e-9))


def test_every_command_is_late_by_the_same_time() -> None:
    now, late = (ArmPlant(PLANAR, replace(nominal_task(PLANAR), command_delay_s=d)) for d in (0.0, 0.0072))
    rng, holding = np.random.default_rng(0), now.applied_effort
    commands = holding + rng.normal(size=(30, 2))
    applied_now, applied_late = [], []
    for command in commands:
        for _ in range(5):  # the same command, issued again at every physics step: does not restart the delay
            now.step(command, DT)
            late.step(command, DT)
            applied_now.append(now.applied_effort)
            applied_late.append(late.applied_effort)
    np.testing.assert_array_equal(applied_late[8:], applied_now[:-8])
    np.testing.assert_array_equal(applied_late[:8], np.tile(holding, (8, 1)))


@pytest.mark.parametrize(("delay_s", "steps"), [(0.0, 0), (0.0021, 3), (0.01, 10)])
def test_measurement_is_late_by_its_delay(delay_s: float, steps: int) -> None:
    plant = ArmPlant(PLANAR, replace(nominal_task(PLANAR), sensor_delay_s=delay_s))
    truth, measured = [plant.truth], [plant.measure()]
    for k in range(40):
        measured.append(plant.step(np.array([5.0 * np.sin(k), 0.0]), DT))
        truth.append(plant.truth)
    for k in range(41):
        np.testing.assert_array_equal(measured[k].q, truth[max(0, k - steps)].q)
        np.testing.assert_array_equal(measured[k].v, truth[max(0, k - steps)].v)


def test_encoder_rounds_to_its_step() -> None:
    step = 1e-3
    plant = ArmPlant(PLANAR, replace(nominal_task(PLANAR), encoder_resolution_rad=step))
    for _ in range(30):
        measured = plant.step(np.zeros(2), 0.005)
        np.testing.assert_allclose(measured.q / step, np.round(measured.q / step), atol=1e-9)
        error = np.abs(measured.q - plant.truth.q)
        assert error.max() <= step / 2 + 1e-12
    assert error.max() > 0


def test_velocity_noise_has_its_standard_deviation() -> None:
    plant = ArmPlant(PLANAR, replace(nominal_task(PLANAR), velocity_noise_rad_s=0.01), seed=3)
    noise = np.array([plant.step(np.zeros(2), DT).v - plant.truth.v for _ in range(3000)])
    np.testing.assert_allclose(noise.std(0), 0.01, rtol=0.05)  # four standard errors
    assert np.abs(noise.mean(0)).max() < 4 * 0.01 / np.sqrt(3000)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 4 / np.sqrt(3000)


def test_noise_does_not_depend_on_commands_or_task_changes() -> None:
    task = replace(nominal_task(PLANAR), velocity_noise_rad_s=0.01)
    plants = [ArmPlant(PLANAR, task, seed=7) for _ in range(2)]
    for k in range(30):
        if k == 10:
            plants[1].set_task(replace(task, payload=Payload(0.5, [0.02, 0, 0])))
        noise = [plant.step(np.full(2, 3.0 * i), 0.005).v - plant.truth.v for i, plant in enumerate(plants)]
        np.testing.assert_allclose(noise[0], noise[1], atol=1e-14)
    assert np.abs(plants[0].truth.q - plants[1].truth.q).max() > 0.01


@pytest.mark.parametrize("robot", [PLANAR, PANDA], ids=["planar2", "panda"])
def test_same_seed_same_run_other_seed_other_run(robot) -> None:
    task = draw_task(robot, np.random.default_rng(4))

    def run(plant: ArmPlant) -> list[np.ndarray]:
        plant.reset()
        return [
            np.concatenate([s.q, s.v]) for s in (plant.step(0.1 * k * np.ones(robot.dof), 0.005) for k in range(20))
        ]

    plant = ArmPlant(robot, task, seed=1)
    first = run(plant)
    np.testing.assert_array_equal(first, run(plant))
    np.testing.assert_array_equal(first, run(ArmPlant(robot, task, seed=1)))
    assert not np.array_equal(first, run(ArmPlant(robot, task, seed=2)))


@pytest.mark.parametrize("robot", [PLANAR, PANDA], ids=["planar2", "panda"])
def test_changing_the_task_in_motion_moves_nothing_at_once(robot) -> None:
    rng = np.random.default_rng(6)
    empty = nominal_task(robot)
    loaded = replace(draw_task(robot, rng), payload=draw_payload(robot, rng))
    swinging = replace(loaded, payload=draw_swinging(robot, rng), swing=True)
    plant = ArmPlant(robot, empty)
    plant.reset(*random_state(robot, rng))
    for task in (loaded, empty, swinging, loaded, swinging, empty):
        before, time, tip = plant.truth, plant.time, plant.end_effector
        plant.set_task(task)
        np.testing.assert_array_equal(plant.truth.q, before.q)
        np.testing.assert_array_equal(plant.truth.v, before.v)
        np.testing.assert_allclose(plant.end_effector, tip, atol=1e-12)
        assert plant.time == time and plant.task is task
        plant.step(plant.applied_effort, 0.005)


def test_task_change_takes_effect_as_if_it_had_always_been() -> None:
    task = draw_task(PANDA, np.random.default_rng(8))
    changed = ArmPlant(PANDA, nominal_task(PANDA))
    changed.set_task(task)
    fresh = ArmPlant(PANDA, task)
    q, v = random_state(PANDA, np.random.default_rng(0))
    for plant in (changed, fresh):
        plant.reset(q, v)
        plant.step(np.zeros(7), 0.02)
    np.testing.assert_array_equal(changed.truth.q, fresh.truth.q)


@pytest.mark.parametrize("robot", [PLANAR, PANDA], ids=["planar2", "panda"])
def test_swinging_payload_hangs_below_and_swings(robot) -> None:
    rng = np.random.default_rng(9)
    task = replace(nominal_task(robot), payload=draw_swinging(robot, rng), swing=True)
    length = np.linalg.norm(task.payload.com_m)
    plant = ArmPlant(robot, task)
    np.testing.assert_allclose(plant.payload_position - plant.end_effector, [0, 0, -length], atol=1e-9)
    holding = plant.applied_effort
    plant.step(holding, 0.1)
    np.testing.assert_allclose(plant.truth.v, 0.0, atol=1e-9)
    plant.step(holding + 0.3 * robot.effort_limit, 0.1)
    offset = plant.payload_position - plant.end_effector
    assert np.linalg.norm(offset) == pytest.approx(length)
    assert np.linalg.norm(offset[:2]) > 0.02 * length


def test_swinging_payload_starts_at_rest_in_the_world() -> None:
    rng = np.random.default_rng(9)
    plant = ArmPlant(PANDA, nominal_task(PANDA))
    plant.reset(*random_state(PANDA, rng))
    plant.set_task(replace(nominal_task(PANDA), payload=draw_swinging(PANDA, rng), swing=True))
    relative = []
    for _ in range(2):
        relative.append(plant.payload_position - plant.end_effector)
        plant.step(plant.applied_effort, DT)
    assert np.linalg.norm(relative[1] - relative[0]) / DT < 0.05  # the hand moves at about 0.5 m/s and turns


@pytest.mark.parametrize("bad", [np.zeros(3), np.array([np.nan, 0.0]), np.array([0.0, np.inf]), np.zeros((2, 1))])
def test_bad_commands_are_refused_and_change_nothing(bad: np.ndarray) -> None:
    task = replace(nominal_task(PLANAR), velocity_noise_rad_s=0.01)
    plants = [ArmPlant(PLANAR, task, seed=1) for _ in range(2)]
    with pytest.raises(SignalError, match="effort"):
        plants[0].step(bad, 0.005)
    measured = [plant.step(np.ones(2), 0.005) for plant in plants]
    np.testing.assert_array_equal(measured[0].v, measured[1].v)
    assert plants[0].time == plants[1].time


def test_bad_durations_starts_and_tasks_are_refused() -> None:
    plant = ArmPlant(PLANAR, nominal_task(PLANAR))
    for duration in (0.0, -0.005, 0.0015):
        with pytest.raises(SignalError, match="physics step"):
            plant.step(np.zeros(2), duration)
    with pytest.raises(SignalError, match="position"):
        plant.reset(np.zeros(7))
    with pytest.raises(SignalError, match="7 joints"):
        plant.set_task(nominal_task(PANDA))


def test_commands_are_clamped_and_counted() -> None:
    plant = ArmPlant(PLANAR, nominal_task(PLANAR))
    plant.reset(np.array([-1.5, 0.0]))
    plant.step(np.array([0.0, -100.0]), 0.005)
    np.testing.assert_array_equal(plant.applied_effort, [0.0, -20.0])
    assert plant.violations.torque == 5 == plant.violations.any
    plant.reset(np.array([-1.5, 0.0]))
    plant.step(np.array([0.0, -20.0]), 0.005)
    assert plant.violations.any == 0
    plant.reset(np.array([-1.5, 0.0]), np.array([0.0, 6.5]))
    plant.step(np.zeros(2), 0.005)
    assert plant.violations.velocity == 5
    plant.reset(np.array([3.01, 0.0]))
    plant.step(plant.applied_effort, 0.001)
    assert plant.violations.position == 1


def test_divergence_is_reported() -> None:
    cable = Cable([0.0, 0.0, 5.0], np.zeros(3), slack_m=0.0, stiffness_n_m=1e300, stiffening_n_m2=1e300)
    plant = ArmPlant(PLANAR, nominal_task(PLANAR))
    plant.set_task(replace(nominal_task(PLANAR), cable=cable))
    with pytest.raises(MetaRLError, match="diverged"):
        plant.step(np.zeros(2), 0.01)
