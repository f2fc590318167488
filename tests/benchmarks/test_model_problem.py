# SPDX-License-Identifier: Apache-2.0
"""The model benchmark's contestants compute the same."""

from __future__ import annotations

from metarl_robot.benchmarks.model import Ours
from metarl_robot.benchmarks.model_problem import problem, relative_error
from metarl_robot.benchmarks.peers.casadi_model import CasadiModel


def test_ours_and_casadis_expansion_give_the_exact_answer() -> None:
    at = problem(2, 16, plans=2)
    for model, tolerance in ((Ours(at), 1e-5), (CasadiModel(at, "MX"), 1e-12), (CasadiModel(at, "SX"), 1e-12)):
        for plan in range(2):
            assert relative_error(model.answer(plan), at.exact(at.layers, plan)) < tolerance
    assert relative_error(at.exact(at.other, 0), at.exact(at.layers, 0)) > 0.1
