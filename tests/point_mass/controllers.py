# SPDX-License-Identifier: Apache-2.0
"""Controllers of a point mass: computed force, with or without an adapter for the ground.

u = m (v̇_ref + k_d ė + k_p e) - Δ
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.factory import bare_adapter
from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.control.base import ControllerSpec
from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.core.checkpoint import default_checkpoint, load_checkpoint
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Command, Reference, State
from point_mass.dynamics import PointMassDynamics


class PDConfig(BaseModel):
    """Gains in acceleration units."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kp: float = Field(100.0, ge=0.0, le=5000.0, description="position gain [1/s^2]")
    kd: float = Field(20.0, ge=0.0, le=500.0, description="velocity gain [1/s]")


class AdaptiveConfig(PDConfig):
    """Gains, and the adapter."""

    adapter: Literal["last_layer", "disturbance_observer"] = Field("last_layer", description="estimator of the ground")
    observer_bandwidth_rad_s: float = Field(10.0, ge=0.1, le=500.0, description="bandwidth of its observer [rad/s]")


class ComputedForce:
    """See the module's docstring."""

    def __init__(self, robot: Robot, dynamics: PointMassDynamics, adapter: Adapter, config: PDConfig) -> None:
        self.adapter, self._dynamics, self._config = adapter, dynamics, config
        self._limiter, self._period_s = EffortLimiter(robot), robot.control_period_s
        self._effort = np.zeros(robot.nu)

    def reset(self) -> None:
        self.adapter.reset()
        self._limiter.reset()
        self._effort = np.zeros_like(self._effort)

    def step(self, time: float, state: State, reference: Reference) -> Command:
        self._limiter.at(time)
        context = self.adapter.update(state, self._effort, self._period_s)
        target, config = reference.sample(np.array([time])), self._config
        a = target.a + config.kp * (target.q - state.q) + config.kd * (target.v - state.v)
        xi = Xi(state.q[None], state.v[None], a, self._effort[None], np.tile(self._effort, (2, 1, 1)))
        force = self._dynamics.required_force(xi.q, xi.v, a) - self.adapter.evaluate(xi)
        self._effort = self._limiter.apply(force[0])
        return Command(self._effort, context=context)


def _pd(robot: Robot, config: PDConfig, checkpoint: Path | None, oracle: Any) -> ComputedForce:
    dynamics = PointMassDynamics(robot)
    return ComputedForce(robot, dynamics, bare_adapter("none", robot, dynamics, AdapterTuning(1.0)), config)


def _adaptive(robot: Robot, config: AdaptiveConfig, checkpoint: Path | None, oracle: Any) -> ComputedForce:
    dynamics, learned = PointMassDynamics(robot), config.adapter == "last_layer"
    weights = load_checkpoint(checkpoint or default_checkpoint(robot, "last_layer"), robot) if learned else None
    tuning = AdapterTuning(config.observer_bandwidth_rad_s)
    return ComputedForce(robot, dynamics, bare_adapter(config.adapter, robot, dynamics, tuning, weights), config)


PD = ControllerSpec(PDConfig, _pd)
ADAPTIVE = ControllerSpec(AdaptiveConfig, _adaptive)
