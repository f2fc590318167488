# SPDX-License-Identifier: Apache-2.0
"""Hexa- and octorotors in simulation: forces of the rotors, plans, hover, a lost rotor, weights of four rotors."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from metarl_robot.adaptation.factory import marginal_prior
from metarl_robot.adaptation.feature_spec import feature_map
from metarl_robot.control.factory import make_controller
from metarl_robot.core import rotation
from metarl_robot.core.checkpoint import load_checkpoint
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import MODELS_DIR
from metarl_robot.core.signals import Setpoints
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.plan import QuadrotorPlan
from metarl_robot.robots.quadrotor.rotor_loss import hover_margin, hovers_without
from metarl_robot.robots.quadrotor.trajectories import Hover
from metarl_robot.sim.quadrotor.aerodynamics import Aerodynamics
from metarl_robot.sim.quadrotor.data_collection_controller import DataCollectionController
from metarl_robot.sim.quadrotor.plant import QuadrotorBatch, QuadrotorPlant
from metarl_robot.sim.quadrotor.ranges import draw_task
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask
from tests.multirotors import NAMES, content, multirotor

each_robot = pytest.mark.parametrize("name", NAMES)
PLACE = np.array([0.0, 0.0, 3.0])


@cache
def robot(name: str) -> Quadrotor:
    return multirotor(name, Path(mkdtemp()))


@cache
def mixed_spins() -> Quadrotor:
    """The hexarotor with the spins PPNNPN, which survives the loss of some rotors."""
    rotors = content("hexa")["rotors"]
    for rotor, spin in zip(rotors, ("ccw", "ccw", "cw", "cw", "ccw", "cw"), strict=True):
        rotor["spin"] = spin
    return multirotor("hexa", Path(mkdtemp()), rotors=rotors)


@each_robot
def test_the_nominal_dynamics_have_the_rotors_wrench_of_the_simulation(name: str) -> None:
    craft, rng = robot(name), np.random.default_rng(0)
    dynamics = QuadrotorDynamics(craft)
    air = Aerodynamics(craft, [QuadrotorTask(ground_effect=False, drag_scale=(0.0, 0.0))])
    for _ in range(10):
        q = np.concatenate([PLACE, rotation.normalise(rng.normal(size=4))])
        thrusts = rng.uniform(craft.effort_lower, craft.effort_limit)
        made = air.force(
            rotation.to_matrix(q[None, 3:]), PLACE[None, 2:], np.zeros((1, 6)), np.zeros((1, 3)),
            thrusts[None] / craft.thrust_coefficient,
        )[0]  # fmt: skip
        np.testing.assert_allclose(dynamics.input_map(q) @ thrusts, made, rtol=1e-10, atol=1e-10)


def test_drag_of_tilted_rotors_is_along_and_across_their_axes() -> None:
    craft, rng = multirotor("tilted", Path(mkdtemp()), rotor_drag_n_s2_m=[8e-5, 3e-5]), np.random.default_rng(1)
    velocity, square = rng.normal(size=6), rng.uniform(1e4, 4e5, craft.nu)
    force, torque = np.zeros(3), np.zeros(3)
    for place, axis, spin, each in zip(craft.rotor_positions, craft.rotor_axes, craft.spin, square, strict=True):
        hub = velocity[:3] + np.cross(velocity[3:], place)
        along = hub @ axis * axis
        thrust = craft.thrust_coefficient * each
        pull = thrust * axis - np.sqrt(each) * (8e-5 * (hub - along) + 3e-5 * along)
        force += pull
        torque += np.cross(place, pull) - spin * craft.torque_ratio * thrust * axis
    force -= craft.parasitic_drag * np.linalg.norm(velocity[:3]) * velocity[:3]
    air = Aerodynamics(craft, [QuadrotorTask(ground_effect=False)])
    made = air.force(np.eye(3)[None], np.array([[9.0]]), velocity[None], np.zeros((1, 3)), square[None])[0]
    np.testing.assert_allclose(made, [*force, *torque], rtol=1e-10, atol=1e-10)


@each_robot
def test_flights_in_c_are_those_in_numpy(name: str) -> None:
    craft, rng = robot(name), np.random.default_rng(2)
    tasks = [draw_task(craft, rng) for _ in range(3)]
    q = np.tile([0.0, 0.0, 2.0, *rotation.exp(np.array([0.1, -0.2, 0.3]))], (3, 1))
    flights = [QuadrotorBatch(craft, tasks, [0, 1, 2], compiled=compiled) for compiled in (True, False)]
    for flight in flights:
        flight.reset(q, np.full((3, 6), 0.2))
    for _ in range(10):
        command = craft.hover_thrust * rng.uniform(0.5, 1.5, (3, craft.nu))
        one, other = (flight.step(command) for flight in flights)
        np.testing.assert_allclose(one.q, other.q, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(one.v, other.v, rtol=1e-10, atol=1e-10)


@each_robot
def test_flights_of_the_data_collection_controller_are_the_same_in_c_and_stay_up(name: str) -> None:
    craft, steps = robot(name), 100
    tasks = [draw_task(craft, np.random.default_rng(seed)) for seed in range(3)]
    points = Hover(PLACE).sample(np.arange(steps + 1) * craft.control_period_s)
    both = Setpoints(*(np.tile(values, (3, 1, 1)) for values in (points.q, points.v, points.a)))
    logs = []
    for compiled in (True, False):
        flight, law = (
            QuadrotorBatch(craft, tasks, [0, 1, 2], compiled=compiled),
            DataCollectionController(craft, np.random.default_rng(0), 3),
        )
        sizes = {"q": 7, "v": 6, "specific_force": 3}
        log = {
            name + kind: np.empty((3, steps + 1, size), np.float32)
            for name, size in sizes.items()
            for kind in ("", "_measured")
        } | {name: np.empty((3, steps, craft.nu), np.float32) for name in ("effort", "acting")}
        flight.reset(both.q[:, 0], both.v[:, 0])
        flight.follow(law, both, np.zeros((steps, 3, craft.nu)), log)
        assert not flight.crashed.any()
        logs.append(log)
    for entry, values in logs[0].items():
        np.testing.assert_allclose(values, logs[1][entry], rtol=1e-4, atol=1e-4)


@each_robot
def test_a_plans_derivative_is_that_of_finite_differences(name: str) -> None:
    craft, rng = robot(name), np.random.default_rng(3)
    dynamics, functions = QuadrotorDynamics(craft), QuadrotorPlan(craft, 2, 0.05)
    x = np.concatenate([PLACE, rotation.exp(rng.normal(size=3)), rng.normal(size=6), craft.hover_thrust])
    u, residual = craft.hover_thrust * rng.uniform(0.6, 1.4, craft.nu), 0.3 * rng.normal(size=6)
    model = functions.model(np.zeros(10), rng.uniform(0.8, 1.1, craft.nu))
    linear = functions.linearise(
        np.tile(x, (3, 1)), np.tile(u, (2, 1)), np.tile(residual, (2, 1)), model, np.tile(x, (3, 1))
    )
    by_x, by_u = functions.dense(linear, 0)
    reached = functions.advance(x, u, residual, model, 0.05)

    def change(x: np.ndarray, u: np.ndarray) -> np.ndarray:
        after = functions.advance(x, u, residual, model, 0.05)
        return np.concatenate([dynamics.difference(after[:7], reached[:7]), after[7:] - reached[7:]]) / 1e-6

    moved = [np.concatenate([dynamics.retract(x[:7], e[:6]), x[7:] + e[6:]]) for e in 1e-6 * np.eye(12 + craft.nu)]
    np.testing.assert_allclose(by_x, np.array([change(each, u) for each in moved]).T, atol=1e-4)
    np.testing.assert_allclose(by_u, np.array([change(x, u + e) for e in 1e-6 * np.eye(craft.nu)]).T, atol=1e-4)


@each_robot
def test_a_plans_target_holds_the_weight_with_uneven_rotors(name: str) -> None:
    craft = robot(name)
    functions, strength = QuadrotorPlan(craft, 2, 0.05), np.linspace(0.7, 1.0, craft.nu)
    at_rest = np.tile(craft.home, (3, 1)), np.zeros((3, 6)), np.zeros((3, 6))
    _, inputs = functions.target(*at_rest, np.zeros((3, 6)), functions.model(np.zeros(10), strength))
    wrench = craft.allocation @ (strength * inputs[0])
    np.testing.assert_allclose(wrench, [craft.mass_kg * 9.81, 0.0, 0.0, 0.0], atol=1e-8)


def flown(craft: Quadrotor, name: str, task: QuadrotorTask, later: QuadrotorTask | None = None) -> QuadrotorPlant:
    """Three seconds at PLACE, in lockstep; `later` from one second on."""
    plant, controller, reference = QuadrotorPlant(craft, task), make_controller(craft, name), Hover(PLACE)
    state = plant.reset(reference.sample(np.zeros(1)).q[0])
    controller.reset()
    for k in range(600):
        if later is not None and k == 200:
            plant.set_task(later)
        state = plant.step(controller.step(plant.stamp, state, reference).effort, craft.control_period_s)
    assert not plant.crashed and plant.violations.thrust == 0
    return plant


@pytest.mark.parametrize("controller", ["pid", "se3", "indi", "meta_mpc"])
@each_robot
def test_controllers_hold_a_place_when_a_rotor_weakens(name: str, controller: str) -> None:
    craft, calm = robot(name), QuadrotorTask(ground_effect=False)
    weak = replace(calm, effectiveness=np.array([0.8, 1.0, 1.0, 1.0]))
    plant = flown(craft, controller, calm, weak)
    assert np.linalg.norm(plant.position - PLACE) < 0.05


def test_where_control_remains_without_a_rotor_it_hovers_and_else_that_is_said() -> None:
    alternating, mixed, octo = robot("hexa"), mixed_spins(), robot("octo_x8")
    assert not any(hovers_without(alternating, i) for i in range(6)), "PNPNPN: the textbook case"
    assert [hovers_without(mixed, i) for i in range(6)].count(True) == 4, "PPNNPN: all but two"
    assert all(hovers_without(octo, i) for i in range(8))
    assert hover_margin(alternating) == pytest.approx(0.4, abs=0.15)


def test_a_rotor_that_stops_is_learned_and_the_hover_goes_on() -> None:
    calm = QuadrotorTask(ground_effect=False)
    plant = flown(robot("octo_x8"), "meta_mpc", calm, replace(calm, effectiveness=np.array([0.0, *np.ones(7)])))
    assert np.linalg.norm(plant.position - PLACE) < 0.2


def test_weights_of_four_rotors_give_a_prior_of_alike_rotors() -> None:
    craft = robot("octo_x8")
    checkpoint = load_checkpoint(MODELS_DIR / "quad-family" / "dynamics.safetensors")
    groups = checkpoint.meta["features"]
    features = feature_map(craft, QuadrotorDynamics(craft), groups, checkpoint)
    prior = marginal_prior(checkpoint, features)
    rotors = [features.names.index(f"rotor_{i + 1}_strength_error") for i in range(8)]
    names, trained = checkpoint.meta["context_names"], checkpoint.tensors
    old = [names.index(f"rotor_{i + 1}_strength_error") for i in range(4)]
    block, before = prior.covariance[np.ix_(rotors, rotors)], trained["prior_covariance"][np.ix_(old, old)]
    assert np.linalg.eigvalsh(prior.covariance / np.sqrt(np.outer(*[np.diag(prior.covariance)] * 2))).min() > 0.0
    np.testing.assert_allclose(np.diag(block), np.diag(before).mean())
    np.testing.assert_allclose(prior.mean[rotors], trained["prior_mean"][old].mean())
    assert block[0, 7] == pytest.approx((before.sum() - np.trace(before)) / 12.0)
    mass = features.names.index("payload_mass_kg")
    assert prior.covariance[mass, mass] == pytest.approx(craft.mass_kg**2 * trained["prior_covariance"][0, 0])


def test_effectiveness_of_more_rotors_than_there_are_is_refused() -> None:
    with pytest.raises(SignalError, match="effectiveness holds 8 numbers; hexa has 6 rotors"):
        QuadrotorTask(effectiveness=np.ones(8)).thrust_gain(robot("hexa"))
    assert QuadrotorTask(effectiveness=[0.5, 1.0, 1.0, 1.0]).thrust_gain(robot("hexa")).tolist() == [0.5, 1, 1, 1, 1, 1]
