# SPDX-License-Identifier: Apache-2.0
"""The error of a prediction does not reward a belief in weak motors or in a body without inertia."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.adaptation.prediction_error import LEAST_STRENGTH, prediction_error
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics

X500, PANDA = load_robot("x500"), load_robot("panda")
DYNAMICS = QuadrotorDynamics(X500)
TILTED = np.array([0.3, -1.0, 2.0, 0.95, 0.2, -0.1, 0.21])
TILTED[3:] /= np.linalg.norm(TILTED[3:])


def body(mass_kg: float) -> np.ndarray:
    """A payload off the axis, about the payload site."""
    return mass_kg * np.array([1.0, 0.02, -0.01, -0.03, 2e-3, 2e-3, 3e-3, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("mass_kg", [-1.0, -0.4, 0.0, 0.6])
def test_noise_of_accelerations_costs_the_same_whatever_mass_is_believed(mass_kg: float) -> None:
    noise, attached = np.random.default_rng(1000).normal(size=(20, 6)), body(mass_kg)
    nominal, whole = (DYNAMICS.momentum(TILTED, np.zeros(6), each)[0].copy() for each in (None, attached))
    error = noise @ whole.T  # of Δ, where the model is right and accelerations are wrong
    found = prediction_error(X500, DYNAMICS)(error, TILTED, np.zeros(4), attached)
    np.testing.assert_allclose(found, noise @ nominal.T, rtol=1e-9)


def test_a_body_that_takes_all_inertia_is_no_good_model() -> None:
    noise = np.random.default_rng(1001).normal(size=(50, 6))
    found = prediction_error(X500, DYNAMICS)(noise, TILTED, np.zeros(4), body(-X500.mass_kg))
    assert np.all(np.isfinite(found)) and np.abs(found[:, :3]).mean() > 10.0 * np.abs(noise[:, :3]).mean()


def test_many_models_at_once_are_those_one_by_one() -> None:
    rng, error = np.random.default_rng(1002), prediction_error(X500, DYNAMICS)
    raw, bodies = rng.normal(size=(3, 2, 6)), np.stack([[body(0.0), body(0.1 * i)] for i in range(3)])
    found = error(raw, TILTED, np.zeros((3, 2, 4)), bodies)
    for i, j in np.ndindex(3, 2):
        np.testing.assert_allclose(found[i, j], error(raw[i, j], TILTED, np.zeros(4), bodies[i, j]))
    assert np.abs(found - raw)[2, 1].max() > 0.1


def test_of_joints_it_is_the_effort_that_the_motion_needs() -> None:
    gain, error = np.array([0.5, -0.2, 0.0, 0.0, 0.0, 0.0, -3.0]), np.ones(7)
    found = prediction_error(PANDA, None)(error, PANDA.home, gain, np.zeros(10))
    np.testing.assert_allclose(found, [1.0 / 1.5, 1.25, 1.0, 1.0, 1.0, 1.0, 1.0 / LEAST_STRENGTH])
