# SPDX-License-Identifier: Apache-2.0
"""Model-predictive control of a ground vehicle: follow a path and its speeds, one real-time iteration a step.

Each step linearises about the last plan, shifted in time, and solves one quadratic programme with exact bounds on the
commands (riccati_qp.py): real-time iteration (Diehl, Bock, Schlöder 2005). Errors are weighted along and across the
reference's path (plan.py). See plan_follower.py for plans.
"""

from __future__ import annotations

from metarl_robot.adaptation.base import Adapter
from metarl_robot.control.riccati_qp import RiccatiQP
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.plan_follower import PlanConfig, PlanFollower, Problem, Trajectory, weights

FIRST_ITERATIONS = 5
"""Iterations of the first step, which has no plan to start from."""


class GroundMPC(PlanFollower[PlanConfig]):
    """See the module's docstring."""

    def __init__(self, robot: Ground, adapter: Adapter, config: PlanConfig) -> None:
        super().__init__(robot, adapter, config)
        functions = self._functions
        self._qp = RiccatiQP(config.horizon, weights(robot, functions, config), functions.by_state, functions.by_input)
        self.reset()

    def _forget(self) -> None:
        self._qp.reset()

    def _optimise(self, problem: Problem) -> tuple[Trajectory, bool]:
        _, states, inputs = problem.begin()
        targets, lower, upper, optimal = problem.targets, problem.lower, problem.upper, True
        residual = self._residual(states[:-1], states[:-1, 6:])
        for _ in range(FIRST_ITERATIONS if problem.guess is None else 1):
            linear = self._functions.linearise(states, inputs, residual, problem.parameters, targets)
            solution = self._qp.solve(linear, inputs - problem.ahead, lower - inputs, upper - inputs)
            states, inputs = self._functions.moved(states, solution.states, targets), inputs + solution.inputs
            optimal = solution.optimal
        return Trajectory(problem.time, states, inputs), optimal
