# SPDX-License-Identifier: Apache-2.0
"""A contact is not taken for a payload: no force builds up, nothing is learned from it, and the arm recovers."""

from __future__ import annotations

import numpy as np
import pytest

import metarl_robot as mr
from metarl_robot.sim.evaluate import run_one
from tests.table_contact import press

PANDA = mr.load_robot("panda")


@pytest.mark.slow
@pytest.mark.parametrize("depth_m", [0.002, 0.01])
def test_an_arm_that_presses_on_a_table_is_as_soft_as_without_adaptation(depth_m: float) -> None:
    nominal = press(PANDA, mr.make_controller(PANDA, "nominal_mpc"), depth_m)
    adaptive = press(PANDA, mr.make_controller(PANDA, "meta_mpc"), depth_m)
    assert nominal.peak_n > 5.0, "it touches the table"
    assert adaptive.peak_n < 1.5 * nominal.peak_n
    assert adaptive.violations == 0
    after = slice(adaptive.released + round(1.0 / PANDA.control_period_s), None)
    assert adaptive.error_m[after].max() < 2e-4
    assert np.abs(adaptive.masses_kg[after]).max() < 0.3


@pytest.mark.slow
def test_a_payload_that_is_dropped_is_not_taken_for_a_contact() -> None:
    dropped = run_one(PANDA, "heldout", "drop", 0, "meta_mpc").result
    assert dropped.rmse_after_m < 5e-4, "a model with the old payload would be 6 mm off"


def test_a_covariance_without_a_factor_returns_the_filter_to_its_prior() -> None:
    adapter = mr.make_adapter(PANDA, "last_layer")
    state, effort = mr.State(PANDA.home, np.zeros(7)), np.zeros(7)
    prior = adapter.update(state, effort, 0.005)
    for _ in range(20):
        adapter.update(state, np.full(7, 2.0), 0.005)
    adapter.inner.belief.covariance[:] = -1.0
    adapter.update(state, effort, 0.005)
    begun = adapter.update(state, effort, 0.005)
    np.testing.assert_allclose(begun.mean, prior.mean)
    assert np.isfinite(adapter.update(state, effort, 0.005).mean).all()
