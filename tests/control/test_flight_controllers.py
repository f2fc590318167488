# SPDX-License-Identifier: Apache-2.0
"""Controllers of quadrotors without a model of external forces, in closed loop with simulated ones of every
size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from metarl_robot.control.base import Controller
from metarl_robot.control.factory import load_config, make_controller
from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Command, Plan, Reference, Setpoints, State, Status
from metarl_robot.robots.quadrotor.command import collective_and_rates, rotor_speeds
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.robots.quadrotor.trajectories import FigureEight, Hover, Paced
from metarl_robot.sim.payload import Payload
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wind

CONTROLLERS = ("pid", "se3", "indi")
ROBOTS = ("x500", "hummingbird", "crazyflie")
ABOVE = np.array([0.0, 0.0, 2.0])
REALISTIC = QuadrotorTask(
    command_delay_s=0.01,
    sensor_delay_s=0.01,
    position_noise_m=1e-3,
    velocity_noise_m_s=0.02,
    attitude_noise_rad=2e-3,
    gyro_noise_rad_s=0.01,
    accelerometer_noise_m_s2=0.2,
)
"""The sensors of a real quadrotor, and the longest latency that tasks have."""


class Run(NamedTuple):
    """Times (K,) [s], true poses (K, 7), velocities (K, 6), distances from the reference (K,) [m], commands (K,
    4) [N].
    """

    times: np.ndarray
    q: np.ndarray
    v: np.ndarray
    error: np.ndarray
    effort: np.ndarray
    crashed: bool

    def rmse(self, start_s: float) -> float:
        return float(np.sqrt(np.mean(self.error[self.times >= start_s] ** 2)))


def robot(name: str = "x500") -> Quadrotor:
    loaded = load_robot(name)
    assert isinstance(loaded, Quadrotor)
    return loaded


def fly(
    controller: Controller,
    plant: QuadrotorPlant,
    reference: Reference,
    duration_s: float,
    q: np.ndarray | None = None,
    v: np.ndarray | None = None,
    later: tuple[float, QuadrotorTask] | None = None,
) -> Run:
    """Fly from q (default: where the reference starts); `later`: time of the change and the new task."""
    period, craft = plant.robot.control_period_s, plant.robot
    state = plant.reset(reference.sample(np.zeros(1)).q[0] if q is None else q, v)
    controller.reset()
    rows = []
    for k in range(round(duration_s / period)):
        if later is not None and k == round(later[0] / period):
            plant.set_task(later[1])
        command = controller.step(plant.stamp, state, reference)
        assert np.all(command.effort >= craft.effort_lower - 1e-12) and np.all(
            command.effort <= craft.effort_limit + 1e-12
        )
        assert command.status is Status.SOLVED, command.message
        state, truth = plant.step(command.effort, period), plant.truth
        rows.append((plant.time, truth.q, truth.v, command.effort))
    times, poses, velocities, efforts = (np.array(column) for column in zip(*rows, strict=True))
    error = np.linalg.norm(poses[:, :3] - reference.sample(times).q[:, :3], axis=1)
    return Run(times, poses, velocities, error, efforts, plant.crashed)


def payload(craft: Quadrotor, share: float) -> Payload:
    mass = share * craft.mass_kg
    return Payload(mass, np.zeros(3), np.array([1e-4 * mass] * 3 + [0.0] * 3))


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLLERS)
@pytest.mark.parametrize("craft_name", ROBOTS)
def test_one_set_of_gains_flies_every_size_through_noise_and_the_longest_latency(craft_name: str, name: str) -> None:
    craft = robot(craft_name)
    run = fly(make_controller(craft, name), QuadrotorPlant(craft, REALISTIC), FigureEight(ABOVE), 7.0)
    assert not run.crashed
    assert run.rmse(2.0) < 0.03, "drag alone disturbs it"
    assert np.abs(np.diff(run.effort, axis=0)).mean() < 0.15 * craft.hover_thrust.mean(), (
        "commands must not chatter with the noise"
    )


@pytest.mark.parametrize("name", CONTROLLERS)
def test_without_disturbance_the_flight_is_exact(name: str) -> None:
    craft = robot()
    still = QuadrotorTask(drag_scale=np.zeros(2), ground_effect=False)
    run = fly(make_controller(craft, name), QuadrotorPlant(craft, still), FigureEight(ABOVE), 6.0)
    assert run.rmse(2.0) < (0.01 if name == "pid" else 0.004), (
        "pid knows the rates of the reference, but not how they change"
    )
    hover = fly(make_controller(craft, name), QuadrotorPlant(craft, still), Hover(ABOVE, 0.7), 1.0)
    assert hover.error.max() < 1e-6
    assert np.allclose(hover.effort, craft.hover_thrust, rtol=1e-6), "nothing to do"


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_payload_and_a_weak_rotor_leave_no_offset(name: str) -> None:
    craft = robot()
    changed = replace(REALISTIC, payload=payload(craft, 0.2), effectiveness=np.array([0.9, 1.0, 1.0, 1.0]))
    run = fly(make_controller(craft, name), QuadrotorPlant(craft, REALISTIC), Hover(ABOVE), 9.0, later=(1.0, changed))
    assert run.error.max() > 0.01, "it was felt"
    assert run.error[-200:].mean() < 0.01


def test_indi_feels_what_the_others_must_first_see() -> None:
    craft = robot()
    changed = replace(REALISTIC, payload=payload(craft, 0.2), wind=Wind(np.array([6.0, 0.0, 0.0])))
    worst = {}
    for name in CONTROLLERS:
        run = fly(
            make_controller(craft, name), QuadrotorPlant(craft, REALISTIC), Hover(ABOVE), 3.0, later=(1.0, changed)
        )
        worst[name] = run.error.max()
    assert worst["indi"] < 0.5 * min(worst["pid"], worst["se3"])


def test_indi_without_an_accelerometer_takes_the_velocity_instead() -> None:
    craft = robot()

    class Blind(QuadrotorPlant):
        def reset(self, q: np.ndarray | None = None, v: np.ndarray | None = None) -> State:
            return replace(super().reset(q, v), specific_force=None)

        def step(self, effort: np.ndarray, duration_s: float) -> State:
            return replace(super().step(effort, duration_s), specific_force=None)

    windy = replace(REALISTIC, wind=Wind(np.array([6.0, 0.0, 0.0])))
    run = fly(make_controller(craft, "indi"), Blind(craft, windy), Hover(ABOVE), 5.0)
    assert run.error[-200:].mean() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLLERS)
@pytest.mark.parametrize("craft_name", ROBOTS)
def test_thrown_on_its_side_it_recovers(craft_name: str, name: str) -> None:
    craft = robot(craft_name)
    on_its_side = np.concatenate([[0.0, 0.0, 6.0], rotation.exp(np.array([1.0, 1.2, 0.0]))])
    assert rotation.tilt(on_its_side[3:]) > np.deg2rad(85.0)
    turning = np.array([1.0, 0.0, 0.0, 1.0, -1.0, 0.5])
    run = fly(
        make_controller(craft, name),
        QuadrotorPlant(craft, QuadrotorTask()),
        Hover(np.array([0.0, 0.0, 6.0])),
        6.0,
        on_its_side,
        turning,
    )
    assert not run.crashed
    assert run.error[-1] < 0.1
    assert rotation.tilt(run.q[-1, 3:]) < 0.1


def test_se3_recovers_from_upside_down() -> None:
    craft = robot("hummingbird")
    nearly_over = np.concatenate([[0.0, 0.0, 8.0], rotation.exp(np.array([3.0, 0.0, 0.0]))])
    run = fly(
        make_controller(craft, "se3"),
        QuadrotorPlant(craft, QuadrotorTask()),
        Hover(np.array([0.0, 0.0, 8.0])),
        6.0,
        nearly_over,
    )
    assert run.error[-1] < 0.1 and rotation.tilt(run.q[-1, 3:]) < 0.1
    assert run.q[:, 2].min() > 2.0, "before it has fallen far"


@pytest.mark.parametrize("name", CONTROLLERS)
def test_irregular_control_periods_do_not_matter(name: str) -> None:
    """States come after 1 to 2 periods; a controller that counts periods is ten times worse."""
    craft, rng = robot(), np.random.default_rng(5)
    eight, plant, worst = FigureEight(ABOVE), QuadrotorPlant(craft, QuadrotorTask(ground_effect=False)), 0.0
    for irregular in (False, True):
        controller, state, errors = make_controller(craft, name), plant.reset(eight.sample(np.zeros(1)).q[0]), []
        while plant.time < 4.0:
            steps = int(rng.integers(5, 11)) if irregular else 5
            state = plant.step(controller.step(plant.stamp, state, eight).effort, 1e-3 * steps)
            errors.append(np.linalg.norm(plant.truth.q[:3] - eight.sample(np.array([plant.time])).q[0, :3]))
        assert not irregular or max(errors) < 1.3 * worst + 0.002
        worst = max(errors)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_weak_rotor_of_a_small_loaded_quadrotor_does_not_spin_it_out_of_control(name: str) -> None:
    craft = robot("crazyflie")
    task = QuadrotorTask(payload=payload(craft, 0.1), effectiveness=np.array([0.7, 1.0, 1.0, 1.0]), ground_effect=False)
    run = fly(make_controller(craft, name), QuadrotorPlant(craft, task), Hover(np.array([0.0, 0.0, 4.0])), 4.0)
    assert not run.crashed and run.error[-1] < 0.1


@pytest.mark.parametrize("name", CONTROLLERS)
def test_half_its_mass_more_is_flown_with_all_the_thrust_there_is(name: str) -> None:
    """An x500 with 1.5 times its mass hovers at 88 % of its thrust: height comes before the path's sides."""
    craft = robot()
    task = QuadrotorTask(payload=payload(craft, 0.5), ground_effect=False)
    slow = Paced(FigureEight(np.array([0.0, 0.0, 4.0])), 0.6)
    run = fly(make_controller(craft, name), QuadrotorPlant(craft, task), slow, 5.0)
    assert run.q[:, 2].min() > 3.0 and run.error[-1] < 0.15


class Jump:
    """A goal that jumps far away at 1 s."""

    def sample(self, times: np.ndarray) -> Setpoints:
        q = Hover(ABOVE).sample(times).q
        q[np.asarray(times) >= 1.0, :3] += np.array([8.0, -5.0, 3.0])
        zero = np.zeros((len(q), 6))
        return Setpoints(q, zero, zero)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_reference_that_jumps_is_followed_within_the_limits(name: str) -> None:
    craft = robot()
    run = fly(make_controller(craft, name), QuadrotorPlant(craft, QuadrotorTask()), Jump(), 9.0)
    assert rotation.tilt(run.q[:, 3:]).max() < craft.tilt_limit_rad + 0.1
    assert np.linalg.norm(run.v[:, :3], axis=1).max() < craft.velocity_limit[0]
    assert run.error[-1] < 0.05
    beyond = (run.q[:, :3] - (ABOVE + np.array([8.0, -5.0, 3.0]))) @ np.array([8.0, -5.0, 3.0]) / np.sqrt(98.0)
    assert beyond.max() < 0.1, "no overshoot: the approach brakes in time, and the integral does not wind up"
    climbing = run.q[run.times > 1.5][0]
    assert np.all(np.abs(climbing[:3] - ABOVE) > 0.02), "it goes sideways while it climbs with all its thrust"


@pytest.mark.parametrize("name", CONTROLLERS)
def test_quaternions_of_either_sign_and_a_little_off_the_norm_are_the_same_attitude(name: str) -> None:
    craft = robot()
    q = np.concatenate([ABOVE, rotation.exp(np.array([0.3, -0.2, 2.5]))])
    v, force = np.array([0.5, 0.1, -0.2, 0.3, -0.4, 0.1]), np.array([0.1, 0.2, 9.0])
    efforts = []
    for factor in (1.0, -1.0, 1.005):
        controller = make_controller(craft, name)
        scaled = np.concatenate([q[:3], factor * q[3:]])
        efforts.append(controller.step(0.0, State(scaled, v, force), Hover(ABOVE)).effort)
    assert np.allclose(efforts[1], efforts[0], atol=1e-9) and np.allclose(efforts[2], efforts[0], atol=1e-9)


@pytest.mark.parametrize("name", CONTROLLERS)
@pytest.mark.parametrize("wrong", ["position", "rate", "quaternion", "reference"])
def test_what_cannot_be_flown_on_gives_thrust_without_torque_and_says_so(name: str, wrong: str) -> None:
    craft = robot()
    controller, reference = make_controller(craft, name), Hover(ABOVE)
    good = State(reference.sample(np.zeros(1)).q[0], np.zeros(6), np.array([0.0, 0.0, GRAVITY_M_S2]))
    for k in range(20):
        controller.step(k * craft.control_period_s, good, reference)
    q, v, followed = good.q.copy(), good.v.copy(), reference
    if wrong == "position":
        q[0] = np.nan
    elif wrong == "rate":
        v[4] = np.inf
    elif wrong == "quaternion":
        q[3:] = 0.0
    else:
        followed = Hover(np.array([0.0, np.nan, 2.0]))
    command = controller.step(0.1, State(q, v, good.specific_force), followed)
    assert command.status is Status.FAILED
    assert ("reference" if wrong == "reference" else "state") in command.message
    assert np.allclose(
        craft.allocation @ command.effort, [craft.mass_kg * GRAVITY_M_S2, 0.0, 0.0, 0.0], rtol=1e-3, atol=1e-6
    )
    assert controller.step(0.105, good, reference).status is Status.SOLVED, "and goes on when it can"


def test_an_accelerometer_that_fails_does_not_reach_the_command() -> None:
    craft = robot()
    controller = make_controller(craft, "indi")
    state = State(Hover(ABOVE).sample(np.zeros(1)).q[0], np.zeros(6), np.full(3, np.nan))
    for k in range(20):
        command = controller.step(k * craft.control_period_s, state, Hover(ABOVE))
        assert command.status is Status.SOLVED and np.all(np.isfinite(command.effort))


@pytest.mark.parametrize("name", CONTROLLERS)
def test_reset_forgets(name: str) -> None:
    craft = robot()
    controller, reference = make_controller(craft, name), Hover(ABOVE)
    state = State(np.array([0.3, -0.2, 1.9, 1.0, 0.0, 0.0, 0.0]), np.zeros(6), np.array([0.2, 0.0, 9.5]))
    first = [controller.step(k * 0.005, state, reference).effort for k in range(50)]
    controller.reset()
    again = [controller.step(k * 0.005, state, reference).effort for k in range(50)]
    assert np.array_equal(first, again)


def test_lee_2010_without_integrals_is_a_setting_and_leaves_an_offset() -> None:
    craft = robot()
    plain = make_controller(
        craft, "se3", load_config(craft, "se3", {"position_integral": 0.0, "attitude_integral": 0.0})
    )
    loaded = replace(QuadrotorTask(), payload=payload(craft, 0.2))
    offset = fly(plain, QuadrotorPlant(craft, loaded), Hover(ABOVE), 4.0).error[-1]
    gains = load_config(craft, "se3").model_dump()
    assert offset > 0.02
    with_more = make_controller(
        craft,
        "se3",
        load_config(craft, "se3", {**gains, "position_integral": 0.0, "attitude_integral": 0.0, "vertical": 4.0}),
    )
    assert fly(with_more, QuadrotorPlant(craft, loaded), Hover(ABOVE), 4.0).error[-1] < 0.3 * offset, (
        "as the square of the gain"
    )


def test_rates_for_an_autopilot_turn_it_as_the_thrusts_would() -> None:
    craft = robot()
    state = State(Hover(ABOVE).sample(np.zeros(1)).q[0], np.array([0.0, 0.0, 0.0, 0.4, -0.2, 0.1]))
    torque = np.array([0.05, -0.08, 0.01])
    command = Command(craft.thrusts(craft.mass_kg * GRAVITY_M_S2, torque))
    asked = collective_and_rates(craft, 0.0, state, command, 0.05)
    by_autopilot = (asked.rates - state.v[3:]) / 0.05
    spin = state.v[3:]
    by_thrusts = np.linalg.solve(craft.inertia, torque - np.cross(spin, craft.inertia @ spin))
    assert np.allclose(by_autopilot, by_thrusts)
    assert np.isclose(asked.collective_n, craft.mass_kg * GRAVITY_M_S2)
    assert np.allclose(craft.thrusts_of(rotor_speeds(craft, command)), command.effort)


def test_rates_of_a_plan_are_those_planned_for_then_and_within_limits() -> None:
    craft = robot()
    state = State(Hover(ABOVE).sample(np.zeros(1)).q[0], np.zeros(6))
    v = np.zeros((3, 6))
    v[:, 3], v[:, 5] = [0.0, 1.0, 2.0], 100.0
    plan = Plan(np.array([0.0, 0.1, 0.2]), np.tile(state.q, (3, 1)), v, np.tile(craft.hover_thrust, (3, 1)))
    asked = collective_and_rates(craft, 0.0, state, Command(craft.hover_thrust, plan=plan), 0.05)
    assert np.allclose(asked.rates, [0.5, 0.0, craft.velocity_limit[5]])
