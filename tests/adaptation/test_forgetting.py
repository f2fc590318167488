# SPDX-License-Identifier: Apache-2.0
"""Forgetting: how long each entry of a context is remembered."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from metarl_robot.adaptation.forgetting import MOST_STEADY, WELL_EXPLAINED, Forgetting

FORGETTING_S, SETTLING_S, DT = 60.0, 3.0, 0.005
SUDDEN = np.array([True, False])


def _after(forgetting: Forgetting, time_s: float, unexplained: float = 1.0) -> tuple[float, float]:
    """Time constants of the sudden and of the other entry after this time."""
    constants = np.zeros(2)
    for _ in range(round(time_s / DT)):
        constants = forgetting.time_constants(unexplained, DT)
    return float(constants[0]), float(constants[1])


def test_a_change_makes_only_what_may_change_suddenly_new() -> None:
    forgetting = Forgetting(FORGETTING_S, SETTLING_S, SUDDEN)
    sudden, other = _after(forgetting, 6.0)
    assert sudden == other == pytest.approx(FORGETTING_S * (1.0 + 2.0**2))
    forgetting.changed()
    sudden, other = _after(forgetting, DT)
    assert sudden == pytest.approx(FORGETTING_S, rel=1e-4)
    assert other > FORGETTING_S * (1.0 + 2.0**2)


def test_a_model_that_does_not_explain_the_forces_is_forgotten_like_a_new_one() -> None:
    explained = _after(Forgetting(FORGETTING_S, SETTLING_S, SUDDEN), 30.0)
    unexplained = _after(Forgetting(FORGETTING_S, SETTLING_S, SUDDEN), 30.0, 20.0 * WELL_EXPLAINED)
    assert explained == (pytest.approx(FORGETTING_S * (1.0 + MOST_STEADY)),) * 2
    assert unexplained == (pytest.approx(FORGETTING_S, rel=0.1),) * 2


def test_without_a_settling_time_the_time_constant_stays() -> None:
    assert _after(Forgetting(FORGETTING_S, inf, SUDDEN), 1.0) == (FORGETTING_S, FORGETTING_S)
