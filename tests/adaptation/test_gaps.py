# SPDX-License-Identifier: Apache-2.0
"""After a gap in the samples the commands that acted are uncertain."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.adaptation.stream.command_history import command_history

PERIOD_S = 0.005


@pytest.mark.parametrize("compiled", [True, False])
def test_forgotten_commands_are_uncertain_until_the_next_one_acts(compiled: bool) -> None:
    effort, std = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    history = command_history(effort, PERIOD_S, 2.0 * PERIOD_S, compiled=compiled)
    for _ in range(5):
        history.acting(effort, PERIOD_S)
        history.update(effort, PERIOD_S)
    np.testing.assert_array_equal(history.acting(effort, PERIOD_S)[1], 0.0)
    history.forget(std)
    found = []
    for _ in range(4):
        found.append(history.acting(effort, PERIOD_S)[1].copy())
        history.update(effort, PERIOD_S)
    np.testing.assert_allclose(found[:2], [std, std])
    np.testing.assert_allclose(found[2:], 0.0, atol=1e-12)
