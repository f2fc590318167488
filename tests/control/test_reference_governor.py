# SPDX-License-Identifier: Apache-2.0
"""References on which an arm cannot be held: the arm follows the nearest one on which it can."""

from __future__ import annotations

import numpy as np
import pytest

import metarl_robot as mr
from metarl_robot.core.signals import Setpoints
from metarl_robot.robots.arm.reference_governor import BRAKES_S, HELD_SHARE, ReferenceGovernor, least
from metarl_robot.sim.evaluate import run_one

PLANAR = mr.load_robot("planar2")
DT, AHEAD = 0.005, 0.02 * np.arange(11)


def _of_links(load: float) -> tuple[ReferenceGovernor, object]:
    """Governor of two links that hang from horizontal joints, loaded by a share of the effort limits, and g."""

    def efforts(q: np.ndarray) -> np.ndarray:
        outer = 0.5 * np.cos(q[:, 0] + q[:, 1])
        return load * PLANAR.effort_limit * np.stack([0.5 * np.cos(q[:, 0]) + outer, outer], axis=1)

    def slopes(q: np.ndarray) -> np.ndarray:
        steps = 1e-6 * np.eye(2)
        return np.stack([(efforts(q + step) - efforts(q - step)) / 2e-6 for step in steps], axis=2)

    return ReferenceGovernor(PLANAR, PLANAR.position_lower, PLANAR.position_upper, efforts, slopes), efforts


def _at(q: np.ndarray) -> Setpoints:
    still = np.zeros((len(AHEAD), 2))
    return Setpoints(still + q, still, still)


def _settled(governor: ReferenceGovernor, target: Setpoints, lagging: float = 0.0) -> Setpoints:
    """The reference after 3 s, with the first joint behind by `lagging` [rad]."""
    governed = target
    for _ in range(600):
        governed = governor.governed(target, governed.q[0] - np.array([lagging, 0.0]), DT, AHEAD)
    return governed


def test_a_reference_that_can_be_held_stays_as_it_is() -> None:
    governor, _ = _of_links(0.99)
    target = _at(np.zeros(2))
    assert _settled(governor, target) is target
    assert not governor.active


@pytest.mark.parametrize("load", [1.02, 1.2, 1.6])
def test_an_overloaded_arm_is_held_near_its_reference(load: float) -> None:
    governor, efforts = _of_links(load)
    target = _at(np.array([0.1, 0.1]))
    governed = _settled(governor, target)
    used = np.abs(efforts(governed.q)[0]) / PLANAR.effort_limit
    assert used.max() == pytest.approx(HELD_SHARE, abs=5e-3)
    grid = np.stack(np.meshgrid(*[np.linspace(-1.5, 1.5, 301)] * 2), axis=-1).reshape(-1, 2)
    held = (np.abs(efforts(target.q[0] + grid)) <= HELD_SHARE * PLANAR.effort_limit).all(axis=1)
    nearest = np.linalg.norm(grid[held], axis=1).min()
    assert np.linalg.norm(governed.q[0] - target.q[0]) <= 1.05 * nearest + 0.01, "no other is much nearer"


def test_the_displaced_reference_is_a_motion() -> None:
    governor, _ = _of_links(1.2)
    target, at = _at(np.array([0.1, 0.1])), []
    for _ in range(80):
        at.append(governor.governed(target, target.q[0], DT, AHEAD))
    q, v, a = (np.array([getattr(each, name)[0] for each in at]) for name in ("q", "v", "a"))
    np.testing.assert_allclose(np.diff(q, axis=0), 0.5 * DT * (v[1:] + v[:-1]), atol=2e-4)
    np.testing.assert_allclose(v[1:] - v[:-1], DT * a[1:], atol=2e-2)
    assert np.abs(v).max() > 0.05
    assert (np.abs(v) <= 0.5 * PLANAR.velocity_limit + 1e-9).all()


def test_the_reference_returns_once_it_can_be_held() -> None:
    governor, _ = _of_links(1.3)
    assert np.abs(_settled(governor, _at(np.array([0.1, 0.1]))).q).max() > 0.3
    target = _at(np.array([1.2, 0.2]))
    assert _settled(governor, target) is target
    assert not governor.active


def test_a_returning_reference_brakes_gently() -> None:
    """The efforts that hold a payload leave little to brake. Without a limit it braked with 16.5 rad/s², not 12.5."""
    governor, _ = _of_links(0.5)
    governor.active, governor._wanted, governor._offset = True, np.array([0.0, 2.0]), np.array([0.0, 2.0])
    target = _at(np.array([0.3, 0.2]))
    away = np.array([governor.governed(target, target.q[0] + governor._offset, DT, AHEAD).q[0] for _ in range(400)])
    v = np.diff(away, axis=0) / DT
    braking = -np.sign(v[:-1]) * np.diff(v, axis=0) / DT
    assert np.abs(v).max() == pytest.approx(0.5 * PLANAR.velocity_limit[1], rel=0.02)
    np.testing.assert_allclose(away[-1], target.q[0], atol=1e-6)
    assert 0.0 < braking.max() <= PLANAR.velocity_limit[1] / BRAKES_S


def test_other_joints_relieve_one_that_lags() -> None:
    """The first joint cannot rise by itself: the second folds farther than the reference needs."""
    target = _at(np.array([0.9, -0.9]))
    ahead, behind = (_settled(_of_links(1.25)[0], target, lagging).q[0, 1] for lagging in (0.0, 0.5))
    assert abs(behind + 0.9) > abs(ahead + 0.9) + 0.05


def test_efforts_that_are_not_finite_change_nothing() -> None:
    governor, _ = _of_links(np.inf)
    target = _at(np.array([0.1, 0.1]))
    with np.errstate(all="ignore"):
        assert np.isfinite(governor.governed(target, target.q[0], DT, AHEAD).q).all()


def test_the_least_displacement_within_limits() -> None:
    rng, active = np.random.default_rng(0), 0
    for _ in range(100):
        rows, inside = rng.normal(size=(8, 3)), rng.normal(size=3)
        room = rows @ inside + rng.uniform(0.0, 0.5, 8)
        d = least(rows, room)
        assert d is not None
        slack = 0.05
        assert (rows @ d <= room + slack).all()
        others = inside + rng.normal(size=(500, 3))
        feasible = others[(others @ rows.T <= room).all(axis=1)]
        assert np.linalg.norm(d) <= min(np.linalg.norm(np.vstack([feasible, inside]), axis=1)) + 1e-6
        active += np.linalg.norm(d) > 1e-3
    assert active > 50


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1002, 1012])
def test_an_arm_with_too_heavy_a_payload_is_back_as_soon_as_it_can_be_held(seed: int) -> None:
    """The arm lay on its stop, whose force was taken for a contact, and was 10 and 320 mm off a second later."""
    result = run_one(mr.load_robot("panda"), "overload", "stretched", seed, "meta_mpc").result
    assert result.rmse_after_m < 2e-4
    assert result.measures["velocity_violations"] == 0
    assert result.measures["external_wrench_s"] == 0.0
