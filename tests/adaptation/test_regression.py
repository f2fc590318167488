# SPDX-License-Identifier: Apache-2.0
"""Cells of a stream are those of a recording; the regression recovers what acts, whichever prior is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.adaptation.cell_regression import CellRegression
from metarl_robot.adaptation.competing_priors import WIDTHS, competing_priors
from metarl_robot.adaptation.factory import make_adapter, weights_of
from metarl_robot.adaptation.feature_spec import feature_map
from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.adaptation.stream_cells import Cell, StreamCells
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.logs.cells import measure
from metarl_robot.logs.recording import Recording
from metarl_robot.robots.arm.dynamics import ArmDynamics

ROBOT = load_robot("panda")
DYNAMICS = ArmDynamics(ROBOT)
PERIOD_S = ROBOT.control_period_s
MASS_KG, COULOMB_NM = 1.3, 0.4


def motion(duration_s: float) -> tuple[np.ndarray, ...]:
    """t (K,), q, v, a (K, 7) of two sines for each joint, at the control rate."""
    t = np.arange(0.0, duration_s, PERIOD_S)
    omega, phase = 2.0 * np.pi * np.array([0.3, 0.7]), np.arange(14).reshape(7, 2)
    angle, amplitude = omega * t[:, None, None] + phase, np.array([0.25, 0.15])
    waves = amplitude * np.sin(angle), amplitude * omega * np.cos(angle), -amplitude * omega**2 * np.sin(angle)
    q, v, a = (wave.sum(-1) for wave in waves)
    return t, ROBOT.home + q, v, a


def efforts(q: np.ndarray, v: np.ndarray, a: np.ndarray, mass_kg: float) -> np.ndarray:
    """Efforts (K, 7) that a payload and Coulomb friction need."""
    body = mass_kg * np.array([1.0, 0.02, -0.01, 0.06, 2e-3, 1.5e-3, 1e-3, 0.0, 0.0, 0.0])
    return DYNAMICS.inverse_dynamics(q, v, a, body) + COULOMB_NM * np.tanh(v / 0.02)


def held(effort: np.ndarray) -> np.ndarray:
    """Mean effort until each sample."""
    return np.vstack([effort[:1], 0.5 * (effort[1:] + effort[:-1])])


def test_cells_of_a_stream_are_those_of_the_recording() -> None:
    t, q, v, a = motion(2.0)
    effort = efforts(q, v, a, MASS_KG)
    stream = StreamCells(DYNAMICS, feature_map(ROBOT, DYNAMICS, ("payload", "friction")), PERIOD_S)
    found = [stream.take(State(q[k], v[k]), held(effort)[k], PERIOD_S) for k in range(len(t))]
    cells = [cell for cell in found if cell is not None]
    whole = measure(DYNAMICS, Recording("whole", t, q, v, effort))
    assert len(cells) == len(whole)
    for cell, force, required in zip(cells, whole.residual, whole.required, strict=True):
        np.testing.assert_allclose(cell.force, force, atol=2e-3)
        np.testing.assert_allclose(cell.required, required, atol=2e-3)
    np.testing.assert_array_equal([cell.moving for cell in cells], whole.moving)


def test_no_cell_lies_across_a_gap() -> None:
    t, q, v, a = motion(1.0)
    stream, effort = StreamCells(DYNAMICS, feature_map(ROBOT, DYNAMICS, ("friction",)), PERIOD_S), efforts(q, v, a, 0.0)
    steps = np.where(np.arange(len(t)) == 100, 0.2, PERIOD_S)
    at = [k for k in range(len(t)) if stream.take(State(q[k], v[k]), effort[k], float(steps[k])) is not None]
    until_first = next(k for k in at) + 1
    assert not any(100 <= k < 100 + until_first - 1 for k in at) and max(at) > 150


def made_cells(rng: np.random.Generator, true: np.ndarray, strength: np.ndarray, count: int) -> list[Cell]:
    """Cells of two joints with three context entries; the noise is that of the effort."""
    cells = []
    for _ in range(count):
        phi, required = rng.normal(size=(2, 3)), 5.0 * rng.normal(size=2)
        effort = (required - phi @ true) / strength + 0.01 * rng.normal(size=2)
        cells.append(Cell(phi, required - effort, required, np.ones(2, dtype=bool)))
    return cells


def regression_of(mean: np.ndarray) -> CellRegression:
    limit = np.full(2, 10.0)
    trained, other = (Prior(np.concatenate([mean, np.zeros(2)]), np.eye(5) * std**2) for std in (0.2, 2.0))
    heavy = np.array([False, True, True, False, False])
    return CellRegression(competing_priors(trained, other, heavy, limit), limit, 0.05)


@pytest.mark.parametrize("strength", [(1.0, 1.0), (0.9, 1.15)])
def test_context_and_strength_are_recovered_within_their_deviations(strength: tuple[float, float]) -> None:
    true, regression = np.array([1.3, -0.4, 0.7]), regression_of(np.zeros(3))
    for cell in made_cells(np.random.default_rng(1000), true, np.array(strength), 200):
        regression.learn(cell)
    expected = np.concatenate([true, np.array(strength) - 1.0, np.zeros(2)])
    assert np.all(np.abs(regression.mean - expected) < 3.0 * regression.std)
    assert np.all(regression.std[:5] < 0.02)


def test_the_prior_that_fits_wins() -> None:
    for true, unfamiliar in ((np.array([0.1, 0.0, -0.1]), False), (np.array([1.5, -4.0, 5.0]), True)):
        regression = regression_of(np.zeros(3))
        for cell in made_cells(np.random.default_rng(1001), true, np.ones(2), 20):
            regression.learn(cell)
        likeliest = WIDTHS[int(np.argmax(regression._shares))]
        assert likeliest.unfamiliar == unfamiliar and likeliest.motor < 1.0


def test_friction_at_rest_is_not_learned_as_an_offset() -> None:
    true, rng, regression = np.array([1.3, -0.4, 0.7]), np.random.default_rng(1002), regression_of(np.zeros(3))
    for cell in made_cells(rng, true, np.ones(2), 200):
        stuck = np.array([0.0, 0.15])  # within the friction of a joint at rest
        regression.learn(cell._replace(force=cell.force + stuck, moving=np.array([True, False])))
    assert np.abs(regression.mean[:3] - true) == pytest.approx(np.zeros(3), abs=0.01)


def test_an_unlike_condition_is_learned_anew() -> None:
    regression, rng = regression_of(np.zeros(3)), np.random.default_rng(1003)
    before, after = np.array([0.0, -0.4, 0.7]), np.array([2.0, -0.4, 0.7])
    for cell in [*made_cells(rng, before, np.ones(2), 100), *made_cells(rng, after, np.ones(2), 40)]:
        regression.learn(cell)
    np.testing.assert_allclose(regression.mean[:3], after, atol=0.05)


def test_the_adapter_weighs_a_payload_and_forecasts_its_force() -> None:
    t, q, v, a = motion(9.0)
    lifted = t > 5.0
    effort = np.where(lifted[:, None], efforts(q, v, a, MASS_KG), efforts(q, v, a, 0.0))
    tuning = replace(AdapterTuning(20.0, model_error=1e-3), latency_s=0.0)
    adapter = make_adapter("regression", ROBOT, DYNAMICS, tuning, weights_of("regression", ROBOT, None))
    adapter.reset()
    acting, masses = held(effort), []
    for k in range(len(t)):
        masses.append(adapter.update(State(q[k], v[k]), acting[k], PERIOD_S)["payload_mass_kg"])
    mean, std = masses[int(4.9 / PERIOD_S)]
    assert abs(mean) < 0.03 and std < 0.1
    assert masses[-1][0] == pytest.approx(MASS_KG, abs=0.05)
    last = slice(-60, None)
    xi = Xi(q[last], v[last], a[last], effort[last], np.stack([effort[last]] * 2))
    missed = DYNAMICS.inverse_dynamics(q[last], v[last], a[last]) - effort[last]
    moving = np.abs(v[last]) > 0.1
    assert np.abs(adapter.inner.forecast(xi) - missed)[moving].max() < 0.15 < np.abs(missed).max()
    now = Xi(*(part[-1:] for part in (q, v, a, effort)), np.stack([effort[-1:]] * 2))
    np.testing.assert_allclose(adapter.evaluate(now)[0], missed[-1], atol=0.5)
    adapter.reset()
    assert adapter.inner.context["payload_mass_kg"][0] == pytest.approx(0.0, abs=0.3)
