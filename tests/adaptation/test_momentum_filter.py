# SPDX-License-Identifier: Apache-2.0
"""The filter on a simulated arm: its estimates are right, its deviations honest, and no offset is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.adaptation.factory import filter_tuning, make_adapter
from metarl_robot.adaptation.feature_spec import feature_map, true_contexts
from metarl_robot.adaptation.features import FeatureMap, Xi
from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import Task, draw_task, nominal_task
from metarl_robot.sim.payload import Payload
from metarl_robot.trajectories.euclidean import random_tracking

TUNING = AdapterTuning(8.0, model_error=0.002, change_detection=1e-6)
GROUPS = ("payload", "friction", "motor")


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("planar2")


def _prior(robot: Robot, features: FeatureMap) -> Prior:
    rng = np.random.default_rng(0)
    contexts = true_contexts(robot, [draw_task(robot, rng) for _ in range(400)], GROUPS, features.groups)
    moment = contexts.T @ contexts / len(contexts)
    return Prior(np.zeros(moment.shape[0]), moment + 1e-12 * np.eye(len(moment)))


def _filter(robot: Robot, **changed: float | None) -> MomentumFilter:
    dynamics = ArmDynamics(robot)
    features = feature_map(robot, dynamics, GROUPS)
    tuning = filter_tuning(robot, dynamics, TUNING, features.jumps)
    return MomentumFilter(dynamics, features, _prior(robot, features), replace(tuning, **changed))


def _drive(
    robot: Robot,
    adapter: MomentumFilter,
    task: Task,
    duration_s: float,
    later: Task | None = None,
    change_s: float = 0.0,
) -> ArmPlant:
    """Track with computed torque on the nominal model; the adapter only listens."""
    reference = random_tracking(robot, np.random.default_rng(4), 20.0)
    dynamics, plant, dt = ArmDynamics(robot), ArmPlant(robot, task, seed=1), robot.control_period_s
    start = reference.sample(np.array([2.0]))
    state, effort = plant.reset(start.q[0], start.v[0]), np.zeros(robot.dof)
    for k in range(round(duration_s / dt)):
        if later is not None and k == round(change_s / dt):
            plant.set_task(later)
        if k > 0:
            adapter.update(state, effort, dt)
        target = reference.sample(np.array([2.0 + plant.stamp]))
        acceleration = target.a[0] + 400.0 * (target.q[0] - state.q) + 40.0 * (target.v[0] - state.v)
        effort = np.clip(
            dynamics.inverse_dynamics(state.q, state.v, acceleration), -robot.effort_limit, robot.effort_limit
        )
        state = plant.step(effort, dt)
    return plant


def test_payload_is_found_and_the_uncertainty_is_honest(robot: Robot) -> None:
    sensors = replace(
        nominal_task(robot), velocity_noise_rad_s=0.005, encoder_resolution_rad=3e-5, command_delay_s=0.004
    )
    loaded = replace(sensors, payload=Payload(0.6, np.array([0.05, 0.0, 0.0]), np.array([1e-3] * 3 + [0.0] * 3)))
    adapter = _filter(robot)
    _drive(robot, adapter, sensors, 4.0, loaded, 2.0)
    mass, std = adapter.context["payload_mass_kg"]
    assert std < 0.15
    assert abs(mass - 0.6) < 2.5 * std


def test_a_payload_that_another_controller_held_is_found(robot: Robot) -> None:
    """The effort that held it acts until the first command takes effect, and says nothing of the payload."""
    sensors = replace(
        nominal_task(robot), velocity_noise_rad_s=0.005, encoder_resolution_rad=3e-5, command_delay_s=0.014
    )
    held = replace(sensors, payload=Payload(0.8, np.array([0.05, 0.0, 0.0]), np.array([1e-3] * 3 + [0.0] * 3)))
    for duration_s in (0.1, 0.2, 0.4):
        adapter = _filter(robot)
        _drive(robot, adapter, held, duration_s)
        mass, std = adapter.context["payload_mass_kg"]
        assert abs(mass - 0.8) < 2.0 * std
        assert adapter.restarts == 0
    as_first = _filter(robot, earlier_effort_std=None)
    _drive(robot, as_first, held, 0.2)
    assert as_first.restarts > 0  # the first command, taken to have acted before, makes the estimate diverge


def test_a_change_is_detected_at_once_and_none_without_a_change(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    detections: list[int] = []
    original = MomentumFilter._consider
    monkeypatch.setattr(
        MomentumFilter, "_consider", lambda self, them: (detections.append(len(them)), original(self, them))[1]
    )
    sensors = replace(nominal_task(robot), velocity_noise_rad_s=0.005, encoder_resolution_rad=3e-5)
    _drive(robot, _filter(robot), sensors, 2.0)
    assert detections == [4]  # the start: a payload or none, friction as in training or as in the nominal model
    loaded = replace(sensors, payload=Payload(0.8, np.array([0.05, 0.0, 0.0]), np.array([1e-3] * 3 + [0.0] * 3)))
    _drive(robot, _filter(robot), sensors, 1.05, loaded, 1.0)
    assert detections == [4, 4, 4]


def test_uncertainty_does_not_grow_at_rest(robot: Robot) -> None:
    """Once a model has lasted, a context that nothing excites stays as well known as it is."""
    adapter = _filter(robot, settling_s=0.3)
    _drive(robot, adapter, nominal_task(robot), 4.0)
    effort = ArmDynamics(robot).bias(robot.home, np.zeros(2))
    adapter.follow(State(robot.home, np.zeros(2)), effort, robot.control_period_s)
    stds = []
    for _ in range(2):
        for _ in range(800):
            adapter.update(State(robot.home, np.zeros(2)), effort, robot.control_period_s)
        stds.append(np.sqrt(adapter.belief.covariance.diagonal()[adapter._z]))
    prior = np.sqrt(adapter._prior.covariance.diagonal())
    assert np.all(stds[1] < stds[0] + 0.1 * prior)


class _Misinformed:
    """A filter that is told efforts beside those that acted."""

    def __init__(self, inner: MomentumFilter, size_nm: float) -> None:
        self.inner, self._size_nm, self._samples = inner, size_nm, 0

    def update(self, state: State, effort: np.ndarray, dt: float) -> None:
        self._samples += 1
        self.inner.update(state, effort + self._size_nm * np.sin(0.02 * self._samples + np.arange(2.0)), dt)


@pytest.mark.parametrize("size_nm", [0.0, 0.5])
def test_reported_uncertainty_grows_with_the_force_that_stays_unexplained(robot: Robot, size_nm: float) -> None:
    loaded = replace(
        nominal_task(robot),
        velocity_noise_rad_s=0.005,
        payload=Payload(0.6, np.array([0.05, 0.0, 0.0]), np.array([1e-3] * 3 + [0.0] * 3)),
    )
    adapter = _filter(robot)
    _drive(robot, _Misinformed(adapter, size_nm), loaded, 3.0)  # type: ignore[arg-type]
    mass, std = adapter.context["payload_mass_kg"]
    factor = std / np.sqrt(adapter.belief.covariance[adapter._z.start, adapter._z.start])
    assert abs(mass - 0.6) < 2.5 * std
    assert (factor > 2.5) if size_nm else (factor < 2.0), factor


def test_velocity_estimate_beats_the_measurement(robot: Robot) -> None:
    task = replace(nominal_task(robot), velocity_noise_rad_s=0.01, encoder_resolution_rad=3e-5)
    adapter = _filter(robot)
    plant = _drive(robot, adapter, task, 1.0)
    errors = []
    for _ in range(50):
        effort = plant.applied_effort.copy()
        state = plant.step(effort, robot.control_period_s)
        adapter.update(state, effort, robot.control_period_s)
        errors.append(adapter.estimate(state).v - plant.truth.v)
    assert np.sqrt(np.mean(np.square(errors))) < 0.7 * 0.01


def test_observer_leaves_no_offset_for_a_constant_disturbance(robot: Robot) -> None:
    """At rest under a constant unknown torque the disturbance estimate converges to it: with payload features and
    without.
    """
    dynamics = ArmDynamics(robot)
    constant, q = np.array([1.5, -0.6]), robot.home
    effort = dynamics.bias(q, np.zeros(2)) - constant
    observer = make_adapter("disturbance_observer", robot, dynamics, AdapterTuning(60.0))
    for _ in range(400):
        observer.update(State(q, np.zeros(2)), effort, robot.control_period_s)
    assert isinstance(observer.inner, MomentumFilter)
    assert np.allclose(observer.disturbance, constant, atol=1e-3)


def test_noise_level_is_learned_from_the_stream(robot: Robot) -> None:
    for sigma in (0.002, 0.02):
        adapter = _filter(robot)
        _drive(robot, adapter, replace(nominal_task(robot), velocity_noise_rad_s=sigma), 3.0)
        assert adapter._noise._levels._velocity.variance == pytest.approx(sigma**2, rel=0.5)


def test_reset_returns_to_the_prior(robot: Robot) -> None:
    adapter = _filter(robot)
    before = adapter.context
    _drive(robot, adapter, nominal_task(robot), 0.2)
    assert not np.array_equal(adapter.context.mean, before.mean)
    adapter.reset()
    assert np.array_equal(adapter.context.mean, before.mean)
    assert np.array_equal(adapter.context.std, before.std)


def test_unknown_adapter_and_missing_weights_are_refused(robot: Robot) -> None:
    dynamics = ArmDynamics(robot)
    with pytest.raises(MetaRLError, match="Valid: .*last_layer"):
        make_adapter("last_layr", robot, dynamics, TUNING)
    with pytest.raises(MetaRLError, match="metarl train planar2"):
        make_adapter("last_layer", robot, dynamics, TUNING)


def test_a_context_that_diverges_again_and_again_is_held_at_its_prior(robot: Robot) -> None:
    """Restarts do not loop: after each, the filter is an observer of the disturbance for twice as long."""
    adapter, still = _filter(robot), State(robot.home, np.zeros(2))
    effort = ArmDynamics(robot).bias(robot.home, np.zeros(2))
    for _ in range(800):  # 4 s
        adapter.update(still, effort, robot.control_period_s)
        if np.any(adapter.belief.covariance[adapter._z, adapter._z]):
            adapter.belief.mean[adapter._z.start] = 1e6
    assert 2 <= adapter.restarts <= 4
    assert np.all(np.isfinite(adapter.context.mean)) and np.all(np.isfinite(adapter.disturbance))


def test_a_restart_does_not_change_the_force_that_control_gets(robot: Robot) -> None:
    """Otherwise the arm drops its payload until the observer has found the weight again."""
    adapter, still = _filter(robot), State(robot.home, np.zeros(2))
    weight = np.array([6.0, 2.0])
    effort = ArmDynamics(robot).bias(robot.home, np.zeros(2)) + weight
    here = Xi(robot.home[None], np.zeros((1, 2)), np.zeros((1, 2)), effort[None], effort[None, None].repeat(2, axis=1))
    for _ in range(200):
        adapter.update(still, effort, robot.control_period_s)
    before = np.ravel(adapter.evaluate(here))
    assert before == pytest.approx(-weight, rel=0.05)
    adapter._start_over(still, effort)
    for _ in range(10):
        adapter.update(still, effort, robot.control_period_s)
        assert np.ravel(adapter.evaluate(here)) == pytest.approx(before, rel=0.05)
    assert adapter.restarts == 1


def test_numerical_trouble_returns_to_the_prior_and_is_counted(robot: Robot) -> None:
    adapter, still = _filter(robot), State(robot.home, np.zeros(2))
    for _ in range(20):
        adapter.update(still, np.zeros(2), robot.control_period_s)
    adapter.belief.mean[adapter._z.start] = np.nan
    context = adapter.update(still, np.zeros(2), robot.control_period_s)
    assert adapter.restarts == 1 and np.all(np.isfinite(context.mean))


def test_friction_far_beyond_the_prior_is_found_without_a_false_payload(robot: Robot) -> None:
    """Twelve prior standard deviations of viscous friction: the prior widens, the payload does not pay."""
    task = replace(nominal_task(robot), viscous_nm_s=np.array([2.0, 1.0]), velocity_noise_rad_s=0.003)
    dynamics = ArmDynamics(robot)
    features = feature_map(robot, dynamics, GROUPS)
    tuning = replace(filter_tuning(robot, dynamics, TUNING, features.jumps), forgetting_s=5000.0)
    adapter = MomentumFilter(dynamics, features, _prior(robot, features), tuning)
    _drive(robot, adapter, task, 5.0)
    viscous = np.array([adapter.context[f"viscous_{i}_nm_s"][0] for i in (1, 2)])
    assert viscous == pytest.approx(task.viscous_nm_s, rel=0.25)
    assert abs(adapter.context["payload_mass_kg"][0]) < 0.1
    assert adapter.widenings > 0 and adapter.restarts == 0
