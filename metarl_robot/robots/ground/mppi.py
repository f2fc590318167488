# SPDX-License-Identifier: Apache-2.0
"""Model-predictive path integral control of a ground vehicle: the plan is improved by samples (control/mppi.py).

Dynamics, reference, bounds, weights and adapter are those of the MPC (plan_follower.py). No derivative is used, so that
samples include the saturation of the tyres. Each step rolls out all samples, with one compiled call per knot (plan.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from metarl_robot.adaptation.base import Adapter
from metarl_robot.control.mppi import MPPI, Bounds, Sampling
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import N_PARAMETERS
from metarl_robot.robots.ground.plan import Samples
from metarl_robot.robots.ground.plan_follower import PlanConfig, PlanFollower, Problem, Trajectory, weights

Array = NDArray[np.float64]

FIRST_ITERATIONS = 10
"""Iterations of the first step, which has no plan to start from."""


class SampledPlanConfig(PlanConfig):
    """Plan, and how it is sampled."""

    samples: int = Field(256, ge=8, le=10000, description="sampled plans of one iteration")
    iterations: int = Field(1, ge=1, le=20, description="iterations of one step")
    temperature: float = Field(
        0.3, gt=0.0, le=1000.0, description="excess of cost at which a sample's weight falls by the factor e"
    )
    noise: float = Field(0.05, gt=0.0, le=1.0, description="standard deviation of sampled inputs, share of the limit")
    correlation: float = Field(0.8, ge=0.0, le=0.99, description="correlation of the noise at successive knots")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of the samples")


class PathCost:
    """Costs (K,) of sampled plans: errors along and across the path, and the terminal cost of the MPC.

    targets: (N + 1, n) and ahead: (N, nu), states and inputs of the reference; to be set before a call.
    """

    targets: Array
    ahead: Array

    def __init__(self, stage: Array, inputs: Array, terminal: Array) -> None:
        self._stage, self._inputs, self._terminal = stage[:6, None], inputs, terminal

    def __call__(self, states: Array, inputs: Array) -> Array:
        """See control.mppi.Cost."""
        errors = self._errors(states)
        stage = np.einsum("nik,nik->k", errors[:-1, :6] * self._stage, errors[:-1, :6])
        off = inputs - self.ahead[:, None]
        effort = np.einsum("nkj,nkj,j->k", off, off, self._inputs)
        return np.asarray(0.5 * (stage + effort + np.sum(errors[-1] * (self._terminal @ errors[-1]), axis=0)))

    def _errors(self, states: Array) -> Array:
        """Errors (N + 1, n, K) in path coordinates."""
        errors = states.swapaxes(1, 2) - self.targets[:, :, None]
        c, s = np.cos(self.targets[:, 2, None]), np.sin(self.targets[:, 2, None])
        for at in (0, 3):
            x, y = errors[:, at].copy(), errors[:, at + 1]
            errors[:, at], errors[:, at + 1] = c * x + s * y, c * y - s * x
        return errors


class GroundMPPI(PlanFollower[SampledPlanConfig]):
    """See the module's docstring."""

    def __init__(self, robot: Ground, adapter: Adapter, config: SampledPlanConfig) -> None:
        super().__init__(robot, adapter, config)
        self._cost = PathCost(*weights(robot, self._functions, config))
        self._samples = Samples(robot, config.samples, config.knot_spacing_s)
        noise = config.noise * robot.effort_limit
        sampling = Sampling(config.samples, config.temperature, noise, config.correlation, config.seed)
        self._sampler = MPPI(sampling, self._advance, self._cost)
        self._change = robot.effort_rate_limit * config.knot_spacing_s
        self._model = (np.zeros((config.horizon, 3)), np.zeros(N_PARAMETERS))
        self.reset()

    def _forget(self) -> None:
        self._sampler.reset()

    def _advance(self, states: Array, inputs: Array, knot: int) -> Array:
        residuals, parameters = self._model
        return self._samples.advance(states, inputs, residuals[knot], parameters)

    def _optimise(self, problem: Problem) -> tuple[Trajectory, bool]:
        _, states, inputs = problem.begin()
        residuals = self._residual(states[:-1], states[:-1, 6:])
        self._model = (residuals, problem.parameters)
        self._cost.targets, self._cost.ahead = problem.targets, problem.ahead
        bounds, optimal = Bounds(problem.lower, problem.upper, self._change), True
        for _ in range(FIRST_ITERATIONS if problem.guess is None else self._config.iterations):
            inputs, optimal, _ = self._sampler.improve(problem.here, inputs, bounds)
        rolled = self._functions.rolled_out(problem.here, inputs, residuals, problem.parameters)
        return Trajectory(problem.time, rolled, inputs), optimal
