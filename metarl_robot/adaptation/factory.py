"""Adapters by name, built from a robot's dynamics, a checkpoint and tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.base import Adapter, NoAdaptation
from metarl_robot.adaptation.features import (
    FeatureGroup,
    FeatureMap,
    FrictionFeatures,
    LatencyFeatures,
    MotorFeatures,
    PayloadFeatures,
)
from metarl_robot.adaptation.maml import Layers, MamlAdapter, NetworkInputs, ResidualMeter
from metarl_robot.adaptation.momentum_filter import FilterTuning, Jump, MomentumFilter, Prior
from metarl_robot.adaptation.network import NetworkFeatures, Perceptron
from metarl_robot.checkpoint import Checkpoint
from metarl_robot.dynamics.arm import ArmDynamics
from metarl_robot.errors import CheckpointError, UnknownNameError
from metarl_robot.robot import Robot

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]

ADAPTERS = ("none", "disturbance_observer", "inertial", "last_layer", "maml")
FEATURE_GROUPS = ("payload", "friction", "motor", "latency", "learned")


@dataclass(frozen=True)
class AdapterTuning:
    """What a user may tune; per-joint noise levels follow from it and the mass matrix at home.

    observer_bandwidth_rad_s: of the observer of the slow disturbance, at the assumed velocity noise.
    velocity_noise_rad_s: standard deviation of the measured velocity, before it is estimated.
    model_error: standard deviation of the fast disturbance, as a share of the effort limit.
    forgetting_s, surprise: see FilterTuning.
    """

    observer_bandwidth_rad_s: float
    velocity_noise_rad_s: float = 0.005
    model_error: float = 0.0
    forgetting_s: float = 60.0
    surprise: float = 0.0


STICTION_FACTOR = 10.0
"""Where a joint may stick, the model error is this much larger."""
POSITION_NOISE_RAD = 3e-5
"""Standard deviation of encoder quantisation: a resolution of 1e-4 rad has 2.9e-5."""
INITIAL_DRIFT = 0.002
"""Standard deviation of the slow disturbance at the start and after a surprise, as a share of the effort limit."""

SUDDEN = ((("payload_",), False), (("coulomb_", "viscous_"), False), (("payload_",), True))
"""Context entries that may change together from one moment to the next (a payload is picked up, friction steps), or be gone."""


def make_adapter(name: str, robot: Robot, dynamics: ArmDynamics, tuning: AdapterTuning, checkpoint: Checkpoint | None = None) -> Adapter:
    """Build an adapter.

    Raises:
        UnknownNameError: no such adapter.
        CheckpointError: it needs trained weights and got none, or weights of another adapter.
    """
    if name not in ADAPTERS:
        raise UnknownNameError("adapter", name, ADAPTERS)
    if name == "none":
        return NoAdaptation(robot.dof)
    if name == "disturbance_observer":
        return _observer(robot, dynamics, filter_tuning(robot, dynamics, tuning, ()))
    if checkpoint is None:
        raise CheckpointError(f"adapter '{name}' needs trained weights: give a checkpoint, or train one with: metarl train {robot.name}")
    if name == "maml":
        return maml_adapter(robot, dynamics, tuning, checkpoint)
    groups = ("payload", "friction") if name == "inertial" else tuple(checkpoint.meta["features"])
    features = feature_map(robot, dynamics, groups, checkpoint)
    prior = marginal_prior(checkpoint, features.names)
    return MomentumFilter(dynamics, features, prior, filter_tuning(robot, dynamics, tuning, features.names))


MAML_OBSERVER_RAD_S = 40.0
"""Bandwidth of the observer whose residual MAML's networks are trained on and adapt to."""


def residual_meter(robot: Robot, dynamics: ArmDynamics, velocity_noise_rad_s: float) -> ResidualMeter:
    """What measures the residual for MAML: a filter without features that knows nothing at the start."""
    tuning = filter_tuning(robot, dynamics, AdapterTuning(MAML_OBSERVER_RAD_S, velocity_noise_rad_s), ())
    tuning = replace(tuning, drift_initial=0.1 * robot.effort_limit)
    return ResidualMeter(dynamics, _observer(robot, dynamics, tuning))


def _observer(robot: Robot, dynamics: ArmDynamics, tuning: FilterTuning) -> MomentumFilter:
    """A filter without features: a momentum observer."""
    return MomentumFilter(dynamics, FeatureMap(robot.dof, ()), Prior(np.zeros(0), np.zeros((0, 0))), tuning)


def maml_adapter(robot: Robot, dynamics: ArmDynamics, tuning: AdapterTuning, checkpoint: Checkpoint, prefix: str = "") -> MamlAdapter:
    """MAML's network from a checkpoint's tensors `prefix`network.* and `prefix`step.*."""
    if checkpoint.adapter != "maml":
        raise CheckpointError(f"adapter 'maml' needs weights trained for it; given those of '{checkpoint.adapter}'")

    def layers(kind: str) -> Layers:
        names = [f"{prefix}{kind}.{i}" for i in range(len(checkpoint.tensors)) if f"{prefix}{kind}.{i}.weight" in checkpoint.tensors]
        return Layers(*([checkpoint.tensors[f"{name}.{part}"] for name in names] for part in ("weight", "bias")))

    meter = residual_meter(robot, dynamics, tuning.velocity_noise_rad_s)
    inputs, scale = NetworkInputs(robot, dynamics), checkpoint.tensors["output_scale"]
    return MamlAdapter(inputs, meter, layers("network"), layers("step"), scale, int(checkpoint.meta["inner_steps"]))


def feature_map(robot: Robot, dynamics: ArmDynamics, groups: Sequence[str], checkpoint: Checkpoint | None = None) -> FeatureMap:
    """The named feature groups side by side. 'learned' reads its network from the checkpoint."""
    made: list[FeatureGroup] = []
    for group in groups:
        if group == "payload":
            made.append(PayloadFeatures(dynamics))
        elif group == "friction":
            made.append(FrictionFeatures(robot.dof))
        elif group == "motor":
            made.append(MotorFeatures(robot.dof))
        elif group == "latency":
            made.append(LatencyFeatures(robot.dof))
        elif group == "learned" and checkpoint is not None:
            made.append(NetworkFeatures(perceptron(checkpoint), robot.velocity_limit))
        else:
            raise UnknownNameError("feature group", group, FEATURE_GROUPS)
    return FeatureMap(robot.dof, tuple(made))


def perceptron(checkpoint: Checkpoint) -> Perceptron:
    """The checkpoint's network: tensors network.<i>.weight and network.<i>.bias."""
    layers = range(sum(name.endswith(".weight") for name in checkpoint.tensors))
    weights = [checkpoint.tensors[f"network.{i}.weight"] for i in layers]
    return Perceptron(weights, [checkpoint.tensors[f"network.{i}.bias"] for i in layers])


def marginal_prior(checkpoint: Checkpoint, names: Sequence[str]) -> Prior:
    """The checkpoint's prior over some of its context entries."""
    known = list(checkpoint.meta["context_names"])
    chosen = [known.index(name) for name in names]
    return Prior(checkpoint.tensors["prior_mean"][chosen], checkpoint.tensors["prior_covariance"][np.ix_(chosen, chosen)])


def filter_tuning(robot: Robot, dynamics: ArmDynamics, tuning: AdapterTuning, names: Sequence[str]) -> FilterTuning:
    """Noise levels per joint.

    In steady state a Kalman filter on momentum and disturbance, with momentum noise of density r = M σ_v √dt and a disturbance
    that walks at a rate s, has the natural frequency ω = √(s / r): s = ω² M σ_v √dt.
    """
    inertia = np.diag(dynamics.mass_matrix(robot.home))
    momentum_noise = inertia * tuning.velocity_noise_rad_s * np.sqrt(robot.control_period_s)
    return FilterTuning(
        period_s=robot.control_period_s,
        position_noise=np.full(robot.dof, POSITION_NOISE_RAD),
        velocity_noise=(tuning.velocity_noise_rad_s,),
        noise_groups=(robot.dof,),
        drift=tuning.observer_bandwidth_rad_s**2 * momentum_noise,
        drift_initial=INITIAL_DRIFT * robot.effort_limit,
        model_error=tuning.model_error * robot.effort_limit,
        stiction_factor=STICTION_FACTOR,
        forgetting_s=tuning.forgetting_s,
        surprise=tuning.surprise,
        jumps=_jumps(names),
    )


def _jumps(names: Sequence[str]) -> tuple[Jump, ...]:
    """Each sudden set that is there, and what may be gone."""
    sets = [(np.flatnonzero([name.startswith(prefixes) for name in names]), gone) for prefixes, gone in SUDDEN]
    return tuple(Jump(entries, gone) for entries, gone in sets if len(entries))
