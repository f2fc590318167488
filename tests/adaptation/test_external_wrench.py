# SPDX-License-Identifier: Apache-2.0
"""A contact is not taken for a payload: no force builds up, nothing is learned from it, and the arm recovers."""

from __future__ import annotations

import numpy as np
import pytest

import metarl_robot as mr
from metarl_robot.adaptation.features import FeatureMap, Xi
from metarl_robot.adaptation.filter_algebra import Belief
from metarl_robot.adaptation.lasting_models import LastingModels
from metarl_robot.adaptation.tuning import START_S
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.features.friction import FrictionFeatures
from metarl_robot.robots.arm.features.payload import PayloadFeatures
from metarl_robot.sim.evaluate import run_one
from metarl_robot.trajectories.splines import Hold
from tests.pushed_arm import BEGIN_S, push
from tests.table_contact import press

PANDA = mr.load_robot("panda")
LIGHT_TOUCH_N = 4.0
"""Allowed beyond the nominal force where 1.5 times it is less."""


@pytest.mark.slow
@pytest.mark.parametrize("depth_m", [0.0005, 0.01])
def test_an_arm_that_presses_on_a_table_is_as_soft_as_without_adaptation(depth_m: float) -> None:
    nominal = press(PANDA, mr.make_controller(PANDA, "nominal_mpc"), depth_m)
    adaptive = press(PANDA, mr.make_controller(PANDA, "meta_mpc"), depth_m)
    assert nominal.peak_n > 5.0, "it touches the table"
    assert adaptive.peak_n < max(1.5 * nominal.peak_n, nominal.peak_n + 6.0), "6 N: static friction may explain as much"
    assert adaptive.violations == 0
    after = slice(adaptive.released + round(1.0 / PANDA.control_period_s), None)
    assert adaptive.error_m[after].max() < 2e-4
    assert np.abs(adaptive.masses_kg[after]).max() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), [("obstacle", 1005), ("obstacle", 1010), ("table", 1005), ("wall", 1006)])
def test_the_observers_push_does_not_build_up_against_an_obstacle(kind: str, seed: int) -> None:
    """It reached 14, 43, 11 and 40 N before the contact was recognised, nominal 6, 18, 6 and 24.

    The first touches a resting arm, the third one that has almost stopped, the fourth is an impact. The lightest
    touches may exceed 1.5 times the nominal force (obstacle 1012: 5.7 N, nominal 3.2; table 1005: 6.9 to 8.8 N by small
    differences at the start, nominal 5.7).
    """
    nominal, adaptive = (run_one(PANDA, "contact", kind, seed, law).result for law in ("nominal_mpc", "meta_mpc"))
    assert nominal.measures["peak_contact_n"] > 5.0
    allowed_n = max(1.5 * nominal.measures["peak_contact_n"], nominal.measures["peak_contact_n"] + LIGHT_TOUCH_N)
    assert adaptive.measures["peak_contact_n"] <= allowed_n
    assert adaptive.measures["velocity_violations"] == 0
    assert adaptive.rmse_after_m < 1e-4


@pytest.mark.slow
def test_a_long_push_on_a_moving_arm_is_not_learned_as_a_model() -> None:
    """An explanation that was possible for one sample replaced the model: 52 mm off, 14 velocity violations."""
    pushed = run_one(PANDA, "contact", "push", 1004, "meta_mpc").result
    assert pushed.rmse_after_m < 1e-4
    assert pushed.measures["velocity_violations"] == 0
    assert abs(pushed.estimates["payload_mass_error_kg"]) < 0.3


@pytest.mark.slow
def test_friction_of_the_other_direction_is_not_learned_as_payload_after_a_contact() -> None:
    """The arm returns after a contact: the mass that it carries was 0.34 kg off, and 0.09 kg before the contact."""
    touched = run_one(PANDA, "contact", "wall", 1003, "meta_mpc").result
    assert abs(touched.estimates["payload_mass_error_kg"]) < 0.3


def test_a_resumed_model_keeps_its_context_and_forgets_how_friction_is_correlated_with_it() -> None:
    made = mr.make_adapter(PANDA, "last_layer").inner.inner
    rng, model, z = np.random.default_rng(0), made.belief.copy(), made._z
    factor = rng.normal(size=model.covariance.shape)
    model.covariance[:], model.mean[z] = factor @ factor.T, rng.normal(size=len(made._context))
    made.resume(model, mr.State(PANDA.home, np.zeros(7)), np.zeros(7), 0.005)
    friction = made._features.heavy_tailed
    after, before = made.belief.covariance[z, z], model.covariance[z, z]
    np.testing.assert_array_equal(made._context, model.mean[z])
    assert friction.any() and not after[np.ix_(friction, ~friction)].any()
    np.testing.assert_array_equal(after[np.ix_(~friction, ~friction)], before[np.ix_(~friction, ~friction)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "kind", "seed", "within_m"), [("mismatch", "drop", 1000, 1e-4), ("heldout", "pickup", 1001, 5e-5)]
)
def test_a_payload_that_changes_at_rest_is_not_taken_for_a_contact(
    suite: str, kind: str, seed: int, within_m: float
) -> None:
    """Where the payload was to explain only the joints that the force drives, they were 1.45 and 0.066 mm off."""
    assert run_one(PANDA, suite, kind, seed, "meta_mpc").result.rmse_after_m < within_m


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1000])
def test_a_payload_that_is_dropped_is_not_taken_for_a_contact(seed: int) -> None:
    """Seed 1000: its mass had been estimated 0.5 kg too low."""
    dropped = run_one(PANDA, "heldout", "drop", seed, "meta_mpc").result
    assert dropped.rmse_after_m < 2e-4, "a model with the old payload would be 6 mm off"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "kind", "seed"),
    [
        ("friction", "rise", 1000),
        ("friction", "coulomb", 1001),
        ("friction", "rise", 1009),
        ("friction", "stribeck", 1007),
        ("sensors", "differences", 1),
    ],
)
def test_an_arm_with_an_unlike_model_follows_no_worse_than_with_an_observer(suite: str, kind: str, seed: int) -> None:
    """A model held for a contact was 1.8 mm off; detected changes that fed an oscillation, 44 mm.

    Friction that rises beyond what a contact's test exempts was held to the end (0.77 mm, observer 0.24), and so
    was that of the fourth (0.34 mm, observer 0.31); without limits of motor strength it oscillated (4.7 mm).

    The last: while the filter tested whether a payload had been put down, the guard replaced its model (0.33 mm).
    """
    learned, observer = (run_one(PANDA, suite, kind, seed, law).result for law in ("meta_mpc", "offset_free_mpc"))
    assert learned.rmse_after_m < 1.05 * observer.rmse_after_m


@pytest.mark.slow
def test_friction_that_rises_is_not_taken_for_a_contact() -> None:
    """Joints at rest among moving ones show it as any force up to static friction."""
    risen = run_one(PANDA, "extrapolation", "friction", 1001, "meta_mpc").result
    assert risen.rmse_after_m < 3e-4, "a model held from before would be 2 mm off"


def test_the_regressor_is_evaluated_once_for_each_sample_and_anew_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = mr.make_adapter(PANDA, "last_layer").inner
    design, calls = FeatureMap.design, []
    monkeypatch.setattr(FeatureMap, "design", lambda features, xi: calls.append(xi) or design(features, xi))
    earlier, rng = guard.inner.belief.copy(), np.random.default_rng(0)
    felt = []
    for _ in range(3):
        sample = mr.State(PANDA.home + rng.normal(0.0, 1e-4, 7), rng.normal(0.0, 0.01, 7)), rng.normal(0.0, 1.0, 7)
        guard.update(*sample, 0.005)
        felt.append([guard.inner.felt_beyond(earlier, *sample) for _ in range(2)])
        by_context = design(guard.inner._features, calls[-1])[0] @ (guard.inner._context - earlier.mean[guard.inner._z])
        np.testing.assert_allclose(felt[-1][0], by_context + guard.inner.observed, atol=1e-12)
        assert np.array_equal(calls[-1].q[0], sample[0].q)
    assert len(calls) == 3


def test_no_model_is_held_while_a_restarted_filter_holds_its_prior() -> None:
    guard = mr.make_adapter(PANDA, "last_layer").inner
    rng = np.random.default_rng(0)

    def take(seconds: float, effort: float) -> None:
        for _ in range(round(seconds / 0.005)):
            noisy = mr.State(PANDA.home + rng.normal(0.0, 1e-5, 7), rng.normal(0.0, 1e-3, 7))
            guard.update(noisy, gravity + effort, 0.005)

    gravity = ArmDynamics(PANDA).bias(PANDA.home, np.zeros(7))
    take(2.0, 0.0)
    assert guard._models.known
    guard.inner._start_over(mr.State(PANDA.home, np.zeros(7)), gravity)
    take(0.1, 0.0)
    assert guard.inner.restarting and not guard._models.known
    take(0.2, 30.0)
    assert guard.inner.restarting and not guard.external_wrench


def test_a_covariance_without_a_factor_returns_the_filter_to_its_prior() -> None:
    adapter = mr.make_adapter(PANDA, "last_layer")
    state, effort = mr.State(PANDA.home, np.zeros(7)), np.zeros(7)
    adapter.update(state, effort, 0.005)
    prior = adapter.inner.inner._prior.mean
    for _ in range(20):
        adapter.update(state, np.full(7, 2.0), 0.005)
    adapter.inner.belief.covariance[:] = -1.0
    adapter.update(state, effort, 0.005)
    begun = adapter.update(state, effort, 0.005)
    np.testing.assert_allclose(begun.mean, (1.0 - np.exp(-21 * 0.005 / START_S)) * prior, atol=1e-3)
    assert np.isfinite(adapter.update(state, effort, 0.005).mean).all()


@pytest.mark.slow
@pytest.mark.parametrize("force_n", [(0.0, 15.0, 0.0), (0.0, 0.0, -30.0), (0.0, 0.0, 30.0)], ids=["side", "down", "up"])
def test_a_push_leaves_no_payload_behind(force_n: tuple[float, ...]) -> None:
    """A push downwards is taken for a payload while it acts: only its end shows that it was none."""
    pushed = push(PANDA, Hold(PANDA.home), np.array(force_n), 0.5)
    begun, after = round(BEGIN_S / PANDA.control_period_s), pushed.released + round(1.0 / PANDA.control_period_s)
    if force_n[2] >= 0.0:
        assert pushed.external[begun + round(0.05 / PANDA.control_period_s) : pushed.released].all()
    assert pushed.masses_kg.min() >= 0.0
    assert pushed.masses_kg[after:].max() < 0.3
    assert pushed.error_rad[after:].max() < 3e-4
    assert not pushed.external[after:].any()
    assert pushed.violations == 0


def test_a_payload_explains_its_weight_but_neither_lift_nor_a_push_from_the_side() -> None:
    dynamics = ArmDynamics(PANDA)
    payload, scale = PayloadFeatures(dynamics, 3.0), 0.002 * PANDA.effort_limit
    still, jacobian = np.zeros((1, 7)), dynamics.site_jacobian(PANDA.home)
    xi = Xi(PANDA.home[None], still, still, still, np.stack([still, still]))

    def left(force: list[float], carried_kg: float = 0.0) -> float:
        z = np.array([carried_kg, *9 * (0.0,)])
        rest = payload.unexplained(jacobian[:3].T @ np.array(force), xi, z, scale)
        return float(np.linalg.norm(rest / scale))

    assert left([0.0, 0.0, -20.0]) < 2.0
    assert left([0.0, 0.0, 10.0]) > 20.0
    assert left([0.0, 0.0, 10.0], carried_kg=2.0) < 2.0, "a payload may be put down"
    assert left([0.0, 15.0, 0.0]) > 20.0
    assert left([0.0, 0.0, -150.0]) > 20.0, "too heavy"


def test_a_model_that_lasted_is_remembered_as_it_was_before_the_change() -> None:
    models, beliefs = LastingModels(), [Belief(np.zeros(1), 1) for _ in range(40)]
    for belief in beliefs[:30]:
        models.steady(belief, 0.1)
    assert models.present is not None and models.earlier == ()
    models.changed()
    models.steady(beliefs[30], 0.1)
    models.changed()
    assert len(models.known) == 1, "a model that did not last is forgotten"
    models.returned(models.earlier[0])
    assert models.present is models.known[0] and models.earlier == ()


def test_friction_takes_away_motion_but_never_pushes_along_it() -> None:
    friction, scale = FrictionFeatures(1), np.array([0.2])
    moving, still = np.full((1, 1), 0.5), np.zeros((1, 1))
    xi = Xi(still, moving, still, still, np.stack([still, still]))
    z = np.array([0.5, 0.0])  # Nm, Nm s/rad

    def left(force_nm: float) -> float:
        return float(friction.unexplained(np.array([force_nm]), xi, z, scale)[0])

    assert left(-4.0) == 0.0, "friction has risen"
    assert left(0.5) == 0.0, "friction has fallen"
    assert left(4.0) > 2.0, "something drives the joint"
