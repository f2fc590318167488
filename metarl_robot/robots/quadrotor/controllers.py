# SPDX-License-Identifier: Apache-2.0
"""The quadrotors' MPC family: one controller, different adapters.

Controller, adapter and dynamics model:

    nominal_mpc       none                      the published model
    l1_mpc            l1                        L1 adaptation, the strongest simple baseline
    offset_free_mpc   disturbance_observer      assumes that the model error is constant
    meta_mpc          last_layer, or inertial   learned context, and an observer of the remainder
    oracle_mpc        the simulation's          knows the true physics; simulation only
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from metarl_robot.adaptation.adapter_spec import adapter_of_choice
from metarl_robot.adaptation.base import Adapter, TruthfulAdapter
from metarl_robot.adaptation.factory import bare_adapter, weights_of
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.adaptation.tuning import START_S, AdapterTuning
from metarl_robot.control.base import ControllerSpec
from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.mpc import FlightMPC, FlightMPCConfig
from metarl_robot.robots.quadrotor.slow_states import LEARNS_HZ, SLOWEST_HZ, Adapters, FlightAtStateRate
from metarl_robot.robots.quadrotor.standing import StandingGuard
from metarl_robot.robots.quadrotor.state_consistency import ConsistentState


class OracleFlightMPC(FlightMPC):
    """MPC with an adapter that receives the true physics, at the start and at every change."""

    adapter: TruthfulAdapter

    def observe_truth(self, truth: Any) -> None:
        """`truth`: the simulation's task."""
        self.adapter.observe(truth)


class L1Config(FlightMPCConfig):
    """MPC with L1 adaptation."""

    filter_bandwidth_rad_s: float = Field(
        10.0, ge=0.1, le=200.0, description="bandwidth of the low-pass filter of the estimate [rad/s]"
    )


class FlightOffsetFreeConfig(FlightMPCConfig):
    """MPC with a disturbance observer."""

    observer_bandwidth_rad_s: float = Field(
        40.0, ge=0.1, le=200.0, description="bandwidth of the disturbance observer [rad/s]"
    )


class FlightOracleConfig(FlightMPCConfig):
    """MPC with known true physics; an observer estimates the gusts."""

    observer_bandwidth_rad_s: float = Field(
        20.0, ge=0.1, le=200.0, description="bandwidth of the disturbance observer [rad/s]"
    )


class FlightMetaConfig(FlightMPCConfig):
    """MPC with a learned context."""

    renamed: ClassVar[Mapping[str, str]] = {"surprise": "change_detection"}
    adapter: str = Field("last_layer", description="estimator of the context: last_layer, inertial or another")
    observer_bandwidth_rad_s: float = Field(
        6.0, ge=0.01, le=200.0, description="bandwidth of the remaining disturbance's observer [rad/s]"
    )
    model_error: float = Field(0.005, ge=0.0, le=0.5, description="unexplained fast force, share of the weight")
    missed_force_bandwidth_rad_s: float = Field(
        8.0, ge=0.0, le=500.0, description="bandwidth of the observer of the filter's prediction error [rad/s]"
    )
    forgetting_s: float = Field(60.0, ge=0.1, le=10000.0, description="time constant of forgetting [s]")
    change_detection: float = Field(
        1e-6, ge=0.0, le=0.1, description="false-alarm probability of the change detection; 0: no detection"
    )

    @field_validator("adapter")
    @classmethod
    def _registered(cls, name: str) -> str:
        return adapter_of_choice("quadrotor", name)


def _mpc(
    robot: Quadrotor, config: FlightMPCConfig, adapter: str, tuning: AdapterTuning, checkpoint: Any = None
) -> ConsistentState:
    dynamics = QuadrotorDynamics(robot)

    def build(name: str, tuning: AdapterTuning, at: Quadrotor) -> Adapter:
        made = bare_adapter(name, at, dynamics, tuning, checkpoint)
        if isinstance(made, MomentumFilter) and name not in SLOWEST_HZ:  # it learns a context
            return StandingGuard(at, made)
        return made

    observer = AdapterTuning(FlightOffsetFreeConfig().observer_bandwidth_rad_s)
    adapters = Adapters(
        partial(build, adapter, tuning),
        SLOWEST_HZ.get(adapter, LEARNS_HZ),
        partial(build, "disturbance_observer", observer),
        partial(build, "none", tuning),
    )
    made = FlightAtStateRate(robot, adapters)
    return ConsistentState(FlightMPC(robot, made, config), made.problem)


def _nominal(robot: Quadrotor, config: FlightMPCConfig, checkpoint: Path | None, oracle: Any) -> ConsistentState:
    return _mpc(robot, config, "none", AdapterTuning(1.0))


def _l1(robot: Quadrotor, config: L1Config, checkpoint: Path | None, oracle: Any) -> ConsistentState:
    return _mpc(robot, config, "l1", AdapterTuning(config.filter_bandwidth_rad_s))


def _offset_free(
    robot: Quadrotor, config: FlightOffsetFreeConfig, checkpoint: Path | None, oracle: Any
) -> ConsistentState:
    tuning = AdapterTuning(config.observer_bandwidth_rad_s)
    return _mpc(robot, config, "disturbance_observer", tuning)


def _meta(robot: Quadrotor, config: FlightMetaConfig, checkpoint: Path | None, oracle: Any) -> ConsistentState:
    weights = weights_of(config.adapter, robot, checkpoint)
    tuning = AdapterTuning(
        config.observer_bandwidth_rad_s,
        model_error=config.model_error,
        forgetting_s=config.forgetting_s,
        change_detection=config.change_detection,
        missed_force_bandwidth_rad_s=config.missed_force_bandwidth_rad_s,
        start_s=START_S,
    )
    return _mpc(robot, config, config.adapter, tuning, weights)


def _oracle(robot: Quadrotor, config: FlightOracleConfig, checkpoint: Path | None, oracle: Any) -> ConsistentState:
    if oracle is None:
        raise MetaRLError("oracle_mpc knows the true physics and exists in simulation only: use it with metarl eval")
    adapter: Adapter = oracle(robot, QuadrotorDynamics(robot), AdapterTuning(config.observer_bandwidth_rad_s))
    return ConsistentState(OracleFlightMPC(robot, adapter, config))


NOMINAL = ControllerSpec(FlightMPCConfig, _nominal)
L1 = ControllerSpec(L1Config, _l1)
OFFSET_FREE = ControllerSpec(FlightOffsetFreeConfig, _offset_free)
META = ControllerSpec(FlightMetaConfig, _meta)
ORACLE = ControllerSpec(FlightOracleConfig, _oracle)
