# SPDX-License-Identifier: Apache-2.0
"""Models of the missed force are weighted by their past predictions, for each joint."""

from __future__ import annotations

import numpy as np

from metarl_robot.adaptation.features import BaseGroup, FeatureMap, Xi
from metarl_robot.adaptation.forecast import HELD_S, Forecast
from metarl_robot.adaptation.stream_cells import Cell
from tests.adaptation.test_regression import made_cells, regression_of

CELL_S = 0.05
TRUE, STRENGTH = np.array([1.3, -0.4, 0.7]), np.array([0.9, 1.15])


class _Two:
    """Dimensions of a robot with two joints."""

    dof = nu = 2
    attached = 0


class _Given(BaseGroup):
    """Context of three entries, and the strength of two motors."""

    def __init__(self) -> None:
        super().__init__(2, ("a", "b", "c", "motor_1", "motor_2"))

    def design(self, xi: Xi) -> np.ndarray:
        phi = np.stack([np.cos(xi.q), np.sin(xi.q), xi.v], axis=2)
        return np.concatenate([phi, xi.effort[:, :, None] * np.eye(2)], axis=2)

    def effort_gain(self, z: np.ndarray) -> np.ndarray:
        return z[3:]


FEATURES = FeatureMap(_Two(), (_Given(),))  # type: ignore[arg-type]


def whole(cell: Cell) -> Cell:
    """The cell with the columns of motor strength."""
    effort = cell.required - cell.force
    return cell._replace(regressor=np.hstack([cell.regressor, np.diag(effort)]))


def learned(own: list[np.ndarray], force: np.ndarray | None = None, held_s: tuple[float, ...] = ()) -> Forecast:
    """A forecast after one cell for each of the own models (7,); force: added (K, 2) to that of the cells."""
    regression = regression_of(np.zeros(3))
    forecast = Forecast(FEATURES, np.arange(5), 1, regression, np.full(2, 10.0), CELL_S, held_s=held_s)
    forecast.reset(own[0][None])
    for k, cell in enumerate(made_cells(np.random.default_rng(1000), TRUE, STRENGTH, len(own))):
        if force is not None:
            cell = cell._replace(force=cell.force + force[k], required=cell.required + force[k])
        regression.learn(cell)
        forecast.learn(whole(cell), own[k][None])
    return forecast


EXACT = np.concatenate([TRUE, STRENGTH - 1.0, np.zeros(2)])
WRONG = np.concatenate([5.0 * TRUE, np.zeros(4)])
OWN = -3
"""Place of the one own model, before nothing and the latest force."""


def test_a_model_that_was_wrong_at_first_is_forgiven() -> None:
    wrong, always = (learned([model] * 100).weights[OWN] for model in (WRONG, EXACT))
    soon, later = (learned([*[WRONG] * 20, *[EXACT] * count]).weights[OWN] for count in (80, 300))
    assert np.all(wrong < 1e-20) and np.all(always > 0.9)
    assert np.all(soon > 1e10 * wrong) and np.all(later > 100.0 * soon)


def test_each_joint_has_its_own_weights() -> None:
    walk = np.cumsum(np.random.default_rng(1001).normal(size=200)) * np.array([[0.0], [3.0]])
    weights = learned([WRONG] * 200, walk.T).weights
    assert weights[-1, 0] < 1e-3 < 0.5 < weights[-1, 1]
    np.testing.assert_allclose(weights.sum(axis=0), 1.0)


def test_value_and_strength_are_those_of_the_weighted_models() -> None:
    forecast, rng = learned([EXACT] * 100), np.random.default_rng(1002)
    xi = Xi(*rng.normal(size=(3, 20, 2)), *(5.0 * rng.normal(size=(1, 20, 2))), np.zeros((2, 20, 2)))
    expected = FEATURES.design(xi) @ EXACT[:5]
    np.testing.assert_allclose(forecast.value(xi), expected, atol=0.05)
    np.testing.assert_allclose(forecast.effort_gain(), STRENGTH - 1.0, atol=0.01)
    assert np.abs(expected).max() > 1.0


def test_a_force_that_drifts_below_its_noise_is_predicted_by_its_mean_over_a_while() -> None:
    rng = np.random.default_rng(1003)
    wind = np.cumsum(0.02 * rng.normal(size=(300, 2)), axis=0) + 2.0
    force = wind + 1.0 * rng.normal(size=(300, 2))
    alone, held = (learned([WRONG] * 300, force, held_s) for held_s in ((), HELD_S))
    xi = Xi(*np.zeros((3, 1, 2)), np.zeros((1, 2)), np.zeros((2, 1, 2)))
    there = FEATURES.design(xi)[0] @ EXACT[:5] + wind[-1]
    missed = [np.abs(each.value(xi)[0] - there).max() for each in (alone, held)]
    assert missed[1] < 0.5 and held.weights[OWN - 2 * len(HELD_S) + 3 :].sum(axis=0).min() > 0.9
