# SPDX-License-Identifier: Apache-2.0
"""A heading that is wrong until it is corrected: found before the quadrotor is lost, named, and turned back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State, Status
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2
from metarl_robot.robots.quadrotor.heading import Heading
from metarl_robot.robots.quadrotor.trajectories import FigureEight, Hover
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from tests.noisy_quadrotor import NOISY

X500, ABOVE = load_robot("x500"), np.array([0.0, 0.0, 2.0])
REFERENCES = {"hover": Hover(ABOVE), "eight": FigureEight(ABOVE)}


def turned(state: State, error_rad: float, twist: bool) -> State:
    """The state with a wrong heading; twist: its velocity is given in the body, and turned as well."""
    turn, q, v = rotation.from_yaw(np.array(error_rad)), state.q.copy(), state.v.copy()
    q[3:] = rotation.multiply(turn, q[3:])
    if twist:
        v[:3] = rotation.rotate(turn, v[:3])
    return replace(state, q=q, v=v)


def fly(name: str, motion: str, spoiled: Callable[[float, State], State], end_s: float) -> tuple[np.ndarray, list]:
    """Distances from the reference (K,) [m], and the commands, with states as `spoiled` returns them."""
    plant, law, reference, errors, commands = QuadrotorPlant(X500, NOISY, 0), make_controller(X500, name), None, [], []
    reference = REFERENCES[motion]
    state = plant.reset(reference.sample(np.zeros(1)).q[0])
    while plant.time < end_s:
        commands.append(law.step(plant.stamp, spoiled(plant.time, state), reference))
        state = plant.step(commands[-1].effort, X500.control_period_s)
        errors.append(np.linalg.norm(plant.truth.q[:3] - reference.sample(np.array([plant.time])).q[0, :3]))
    return np.array(errors), commands


@pytest.mark.parametrize(
    ("name", "motion", "degrees", "twist"),
    [
        pytest.param("meta_mpc", "hover", 60, False, marks=pytest.mark.slow),
        ("meta_mpc", "eight", 60, True),
        pytest.param("indi", "eight", -100, False, marks=pytest.mark.slow),
        pytest.param("offset_free_mpc", "hover", -100, True, marks=pytest.mark.slow),
    ],
)
def test_a_wrong_heading_is_turned_back_until_it_is_corrected(
    name: str, motion: str, degrees: float, twist: bool
) -> None:
    """The estimate corrects itself after 2.5 s; quadrotors were lost 2 s after the start."""
    error = np.deg2rad(degrees)
    errors, commands = fly(name, motion, lambda t, x: turned(x, error, twist) if t < 2.5 else x, 4.5)
    named = [command for command in commands if command.message.startswith("heading: wrong by")]
    assert named and all(command.status is Status.DEGRADED for command in named)
    assert errors.max() < 2.0 and errors[-100:].max() < 0.05  # 1.6 m with the observer in hover: found after 1.5 s
    assert commands[-1].message == "", "corrected: no longer turned"


def sequence(rng: np.random.Generator, error_rad: float, twist: bool, noise: float) -> list[State]:
    """States at 100 Hz of a random flight with forces from outside, with sensors' noise."""
    w, phase, size = rng.uniform(1.5, 3.0, 3), rng.uniform(0.0, 6.0, 3), rng.uniform(0.4, 1.0, 3)
    states, heading = [], rng.uniform(-3.0, 3.0)
    for t in np.arange(0.0, 5.0, 0.01):
        p, v = size * np.sin(w * t + phase), size * w * np.cos(w * t + phase)
        a = -size * w * w * np.sin(w * (t - 0.005) + phase)
        attitude = rotation.multiply(rotation.from_yaw(np.array(heading + 0.5 * t)), rotation.exp(0.2 * np.sin(w * t)))
        force = rotation.rotate_back(attitude, a + [0.0, 0.0, GRAVITY_M_S2]) + noise * 0.4 * rng.standard_normal(3)
        q = np.concatenate([p + noise * 0.003 * rng.standard_normal(3), attitude])
        v = np.concatenate([v + noise * 0.05 * rng.standard_normal(3), [0.0, 0.0, 0.5]])
        states.append(turned(State(q, v, force), error_rad, twist))
    return states


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("twist", [False, True])
def test_any_turn_is_estimated_in_random_motion_and_none_where_there_is_none(seed: int, twist: bool) -> None:
    rng = np.random.default_rng([11, seed])
    error = rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 3.0)
    for wrong in (error, 0.0):
        heading, used = Heading(), None
        for state in sequence(rng, wrong, twist, 1.0):
            used = heading.update(state, state.specific_force, 0.01)
        if wrong == 0.0:
            assert heading.problem == ""
            continue
        left = rotation.error(used.q[3:], turned(state, -error, False).q[3:])
        assert np.abs(left).max() < 0.25 and (heading.moved_rad != 0.0) == twist


def test_noise_at_rest_is_no_turn() -> None:
    rng, heading = np.random.default_rng(5), Heading()
    for _ in range(3000):
        noise = rng.standard_normal(9)
        q = np.concatenate([0.005 * noise[:3], [1.0, 0.0, 0.0, 0.0]])
        force = np.array([0.1, -0.2, 9.8]) + 0.4 * noise[6:]
        heading.update(State(q, np.append(0.05 * noise[3:6], np.zeros(3)), force), force, 0.01)
        assert heading.problem == ""
