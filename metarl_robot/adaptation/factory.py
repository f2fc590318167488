# SPDX-License-Identifier: Apache-2.0
"""Adapters by name, built from a robot's dynamics, a checkpoint and tuning.

The registry is in adapter_spec.py; the feature groups that an adapter uses are in feature_spec.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from metarl_robot.adaptation.adapter_spec import ADAPTERS, AdapterSpec
from metarl_robot.adaptation.alike_entries import with_alike
from metarl_robot.adaptation.base import Adapter, NoAdaptation
from metarl_robot.adaptation.cell_regression import CellRegression
from metarl_robot.adaptation.competing_priors import competing_priors
from metarl_robot.adaptation.external_wrench import ExternalWrenchGuard
from metarl_robot.adaptation.feature_spec import (
    FEATURES,
    described_groups,
    feature_map,
    inertial_groups,
    regressed_groups,
    untrained_groups,
)
from metarl_robot.adaptation.features import FeatureMap, Jump
from metarl_robot.adaptation.filter_tuning import FilterTuning, Prior
from metarl_robot.adaptation.force_scale import force_scale
from metarl_robot.adaptation.forecast import HELD_S
from metarl_robot.adaptation.forecasting_adapter import ForecastingAdapter
from metarl_robot.adaptation.guard import GuardedAdapter
from metarl_robot.adaptation.maml import Layers, MamlAdapter, NetworkInputs, ResidualMeter
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.adaptation.prediction_error import prediction_error
from metarl_robot.adaptation.regression_adapter import RegressionAdapter
from metarl_robot.adaptation.stream_cells import StreamCells, cell_length_s
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.checkpoint import Checkpoint, default_checkpoint, load_checkpoint
from metarl_robot.core.errors import CheckpointError
from metarl_robot.core.robot import Robot, named

Array = NDArray[np.float64]

NONE_UNTRAINED: Mapping[str, float] = MappingProxyType({})


def make_adapter(
    name: str, robot: Robot, dynamics: Any, tuning: AdapterTuning, checkpoint: Checkpoint | None = None
) -> Adapter:
    """Build an adapter with a guard against unusable samples (guard.py).

    Arguments:
        dynamics: the robot's dynamics (dynamics/protocols.py).

    Raises:
        UnknownNameError: no such adapter for this kind of robot.
        CheckpointError: trained weights are missing or belong to another adapter.
    """
    return GuardedAdapter(robot, bare_adapter(name, robot, dynamics, tuning, checkpoint))


def bare_adapter(
    name: str, robot: Robot, dynamics: Any, tuning: AdapterTuning, checkpoint: Checkpoint | None = None
) -> Adapter:
    """Build an adapter without a guard, for a controller that checks each sample itself."""
    spec = ADAPTERS.get(robot.kind, name)
    if spec.weights:
        _check_weights(name, spec.weights, robot, checkpoint)
    return spec.build(robot, dynamics, tuning, checkpoint)


def _check_weights(name: str, wanted: str, robot: Robot, checkpoint: Checkpoint | None) -> None:
    if checkpoint is None:
        remedy = f"give a checkpoint, or train one with: metarl train {robot.argument}"
        raise CheckpointError(f"adapter '{name}' needs trained weights: {remedy}")
    if checkpoint.adapter != wanted:
        raise CheckpointError(
            f"adapter '{name}' needs weights trained for '{wanted}'; given those of '{checkpoint.adapter}'"
        )


def weights_of(name: str, robot: Robot, path: Path | None) -> Checkpoint | None:
    """The weights that an adapter needs; None if it needs none.

    path: None: those in the robot's folder, or of its family. A robot without any has a prior from its description, if
    its kind has one (FeatureSpec.described_prior).
    """
    wanted = ADAPTERS.get(robot.kind, name).weights
    if not wanted:
        return None
    if path is None and is_described(robot, wanted):
        return _described(robot, wanted)
    return load_checkpoint(path or default_checkpoint(robot, wanted), robot)


def is_described(robot: Robot, wanted: str = "last_layer") -> bool:
    """Whether a robot has no trained weights for an adapter, and its description gives the prior instead."""
    file = default_checkpoint(robot, wanted)
    exists = file.exists() or file.with_suffix(".json").exists()
    return wanted == "last_layer" and not exists and bool(described_groups(robot.kind))


def remark_on_prior(robot: Robot, adapters: Sequence[str]) -> str:
    """A sentence for the user of adapters with the robot's default weights, if these are not its own; else empty."""
    if not any(is_described(robot, ADAPTERS.get(robot.kind, name).weights) for name in adapters):
        return ""
    return (
        f"{robot.name} has no trained weights: the prior of its context follows from its robot.yaml; "
        f"metarl train {robot.argument} trains its own"
    )


def _described(robot: Robot, wanted: str) -> Checkpoint:
    groups = described_groups(robot.kind)
    prior: dict[str, tuple[float, float]] = {}
    for name in groups:
        described = FEATURES.get(robot.kind, name).described_prior
        prior |= described(robot) if described is not None else {}
    mean, std = np.array(list(prior.values()), dtype=np.float64).T
    tensors = {"prior_mean": mean, "prior_covariance": np.diag(std**2)}
    return Checkpoint(tensors, {"adapter": wanted, "features": list(groups), "context_names": list(prior)})


def _none(robot: Robot, dynamics: Any, tuning: AdapterTuning, checkpoint: Checkpoint | None) -> Adapter:
    return NoAdaptation(dynamics)


def _disturbance_observer(robot: Robot, dynamics: Any, tuning: AdapterTuning, checkpoint: Checkpoint | None) -> Adapter:
    return _observer(dynamics, filter_tuning(robot, dynamics, tuning))


def _inertial(robot: Robot, dynamics: Any, tuning: AdapterTuning, checkpoint: Checkpoint) -> Adapter:
    return _filter(robot, dynamics, tuning, checkpoint, _inertial_of(robot, checkpoint))


def _inertial_of(robot: Robot, checkpoint: Checkpoint) -> tuple[str, ...]:
    """The inertial groups of which the prior is known."""
    known = (*checkpoint.meta["features"], *untrained_groups(robot.kind))
    return tuple(name for name in inertial_groups(robot.kind) if name in known)


def _last_layer(robot: Robot, dynamics: Any, tuning: AdapterTuning, checkpoint: Checkpoint) -> Adapter:
    return _filter(robot, dynamics, tuning, checkpoint, _trained_of(robot, checkpoint))


def _trained_of(robot: Robot, checkpoint: Checkpoint) -> tuple[str, ...]:
    """The groups of the checkpoint, and those that need no training."""
    return (*checkpoint.meta["features"], *untrained_groups(robot.kind))


def _filter(
    robot: Robot, dynamics: Any, tuning: AdapterTuning, checkpoint: Checkpoint, groups: Sequence[str]
) -> Adapter:
    prior, features = _prior(robot, dynamics, groups, checkpoint)
    noise = filter_tuning(robot, dynamics, tuning, features.jumps)
    unfamiliar = _unfamiliar(robot, groups, features, prior)
    made, spare = (MomentumFilter(dynamics, features, prior, noise, unfamiliar=unfamiliar) for _ in range(2))
    return ExternalWrenchGuard(made, spare, robot.velocity_limit) if features.bounded else made


def _prior(
    robot: Robot,
    dynamics: Any,
    groups: Sequence[str],
    checkpoint: Checkpoint,
    otherwise: Mapping[str, float] = NONE_UNTRAINED,
) -> tuple[Prior, FeatureMap]:
    """The checkpoint's prior of these groups, about the values that robot.yaml states, and the groups.

    otherwise: standard deviations, by name, of entries that the checkpoint may lack.
    """
    features = feature_map(robot, dynamics, groups, checkpoint)
    trained = marginal_prior(checkpoint, features, {**untrained_std(robot, dynamics, groups), **otherwise})
    stated = stated_mean(robot, groups, features)
    return Prior(np.where(np.isnan(stated), trained.mean, stated), trained.covariance), features


def _unfamiliar(robot: Robot, groups: Sequence[str], features: FeatureMap, prior: Prior) -> Prior | None:
    """Prior on a machine unlike those of the training; None: the same."""
    parts = zip(groups, _parts(features, prior), strict=True)
    std = np.concatenate([np.zeros(0), *(_unfamiliar_std(robot, *part) for part in parts)])
    differs = ~np.isnan(std)
    if not differs.any():
        return None
    mean = np.where(differs & np.isnan(stated_mean(robot, groups, features)), 0.0, prior.mean)
    covariance = prior.covariance.copy()
    covariance[differs], covariance[:, differs] = 0.0, 0.0
    covariance[differs, differs] = std[differs] ** 2
    return Prior(mean, covariance)


def stated_mean(robot: Robot, groups: Sequence[str], features: FeatureMap) -> Array:
    """Mean of the context (k,) that robot.yaml states; NaN where it states none."""
    made = [np.zeros(0)]
    for name, group in zip(groups, features.groups, strict=True):
        of = FEATURES.get(robot.kind, name).stated_mean
        mean = None if of is None else of(robot)
        made.append(np.full(len(group.names), np.nan) if mean is None else mean)
    return np.concatenate(made)


def _parts(features: FeatureMap, prior: Prior) -> list[Array]:
    """Standard deviation of the prior (k,) of each group."""
    std = iter(np.sqrt(np.diagonal(prior.covariance)))
    return [np.array([next(std) for _ in group.names]) for group in features.groups]


def _unfamiliar_std(robot: Robot, group: str, std: Array) -> Array:
    """Standard deviation (k,) of a group's entries on an unfamiliar machine; NaN: the prior holds there, too."""
    of = FEATURES.get(robot.kind, group).unfamiliar_std
    return np.full(len(std), np.nan) if of is None else of(robot, std)


def _regression(robot: Robot, dynamics: Any, tuning: AdapterTuning, checkpoint: Checkpoint) -> Adapter:
    """Regression on the inertial groups and motor strength, with priors of the checkpoint and wider ones."""
    features, unfamiliar, regression = _cell_regression(robot, dynamics, checkpoint)
    noise = replace(filter_tuning(robot, dynamics, tuning), forgetting_s=KNOWN_S)
    inner = MomentumFilter(dynamics, features, unfamiliar, noise)
    cells = StreamCells(dynamics, features, robot.control_period_s)
    return RegressionAdapter(inner, features, cells, regression, robot.effort_limit)


def _cell_regression(robot: Robot, dynamics: Any, checkpoint: Checkpoint) -> tuple[FeatureMap, Prior, CellRegression]:
    """Regressed groups and motor strength, their prior on an unfamiliar machine, and the regression on them."""
    groups, strengths = _regressed_of(robot, dynamics, checkpoint)
    described = _described_std(robot, MOTOR) if strengths else {}
    trained, features = _prior(robot, dynamics, groups, checkpoint, described)
    unfamiliar = _unfamiliar(robot, groups, features, trained) or trained
    scale = force_scale(robot)
    made = competing_priors(trained, unfamiliar, features.heavy_tailed, scale, strengths)
    return features, unfamiliar, CellRegression(made, scale, cell_length_s(robot.control_period_s), strengths)


def _regressed_of(robot: Robot, dynamics: Any, checkpoint: Checkpoint) -> tuple[tuple[str, ...], bool]:
    """Groups of which the prior is known, motor strength last, and whether each coordinate has a motor strength.

    Where rotors share the coordinates, strength is left out: a thrust does not tell it from a mass.
    """
    known = (*checkpoint.meta["features"], *untrained_groups(robot.kind))
    strengths = MOTOR in FEATURES.names(robot.kind)
    wanted = _inertial_of(robot, checkpoint) if strengths else regressed_groups(robot, dynamics)
    return (*(name for name in wanted if name in known), *((MOTOR,) if strengths else ())), strengths


def forecasting(robot: Robot, dynamics: Any, name: str, adapter: Adapter, checkpoint: Checkpoint | None) -> Adapter:
    """An adapter that also forecasts (forecasting_adapter.py).

    The adapter as it is if it has no momentum filter of trained features, or forecasts by itself.
    """
    if name not in _FILTERED or checkpoint is None:
        return adapter
    known, _, regression = _cell_regression(robot, dynamics, checkpoint)
    groups = _FILTERED[name](robot, checkpoint)
    more = tuple(group for group in _regressed_of(robot, dynamics, checkpoint)[0] if group not in groups)
    features = feature_map(robot, dynamics, (*groups, *more), checkpoint)
    regressed = np.array([features.names.index(entry) for entry in known.names])
    cells = StreamCells(dynamics, features, robot.control_period_s, robot.attitude)
    inner: Any = adapter
    error, held_s = prediction_error(robot, dynamics), () if robot.attitude is None else HELD_S
    return ForecastingAdapter(inner, features, regressed, cells, regression, force_scale(robot), error, held_s)


_FILTERED = {"inertial": _inertial_of, "last_layer": _trained_of}
"""Groups of the adapters with a momentum filter."""


def _described_std(robot: Robot, group: str) -> dict[str, float]:
    """Standard deviations of a group's entries without trained weights, by name; none if its kind states none."""
    described = FEATURES.get(robot.kind, group).described_prior
    return {} if described is None else {name: std for name, (_, std) in described(robot).items()}


NONE = AdapterSpec(_none, controller="nominal_mpc")
DISTURBANCE_OBSERVER = AdapterSpec(_disturbance_observer, controller="offset_free_mpc")
INERTIAL = AdapterSpec(_inertial, weights="last_layer")
LAST_LAYER = AdapterSpec(_last_layer, "last_layer", "metarl_robot.sim.learners:train_last_layer")
REGRESSION = AdapterSpec(_regression, "last_layer")
MOTOR = "motor"
"""The group of motor strength, which the regression replaces by columns of its own."""
KNOWN_S = 1e9
"""A context that is given to a filter does not become uncertain with time [s]."""


MAML_OBSERVER_RAD_S = 40.0
"""Bandwidth of the observer that measures the residual for MAML, in training and online."""


def residual_meter(robot: Robot, dynamics: Any, velocity_noise_rad_s: float) -> ResidualMeter:
    """Residual measurement for MAML: a filter without features, with a wide initial disturbance.

    Its noise levels are fixed: the shipped networks were trained with residuals measured so.
    """
    tuning = filter_tuning(robot, dynamics, AdapterTuning(MAML_OBSERVER_RAD_S, velocity_noise_rad_s))
    tuning = replace(tuning, drift_initial=0.1 * robot.effort_limit, noise_online=False)
    return ResidualMeter(dynamics, _observer(dynamics, tuning))


def _observer(dynamics: Any, tuning: FilterTuning) -> MomentumFilter:
    """Momentum observer: a filter without features."""
    return MomentumFilter(dynamics, FeatureMap(dynamics, ()), Prior(np.zeros(0), np.zeros((0, 0))), tuning)


def maml_adapter(
    robot: Robot, dynamics: Any, inputs: NetworkInputs, tuning: AdapterTuning, checkpoint: Checkpoint
) -> MamlAdapter:
    """Build MAML's network from the checkpoint's tensors network.* and step.*, for a kind with these inputs."""

    def layers(role: str) -> Layers:
        names = [f"{role}.{i}" for i in range(len(checkpoint.tensors)) if f"{role}.{i}.weight" in checkpoint.tensors]
        return Layers(*([checkpoint.tensors[f"{name}.{part}"] for name in names] for part in ("weight", "bias")))

    meter, scale = residual_meter(robot, dynamics, tuning.velocity_noise_rad_s), checkpoint.tensors["output_scale"]
    return MamlAdapter(inputs, meter, layers("network"), layers("step"), scale, int(checkpoint.meta["inner_steps"]))


def untrained_std(robot: Robot, dynamics: Any, groups: Sequence[str]) -> dict[str, float]:
    """Standard deviation of the entries that no checkpoint holds, by name."""
    std: dict[str, float] = {}
    for name in groups:
        spec = FEATURES.get(robot.kind, name)
        if spec.prior_std is not None:
            std |= dict(zip(spec.build(robot, dynamics, None).names, spec.prior_std(robot, dynamics), strict=True))
    return std


def marginal_prior(
    checkpoint: Checkpoint, features: FeatureMap, untrained: Mapping[str, float] = NONE_UNTRAINED
) -> Prior:
    """Prior over these features' part of the checkpoint's context, in the robot's units.

    untrained: standard deviation of further entries, by name; see FeatureSpec.prior_std.
    """
    tensors = checkpoint.tensors
    trained, means, covariances = with_alike(
        checkpoint.meta["context_names"], tensors["prior_mean"], tensors["prior_covariance"], features.groups
    )
    known = [*trained, *untrained]
    missing = [name for name in features.names if name not in known]
    if missing:
        raise CheckpointError(f"the weights have no prior of {', '.join(missing)}: train them with these features")
    chosen, scale = [known.index(name) for name in features.names], features.scale
    mean = np.concatenate([means, np.zeros(len(untrained))])
    covariance = block_diag(covariances, np.diag(np.square(list(untrained.values()))))
    return Prior(scale * mean[chosen], scale[:, None] * covariance[np.ix_(chosen, chosen)] * scale)


def filter_tuning(robot: Robot, dynamics: Any, tuning: AdapterTuning, jumps: tuple[Jump, ...] = ()) -> FilterTuning:
    """Noise levels of the robot's kind, and the possible jumps of the context."""
    made: FilterTuning = named(robot.filter_tuning)(robot, dynamics, tuning)
    missed = tuning.missed_force_bandwidth_rad_s
    return replace(
        made,
        jumps=jumps,
        missed_force_bandwidth_rad_s=missed,
        start_s=tuning.start_s,
        latency_s=tuning.latency_s,
    )
