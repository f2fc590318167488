# SPDX-License-Identifier: Apache-2.0
"""Calibration of estimates: the exact posterior, its records, and coverage over draws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import EMPTY_CONTEXT, Context, State
from metarl_robot.sim import calibration
from metarl_robot.sim.batch_posterior import BatchPosterior
from metarl_robot.sim.calibration import COVERED, LEVELS, Draw, calibrate, draws, summary
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.recorded_motion import RecordedMotion, record

Array = NDArray[np.float64]

SAMPLES = 60


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("planar2")


@pytest.fixture(scope="module")
def motion(robot: Robot) -> RecordedMotion:
    scenario = simulation(robot).scenario("heldout", "pickup", 1000)
    return record(robot, make_controller(robot, "pid"), replace(scenario, changes=(), duration_s=0.5))


def _posterior(robot: Robot, prior: Prior | None = None) -> BatchPosterior:
    filter_: Any = make_controller(robot, "meta_mpc").inner.adapter.inner  # type: ignore[attr-defined]
    made = BatchPosterior.like(filter_)
    tuning = replace(made._tuning, noise_online=False, velocity_noise=(0.005,))
    return BatchPosterior(made._dynamics, made._features, prior or made._prior, tuning)


def _whitened(robot: Robot, posterior: BatchPosterior, motion: RecordedMotion) -> Array:
    """Whitened innovations of the first samples, one after the other."""
    posterior.begin(robot, motion.scenario.initial, 0.001)
    posterior.reset()
    white = []
    for k in range(SAMPLES):
        posterior.update(motion.states[k], motion.effort[max(k, 1)], robot.control_period_s)
        if k > 0:
            white.append(posterior._algebra.white.copy())
    return np.concatenate(white)


def test_the_exact_posterior_is_the_batch_least_squares_solution(robot: Robot, motion: RecordedMotion) -> None:
    exact = _posterior(robot)
    prior, entries = exact._prior, exact._z
    nothing = np.zeros_like(prior.covariance)
    step = 0.1 * np.sqrt(prior.covariance.diagonal())
    at_prior = _whitened(robot, _posterior(robot, Prior(prior.mean, nothing)), motion)
    columns = [
        (at_prior - _whitened(robot, _posterior(robot, Prior(prior.mean + away, nothing)), motion)) / away.max()
        for away in np.diag(step)
    ]
    design = np.stack(columns, axis=1)
    covariance = np.linalg.inv(design.T @ design + np.linalg.inv(prior.covariance))
    mean = prior.mean + covariance @ design.T @ at_prior
    _whitened(robot, exact, motion)
    sigma = np.sqrt(covariance.diagonal())
    np.testing.assert_allclose(np.sqrt(exact.belief.covariance.diagonal()[entries]), sigma, rtol=0.1)
    away = np.abs(exact.belief.mean[entries] - mean) / sigma
    assert np.all(away < 0.4)  # the filter's own point of linearisation; rough while the first effort is not known
    assert np.sqrt(np.mean(away**2)) < 0.15


def test_a_change_returns_only_the_changed_groups_to_their_prior(robot: Robot, motion: RecordedMotion) -> None:
    scenario = simulation(robot).scenario("heldout", "pickup", 1000)
    exact = _posterior(robot)
    _whitened(robot, exact, motion)
    before = exact.context
    exact.observe(robot, scenario.changes[0][1])
    prior = np.sqrt(exact._prior.covariance.diagonal())
    assert exact.context.std[0] == pytest.approx(prior[0])
    kept = [name for name in before.names if not name.startswith("payload")]
    assert all(exact.context[name] == before[name] for name in kept)
    assert all(before[name][1] < prior[before.names.index(name)] for name in kept)


def test_a_change_between_two_samples_is_known_at_the_second(robot: Robot, motion: RecordedMotion) -> None:
    """Sensors are late: samples do not coincide with changes."""
    task = motion.scenario.initial
    late = replace(motion, stamps=motion.stamps - 0.002, scenario=replace(motion.scenario, changes=((0.1, task),)))
    learned: list[float] = []
    changed: list[int] = []

    class Learner:
        def reset(self) -> None:
            learned.clear()

        def learn(self, stamp: float, state: State, effort: Array) -> Context:
            learned.append(stamp)
            return EMPTY_CONTEXT

    calibration._follow(robot, Learner(), late, [40], lambda task: changed.append(len(learned)))
    (first,) = changed
    assert learned[first - 1] < 0.1 < learned[first]


def test_nothing_is_learned_from_the_interval_with_a_change(robot: Robot, motion: RecordedMotion) -> None:
    exact, task = _posterior(robot), simulation(robot).scenario("heldout", "pickup", 1000).changes[0][1]
    _whitened(robot, exact, motion)
    exact.observe(robot, task)
    learned = []
    for k in (SAMPLES, SAMPLES + 1):
        before = exact.belief.mean[exact._z].copy()
        exact.update(motion.states[k], motion.effort[k], robot.control_period_s)
        learned.append(not np.array_equal(exact.belief.mean[exact._z], before))
    assert learned == [False, True]


def test_draws_take_the_kinds_in_turn(robot: Robot) -> None:
    assert draws(robot, "heldout", 4, 7) == (
        Draw("pickup", 7),
        Draw("drop", 7),
        Draw("friction_step", 7),
        Draw("pickup", 8),
    )


def _rows(sigma: float) -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    cell = {"quantity": "payload_mass_kg", "title": "mass", "unit": "kg", "after_s": 1.0, "exact_std": 1.0, "use": 0.5}
    return [
        {"kind": "pickup", "estimates": [{**cell, "error": error, "std": sigma, "exact_error": error}]}
        for error in rng.standard_normal(1000).tolist()
    ]


def test_errors_of_the_stated_size_are_calibrated() -> None:
    (row,) = summary(_rows(1.0))
    assert row["calibrated"] and COVERED[0] < row["within_2_sigma"] < COVERED[1]
    np.testing.assert_allclose(row["reliability"], LEVELS, atol=0.04)
    assert row["sharpness"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_a_sigma_of_another_size_is_not(sigma: float) -> None:
    (row,) = summary(_rows(sigma))
    assert not row["calibrated"] and row["exact_within_2_sigma"] > COVERED[0]


@pytest.mark.slow
def test_the_exact_posterior_knows_the_mass_of_a_pickup(robot: Robot) -> None:
    rows: list[dict[str, Any]] = []
    calibrate(robot, "heldout", [Draw("pickup", 1000)], 1, rows.append)
    assert [each["after_s"] for each in rows[0]["estimates"]] == [1.0, 4.0]
    for each in rows[0]["estimates"]:
        assert abs(each["exact_error"]) < 3.0 * each["exact_std"] < 0.15
        assert abs(each["error"]) < 3.0 * each["std"]
