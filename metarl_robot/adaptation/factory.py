# SPDX-License-Identifier: Apache-2.0
"""Adapters by name, built from a robot's dynamics, a checkpoint and tuning.

Code that depends on the kind of robot is in the kind's `adapter_parts` module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.base import Adapter, NoAdaptation
from metarl_robot.adaptation.compiled_network import fast_network
from metarl_robot.adaptation.features import FeatureGroup, FeatureMap
from metarl_robot.adaptation.guard import GuardedAdapter
from metarl_robot.adaptation.l1 import L1Adapter
from metarl_robot.adaptation.maml import Layers, MamlAdapter, ResidualMeter
from metarl_robot.adaptation.momentum_filter import FilterTuning, Jump, MomentumFilter, Prior
from metarl_robot.adaptation.network import Network
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.core.errors import CheckpointError, UnknownNameError
from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]

ADAPTERS = ("none", "disturbance_observer", "l1", "inertial", "last_layer", "maml")


def make_adapter(
    name: str, robot: Robot, dynamics: Any, tuning: AdapterTuning, checkpoint: Checkpoint | None = None
) -> Adapter:
    """Build an adapter with a guard against unusable samples (guard.py).

    Arguments:
        dynamics: the robot's dynamics (ArmDynamics, QuadrotorDynamics).

    Raises:
        UnknownNameError: no such adapter.
        CheckpointError: trained weights are missing or belong to another adapter.
    """
    return GuardedAdapter(robot, bare_adapter(name, robot, dynamics, tuning, checkpoint))


def bare_adapter(
    name: str, robot: Robot, dynamics: Any, tuning: AdapterTuning, checkpoint: Checkpoint | None = None
) -> Adapter:
    """Build an adapter without a guard, for a controller that checks each sample itself."""
    if name not in ADAPTERS:
        raise UnknownNameError("adapter", name, ADAPTERS)
    if name == "none":
        return NoAdaptation(dynamics)
    if name == "l1":
        return L1Adapter(dynamics, robot.control_period_s, tuning.observer_bandwidth_rad_s)
    if name == "disturbance_observer":
        return _observer(dynamics, filter_tuning(robot, dynamics, tuning, ()))
    if checkpoint is None:
        raise CheckpointError(
            f"adapter '{name}' needs trained weights: give a checkpoint, or train one with: metarl train {robot.name}"
        )
    if name == "maml":
        return maml_adapter(robot, dynamics, tuning, checkpoint)
    groups = parts(robot).INERTIAL if name == "inertial" else tuple(checkpoint.meta["features"])
    features = feature_map(robot, dynamics, groups, checkpoint)
    prior = marginal_prior(robot, checkpoint, features.names)
    return MomentumFilter(dynamics, features, prior, filter_tuning(robot, dynamics, tuning, features.names))


def parts(robot: Robot) -> Any:
    """Import the adapter parts of a robot's kind.

    The module defines FEATURE_GROUPS, INERTIAL, SUDDEN, feature_group(…), context_scale(…) and filter_tuning(…).
    Where MAML serves the kind it also defines network_inputs(…).
    """
    return import_module(robot.adapter_parts)


MAML_OBSERVER_RAD_S = 40.0
"""Bandwidth of the observer that measures the residual for MAML, in training and online."""


def residual_meter(robot: Robot, dynamics: Any, velocity_noise_rad_s: float) -> ResidualMeter:
    """Residual measurement for MAML: a filter without features, with a wide initial disturbance."""
    tuning = filter_tuning(robot, dynamics, AdapterTuning(MAML_OBSERVER_RAD_S, velocity_noise_rad_s), ())
    tuning = replace(tuning, drift_initial=0.1 * robot.effort_limit)
    return ResidualMeter(dynamics, _observer(dynamics, tuning))


def _observer(dynamics: Any, tuning: FilterTuning) -> MomentumFilter:
    """Momentum observer: a filter without features."""
    return MomentumFilter(dynamics, FeatureMap(dynamics, ()), Prior(np.zeros(0), np.zeros((0, 0))), tuning)


def maml_adapter(
    robot: Robot, dynamics: Any, tuning: AdapterTuning, checkpoint: Checkpoint, prefix: str = ""
) -> MamlAdapter:
    """Build MAML's network from the checkpoint's tensors `prefix`network.* and `prefix`step.*."""
    if checkpoint.adapter != "maml":
        raise CheckpointError(f"adapter 'maml' needs weights trained for it; given those of '{checkpoint.adapter}'")
    kind = parts(robot)
    if not hasattr(kind, "network_inputs"):
        raise UnknownNameError(f"adapter of a {robot.kind}", "maml", [name for name in ADAPTERS if name != "maml"])

    def layers(role: str) -> Layers:
        names = [
            f"{prefix}{role}.{i}"
            for i in range(len(checkpoint.tensors))
            if f"{prefix}{role}.{i}.weight" in checkpoint.tensors
        ]
        return Layers(*([checkpoint.tensors[f"{name}.{part}"] for name in names] for part in ("weight", "bias")))

    meter = residual_meter(robot, dynamics, tuning.velocity_noise_rad_s)
    inputs, scale = kind.network_inputs(robot, dynamics), checkpoint.tensors["output_scale"]
    return MamlAdapter(inputs, meter, layers("network"), layers("step"), scale, int(checkpoint.meta["inner_steps"]))


def feature_map(robot: Robot, dynamics: Any, groups: Sequence[str], checkpoint: Checkpoint | None = None) -> FeatureMap:
    """The named feature groups side by side. 'learned' reads its network from the checkpoint."""
    network = perceptron(checkpoint) if checkpoint is not None and "learned" in groups else None
    made: list[FeatureGroup] = []
    for group in groups:
        features = parts(robot).feature_group(robot, dynamics, group, network)
        if features is None:
            raise UnknownNameError("feature group", group, parts(robot).FEATURE_GROUPS)
        made.append(features)
    return FeatureMap(dynamics, tuple(made))


def perceptron(checkpoint: Checkpoint) -> Network:
    """The checkpoint's network: tensors network.<i>.weight and network.<i>.bias."""
    layers = range(sum(name.endswith(".weight") for name in checkpoint.tensors))
    weights = [checkpoint.tensors[f"network.{i}.weight"] for i in layers]
    return fast_network(weights, [checkpoint.tensors[f"network.{i}.bias"] for i in layers])


def marginal_prior(robot: Robot, checkpoint: Checkpoint, names: Sequence[str]) -> Prior:
    """Prior over some of the checkpoint's context entries, in the robot's units."""
    known = list(checkpoint.meta["context_names"])
    chosen = [known.index(name) for name in names]
    scale = parts(robot).context_scale(robot, names)
    covariance = checkpoint.tensors["prior_covariance"][np.ix_(chosen, chosen)]
    return Prior(scale * checkpoint.tensors["prior_mean"][chosen], scale[:, None] * covariance * scale)


def filter_tuning(robot: Robot, dynamics: Any, tuning: AdapterTuning, names: Sequence[str]) -> FilterTuning:
    """Noise levels of the robot's kind, and the jumps possible in the context entries `names`."""
    kind = parts(robot)
    made: FilterTuning = kind.filter_tuning(robot, dynamics, tuning)
    return replace(made, jumps=_jumps(kind.SUDDEN, names))


def _jumps(sudden: Sequence[tuple[tuple[str, ...], bool]], names: Sequence[str]) -> tuple[Jump, ...]:
    """Jumps of the sudden sets that have entries among `names`."""
    sets = [(np.flatnonzero([name.startswith(prefixes) for name in names]), gone) for prefixes, gone in sudden]
    return tuple(Jump(entries, gone) for entries, gone in sets if len(entries))
