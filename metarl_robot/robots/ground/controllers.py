# SPDX-License-Identifier: Apache-2.0
"""The ground vehicles' MPC family: one controller, different adapters.

Controller, adapter and dynamics model:

    nominal_mpc       none                      the description's
    offset_free_mpc   disturbance_observer      the model error is a constant force in the body's directions
    meta_mpc          last_layer                learned friction, stiffness, load, slope …, and an observer of the rest
    oracle_mpc        the simulation's          the true physics; simulation only

mppi optimises its plan by sampling (mppi.py), by default without an adapter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, field_validator

from metarl_robot.adaptation.adapter_spec import adapter_of_choice
from metarl_robot.adaptation.base import Adapter, TruthfulAdapter
from metarl_robot.adaptation.factory import weights_of
from metarl_robot.adaptation.tuning import START_S, AdapterTuning
from metarl_robot.control.base import ControllerSpec
from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import GroundDynamics
from metarl_robot.robots.ground.mpc import GroundMPC
from metarl_robot.robots.ground.mppi import GroundMPPI, SampledPlanConfig
from metarl_robot.robots.ground.plan_follower import PlanConfig
from metarl_robot.robots.ground.slow_states import GroundAtStateRate


class OracleGroundMPC(GroundMPC):
    """MPC with an adapter that receives the true physics, at the start and at every change."""

    adapter: TruthfulAdapter

    def observe_truth(self, truth: Any) -> None:
        """`truth`: the simulation's task."""
        self.adapter.observe(truth)


class GroundOffsetFreeConfig(PlanConfig):
    """MPC with a disturbance observer."""

    observer_bandwidth_rad_s: float = Field(
        10.0, ge=0.1, le=200.0, description="bandwidth of the disturbance observer [rad/s]"
    )


class GroundOracleConfig(PlanConfig):
    """MPC with known true physics."""

    observer_bandwidth_rad_s: float = Field(
        2.0, ge=0.01, le=200.0, description="bandwidth of the disturbance observer [rad/s]"
    )


class ContextConfig(BaseModel):
    """The estimator of the context."""

    adapter: str = Field("last_layer", description="estimator of the context: last_layer, or another")
    observer_bandwidth_rad_s: float = Field(
        2.0, ge=0.01, le=200.0, description="bandwidth of the remaining disturbance's observer [rad/s]"
    )
    model_error: float = Field(0.03, ge=0.0, le=0.5, description="unexplained fast force, share of the weight")
    missed_force_bandwidth_rad_s: float = Field(
        0.0, ge=0.0, le=500.0, description="bandwidth of the observer of the filter's prediction error [rad/s]"
    )
    forgetting_s: float = Field(60.0, ge=0.1, le=10000.0, description="time constant of forgetting [s]")
    change_detection: float = Field(
        1e-6, ge=0.0, le=0.1, description="false-alarm probability of the change detection; 0: no detection"
    )


class GroundMetaConfig(ContextConfig, PlanConfig):
    """MPC with a learned context."""

    @field_validator("adapter")
    @classmethod
    def _registered(cls, name: str) -> str:
        return adapter_of_choice("ground", name)


class GroundMPPIConfig(ContextConfig, SampledPlanConfig):
    """MPPI with any adapter."""

    adapter: str = Field(
        "none", description="estimator of the context: none, disturbance_observer, last_layer, or another"
    )

    @field_validator("adapter")
    @classmethod
    def _registered(cls, name: str) -> str:
        return adapter_of_choice("ground", name, ("nominal_mpc", "offset_free_mpc", "meta_mpc"))


def _mpc(robot: Ground, config: PlanConfig, adapter: str, tuning: AdapterTuning) -> GroundMPC:
    return GroundMPC(robot, GroundAtStateRate(robot, adapter, tuning), config)


def _nominal(robot: Ground, config: PlanConfig, checkpoint: Path | None, oracle: Any) -> GroundMPC:
    return _mpc(robot, config, "none", AdapterTuning(1.0))


def _offset_free(robot: Ground, config: GroundOffsetFreeConfig, checkpoint: Path | None, oracle: Any) -> GroundMPC:
    return _mpc(robot, config, "disturbance_observer", AdapterTuning(config.observer_bandwidth_rad_s))


def _meta(robot: Ground, config: GroundMetaConfig, checkpoint: Path | None, oracle: Any) -> GroundMPC:
    return GroundMPC(robot, _chosen(robot, config, checkpoint), config)


def _mppi(robot: Ground, config: GroundMPPIConfig, checkpoint: Path | None, oracle: Any) -> GroundMPPI:
    return GroundMPPI(robot, _chosen(robot, config, checkpoint), config)


def _chosen(robot: Ground, config: ContextConfig, checkpoint: Path | None) -> Adapter:
    tuning = AdapterTuning(
        config.observer_bandwidth_rad_s,
        model_error=config.model_error,
        forgetting_s=config.forgetting_s,
        change_detection=config.change_detection,
        missed_force_bandwidth_rad_s=config.missed_force_bandwidth_rad_s,
        start_s=START_S,
    )
    return GroundAtStateRate(robot, config.adapter, tuning, weights_of(config.adapter, robot, checkpoint))


def _oracle(robot: Ground, config: GroundOracleConfig, checkpoint: Path | None, oracle: Any) -> GroundMPC:
    if oracle is None:
        raise MetaRLError("oracle_mpc knows the true physics and exists in simulation only: use it with metarl eval")
    adapter = oracle(robot, GroundDynamics(robot), AdapterTuning(config.observer_bandwidth_rad_s))
    return OracleGroundMPC(robot, adapter, config)


NOMINAL = ControllerSpec(PlanConfig, _nominal)
OFFSET_FREE = ControllerSpec(GroundOffsetFreeConfig, _offset_free)
META = ControllerSpec(GroundMetaConfig, _meta)
MPPI = ControllerSpec(GroundMPPIConfig, _mppi)
ORACLE = ControllerSpec(GroundOracleConfig, _oracle)
