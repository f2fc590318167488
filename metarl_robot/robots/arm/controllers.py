# SPDX-License-Identifier: Apache-2.0
"""The arm's model-predictive controllers: one core with different adapters.

nominal_mpc       none                    the nominal model
offset_free_mpc   disturbance_observer    classical: the residual is assumed constant
meta_mpc          last_layer (or another) meta-learned context plus an observer of the remaining disturbance
oracle_mpc        the true physics        simulation only
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from metarl_robot.adaptation.adapter_spec import adapter_of_choice
from metarl_robot.adaptation.base import Adapter, TruthfulAdapter
from metarl_robot.adaptation.factory import bare_adapter, weights_of
from metarl_robot.adaptation.tuning import START_S, AdapterTuning
from metarl_robot.control.base import ControllerSpec
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.mpc import SLOWEST_HZ, ArmMPC, MPCConfig

LEARNS_HZ = 60.0
"""Slowest states from which a context is learned; a disturbance observer needs mpc.SLOWEST_HZ.

On a Panda the learning controller diverged at 46 Hz.
"""

OracleFactory = Callable[[Robot, ArmDynamics, AdapterTuning], TruthfulAdapter]


class OracleMPC(ArmMPC):
    """MPC with an adapter that receives the true physics, at the start and at every change."""

    adapter: TruthfulAdapter

    def observe_truth(self, truth: Any) -> None:
        """Pass on the simulation's task `truth`."""
        self.adapter.observe(truth)


class OffsetFreeConfig(MPCConfig):
    """MPC with a disturbance observer."""

    observer_bandwidth_rad_s: float = Field(
        120.0, ge=1.0, le=500.0, description="bandwidth of the disturbance observer [rad/s]"
    )
    velocity_noise_rad_s: float = Field(
        0.005, gt=0.0, le=1.0, description="standard deviation of measured velocities [rad/s]"
    )


class MetaConfig(OffsetFreeConfig):
    """MPC with a learned context."""

    renamed: ClassVar[Mapping[str, str]] = {"surprise": "change_detection"}
    adapter: str = Field("last_layer", description="estimator of the context: last_layer, inertial, maml or another")
    observer_bandwidth_rad_s: float = Field(
        20.0, ge=0.1, le=500.0, description="bandwidth of the remaining disturbance's observer [rad/s]"
    )
    model_error: float = Field(0.001, ge=0.0, le=0.1, description="unexplained fast torque, share of the effort limit")
    missed_force_bandwidth_rad_s: float = Field(
        60.0, ge=0.0, le=500.0, description="bandwidth of the observer of the filter's prediction error [rad/s]"
    )
    forgetting_s: float = Field(60.0, ge=0.1, le=10000.0, description="time constant of forgetting [s]")
    change_detection: float = Field(
        1e-6, ge=0.0, le=0.1, description="false-alarm probability of the change detection; 0: no detection"
    )

    @field_validator("adapter")
    @classmethod
    def _registered(cls, name: str) -> str:
        return adapter_of_choice("arm", name)


def _nominal(robot: Robot, config: MPCConfig, checkpoint: Path | None, oracle: OracleFactory | None) -> ArmMPC:
    dynamics = ArmDynamics(robot, config.horizon + 1)
    adapter = bare_adapter("none", robot, dynamics, AdapterTuning(1.0))
    return ArmMPC(robot, dynamics, lambda at: (adapter, ""), config)


def _offset_free(
    robot: Robot, config: OffsetFreeConfig, checkpoint: Path | None, oracle: OracleFactory | None
) -> ArmMPC:
    dynamics = ArmDynamics(robot, config.horizon + 1)

    def adapter_at(at: Robot) -> tuple[Adapter, str]:
        return _observer_at(at, dynamics, _tuning(config)), ""

    return ArmMPC(robot, dynamics, adapter_at, config)


def _observer_at(at: Robot, dynamics: ArmDynamics, tuning: AdapterTuning) -> Adapter:
    """The disturbance observer for a period of the states; none where they are too slow for it."""
    return bare_adapter("disturbance_observer" if _hz(at) >= SLOWEST_HZ else "none", at, dynamics, tuning)


def _hz(robot: Robot) -> float:
    return 1.0 / robot.control_period_s


def _meta(robot: Robot, config: MetaConfig, checkpoint: Path | None, oracle: OracleFactory | None) -> ArmMPC:
    dynamics = ArmDynamics(robot, config.horizon + 1)
    weights = weights_of(config.adapter, robot, checkpoint)
    tuning = AdapterTuning(
        config.observer_bandwidth_rad_s,
        config.velocity_noise_rad_s,
        config.model_error,
        config.forgetting_s,
        config.change_detection,
        config.missed_force_bandwidth_rad_s,
        START_S,
    )
    observer = AdapterTuning(OffsetFreeConfig().observer_bandwidth_rad_s, config.velocity_noise_rad_s)

    def adapter_at(at: Robot) -> tuple[Adapter, str]:
        if _hz(at) >= LEARNS_HZ:
            return bare_adapter(config.adapter, at, dynamics, tuning, weights), ""
        words = f"learning needs {LEARNS_HZ:g} Hz, so that only a disturbance observer is used"
        return _observer_at(at, dynamics, observer), words

    return ArmMPC(robot, dynamics, adapter_at, config)


def _oracle(robot: Robot, config: OffsetFreeConfig, checkpoint: Path | None, oracle: OracleFactory | None) -> OracleMPC:
    if oracle is None:
        raise MetaRLError("oracle_mpc knows the true physics and exists in simulation only: use it with metarl eval")
    dynamics = ArmDynamics(robot, config.horizon + 1)
    adapter = oracle(robot, dynamics, _tuning(config))
    return OracleMPC(robot, dynamics, lambda at: (adapter, ""), config)


def _tuning(config: OffsetFreeConfig) -> AdapterTuning:
    return AdapterTuning(config.observer_bandwidth_rad_s, config.velocity_noise_rad_s)


NOMINAL = ControllerSpec(MPCConfig, _nominal)
OFFSET_FREE = ControllerSpec(OffsetFreeConfig, _offset_free)
META = ControllerSpec(MetaConfig, _meta)
ORACLE = ControllerSpec(OffsetFreeConfig, _oracle)
