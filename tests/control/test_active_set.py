# SPDX-License-Identifier: Apache-2.0
"""The limits of an arm's plan in C: the same change of the plan as by numpy."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.robots.arm.active_set import ActiveSet
from metarl_robot.robots.arm.linearised_limits import Outputs
from metarl_robot.robots.arm.tracking_qp import TrackingQP

N, JOINTS = 12, 3


@pytest.fixture(scope="module")
def qp() -> TrackingQP:
    return TrackingQP(N, 0.02, 20.0, 1.0)


def problem(rng: np.random.Generator, reach: float) -> tuple[Outputs, np.ndarray]:
    """Outputs up to `reach` times the limits, and slopes of efforts with inertias of about 2."""
    shape = (3, N + 1, JOINTS)
    limits = np.ones(shape) * np.array([20.0, 2.0, 0.5])[:, None, None]
    mass = 2.0 * np.eye(JOINTS) + 0.3 * rng.standard_normal((N + 1, JOINTS, JOINTS))
    slopes = np.concatenate([0.5 * rng.standard_normal((N + 1, JOINTS, 2 * JOINTS)), mass], axis=2)
    worth = np.stack([np.full(shape[1:], value) for value in (2.0, 1 / 20.0, 1 / 400.0)])
    values = np.sin(rng.uniform(0.0, 6.0, (3, 1, JOINTS)) + 0.2 * np.arange(N + 1)[None, :, None])
    return Outputs(reach * limits * values, -limits, limits, worth), slopes


def changes(qp: TrackingQP, outputs: Outputs, slopes: np.ndarray) -> tuple[tuple[np.ndarray, bool], ...]:
    both = ActiveSet(qp, JOINTS), ActiveSet(qp, JOINTS, in_c=False)
    return tuple(solver.constrain(outputs, slopes) for solver in both)


@pytest.mark.parametrize("reach", [0.9, 1.02, 1.1, 1.5])
def test_c_finds_the_change_that_numpy_finds(qp: TrackingQP, reach: float) -> None:
    rng, met = np.random.default_rng(3), []
    for _ in range(20):
        (fast, fast_met), (slow, slow_met) = changes(qp, *problem(rng, reach))
        np.testing.assert_allclose(fast, slow, atol=1e-9 * (1.0 + np.abs(slow).max()))
        assert fast_met == slow_met and fast.any() == (reach > 1.0)
        met.append(fast_met)
    assert all(met) if reach < 1.0 else any(met) or reach > 1.02
    assert not all(met) or reach < 1.5, "limits that cannot all be met are among the problems"


def test_c_solves_them_itself(qp: TrackingQP, monkeypatch: pytest.MonkeyPatch) -> None:
    solver = ActiveSet(qp, JOINTS)
    if solver._run is None:
        pytest.skip("no C compiler")
    monkeypatch.setattr(solver, "_qp", None)
    assert solver.constrain(*problem(np.random.default_rng(4), 1.1))[0] is not None


def test_more_limits_than_c_takes_are_left_to_numpy(qp: TrackingQP, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metarl_robot.robots.arm.active_set.MOST_ROWS", 2)
    (fast, _), (slow, _) = changes(qp, *problem(np.random.default_rng(5), 1.5))
    np.testing.assert_array_equal(fast, slow)


def test_slopes_that_are_no_numbers_are_a_failure(qp: TrackingQP) -> None:
    outputs, slopes = problem(np.random.default_rng(6), 1.5)
    for solver in (ActiveSet(qp, JOINTS), ActiveSet(qp, JOINTS, in_c=False)):
        change, met = solver.constrain(outputs, np.full_like(slopes, np.nan))
        assert change is None and not met
