# SPDX-License-Identifier: Apache-2.0
"""The filter in C and in numpy: the same numbers over a flight and an arm's motion with changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_algebra import (
    Algebra,
    Belief,
    CompiledAlgebra,
    Innovation,
    Motion,
    NumpyAlgebra,
    ProcessNoise,
    algebra,
)
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Context, State
from metarl_robot.sim.kinds import simulation

Array = NDArray[np.float64]
Sample = tuple[State, Array, float]

N, NU, K = 5, 3, 21


def _recorded(robot_name: str, scenario: str) -> tuple[MomentumFilter, list[Sample]]:
    """meta_mpc's adapter and its input while something changed."""
    robot = load_robot(robot_name)
    sim = simulation(robot)
    episode = sim.scenario("heldout", scenario, 0)
    controller: Any = make_controller(robot, "meta_mpc")
    plant = sim.plant(episode.initial, 0)
    adapter: MomentumFilter = controller.adapter
    samples: list[Sample] = []
    update = adapter.update

    def recorded(state: State, effort: Array, dt: float) -> Context:
        samples.append((state, effort.copy(), dt))
        return update(state, effort, dt)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "update", recorded)
        start = episode.reference.sample(np.zeros(1))
        state = plant.reset(start.q[0], start.v[0])
        for k in range(300):
            if k == 150:
                plant.set_task(episode.changes[0][1])
            state = plant.step(controller.step(plant.stamp, state, episode.reference).effort, robot.control_period_s)
    return adapter, samples


@pytest.mark.slow
@pytest.mark.parametrize(("robot", "scenario"), [("panda", "pickup"), ("x500", "payload")])
def test_c_and_numpy_agree_through_changes(robot: str, scenario: str) -> None:
    adapter, samples = _recorded(robot, scenario)
    fast, plain = adapter, adapter.in_numpy()
    fast.reset()
    tested = 0
    for state, effort, dt in samples:
        here, there = fast.update(state, effort, dt), plain.update(state, effort, dt)
        tested += fast.hypotheses > 1
        # Rounding differs (order of sums, fused operations); where hypotheses come close it is amplified, never beyond
        # this.
        prior_std = np.sqrt(adapter._prior.covariance.diagonal().max())
        assert np.allclose(here.mean, there.mean, rtol=0.0, atol=1e-6 * prior_std)
        assert np.allclose(here.std, there.std, rtol=1e-6, atol=1e-9)
        assert fast.latency_s == pytest.approx(plain.latency_s, rel=1e-6)
    assert tested > 10


def _random(shape: int | tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def _definite(size: int, seed: int) -> Array:
    root = _random((size, size), seed)
    return root @ root.T + np.eye(size)


@pytest.fixture
def process_noise() -> ProcessNoise:
    return ProcessNoise(np.abs(_random(N, 0)), np.abs(_random(N, 1)), 0.05, 10.0, _definite(K, 2), 20.0)


def _belief() -> Belief:
    belief = Belief(np.zeros(N), 4 * N + K)
    belief.mean[:], belief.covariance[:] = 0.1 * _random(4 * N + K, 3), _definite(4 * N + K, 4)
    return belief


def _motion(added: Array) -> Motion:
    shapes: list[int | tuple[int, ...]] = [N, (N, N), (N, N), N, (N, K), (N, NU), NU, NU, NU, NU, K]
    motion = Motion(*(_random(shape, 10 + i) for i, shape in enumerate(shapes)))
    return motion._replace(mass=_definite(N, 5), added=added, effort_std=np.abs(motion.effort_std))


def _assert_close(beliefs: list[Belief], tolerance: float) -> None:
    here, there = beliefs
    assert np.allclose(here.mean, there.mean, rtol=tolerance, atol=tolerance)
    assert np.allclose(here.covariance, there.covariance, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("felt", [False, True])
@pytest.mark.parametrize("physical", [True, False])
def test_one_prediction_and_correction_agree_to_rounding(
    process_noise: ProcessNoise, felt: bool, physical: bool
) -> None:
    fast, plain = algebra(N, NU, process_noise), NumpyAlgebra(N, process_noise)
    both: tuple[Algebra, Algebra] = fast, plain
    if not isinstance(fast, CompiledAlgebra):
        pytest.skip("no C compiler")
    before, dt, size = _belief(), 0.01, 2 * N + 3 * felt
    motion = _motion(_definite(N, 6) if physical else -100.0 * np.eye(N))
    innovation = Innovation(
        _random(size, 7), np.abs(_random(size, 8)) + 0.1, _random((3, N), 9) if felt else None, _random(size, 10)
    )
    after = [one.predict(before, motion, dt) for one in both]
    _assert_close(after, 1e-11)
    likelihood = [one.correct(before, belief, innovation, dt) for one, belief in zip(both, after, strict=True)]
    assert likelihood[0] == pytest.approx(likelihood[1], rel=1e-9)
    assert np.allclose(fast.white, plain.white, rtol=1e-9) and np.allclose(fast.response, plain.response, rtol=1e-9)
    _assert_close(after, 1e-9)
    assert np.array_equal(after[0].covariance, after[0].covariance.T)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_sample_under_an_unknown_effort_tells_nothing_of_the_context(
    process_noise: ProcessNoise, compiled: bool
) -> None:
    """Neither does its position: an effort that is not known moves it as much as the velocity says."""
    noise = replace(process_noise, forgetting_s=1e12)
    one, dt = algebra(N, N, noise, compiled), 0.01
    before = _belief()
    before.covariance[: 2 * N] = before.covariance[:, : 2 * N] = 0.0  # position and velocity are known
    shapes: list[int | tuple[int, ...]] = [N, (N, N), (N, N), N, (N, K), (N, N), N, N, N, N, K]
    motion = Motion(*(_random(shape, 10 + i) for i, shape in enumerate(shapes)))._replace(
        mass=_definite(N, 5), added=np.zeros((N, N)), input_map=np.eye(N)
    )
    prior = before.covariance[4 * N :, 4 * N :]
    innovation = Innovation(_random(2 * N, 7), np.full(2 * N, 1e-9), None, np.zeros(2 * N))
    for effort_std, informed in ((1e5, False), (1.0, True)):
        after = one.predict(before, motion._replace(effort_std=np.full(N, effort_std)), dt)
        one.correct(before, after, innovation, dt)
        left = np.linalg.eigvals(np.linalg.solve(prior, after.covariance[4 * N :, 4 * N :])).real.min()
        assert (left < 0.9) == informed
        assert informed or left > 0.99


def test_an_innovation_without_a_covariance_is_refused_by_both(process_noise: ProcessNoise) -> None:
    both: tuple[Algebra, Algebra] = algebra(N, NU, process_noise), NumpyAlgebra(N, process_noise)
    for one in both:
        before = _belief()
        after = one.predict(before, _motion(np.zeros((N, N))), 0.01)
        with pytest.raises(np.linalg.LinAlgError):
            one.correct(before, after, Innovation(np.zeros(2 * N), np.full(2 * N, -1e9), None, np.zeros(2 * N)), 0.01)
