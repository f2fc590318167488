# SPDX-License-Identifier: Apache-2.0
"""The registry of feature groups. A group is one file: its class, and a FeatureSpec that a kind or a package names.

The class (features.py: BaseGroup) has value, Jacobian, impulse, the unit of its prior and whether it may jump. The spec
builds it and gives its true value in simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import BaseGroup, FeatureGroup, FeatureMap
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.registry import Registry
from metarl_robot.core.robot import Robot, kind_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureSpec:
    """One feature group.

    build: (robot, its dynamics, Checkpoint or None) -> FeatureGroup.
    truth: (robot, simulated task) -> (k,) its true coefficients. It reads the task's attributes. None: the group has no
        true value, because it is learned from the residual alone.
    inertial: whether the adapter 'inertial', the baseline without learned features, has it.
    regressed: whether a regression over cells (cell_regression.py) has it, as it has the inertial groups that do not
        scale efforts.
    prior_std: (robot, its dynamics) -> (k,) standard deviation of a group that simulation does not vary (mean zero). It
        is estimated beside those of a checkpoint. None: the checkpoint has the prior.
    unfamiliar_std: (robot, (k,) standard deviation of the prior) -> (k,) wider one for a machine unlike the training
        machines (mean zero). None: the prior also holds there.
    stated_mean: (robot) -> (k,) mean of the prior on this robot, from its robot.yaml; None where that states none.
    described_prior: robot -> mean and standard deviation of each entry by name, from the robot's description. It is the
        prior where there are no trained weights. None: such a robot does without the group.
    kinds: kinds of robots that it serves; None: all.
    """

    build: Callable[[Any, Any, Checkpoint | None], FeatureGroup]
    truth: Callable[[Any, Any], Array] | None = None
    inertial: bool = False
    regressed: bool = False
    prior_std: Callable[[Any, Any], Array] | None = None
    unfamiliar_std: Callable[[Any, Array], Array] | None = None
    stated_mean: Callable[[Any], Array | None] | None = None
    described_prior: Callable[[Any], Mapping[str, tuple[float, float]]] | None = None
    kinds: tuple[str, ...] | None = None


FEATURES: Registry[FeatureSpec] = Registry(
    "feature group", "metarl_robot.features", FeatureSpec, lambda kind: kind_of(kind).features
)


def feature_map(robot: Robot, dynamics: Any, groups: Sequence[str], checkpoint: Checkpoint | None = None) -> FeatureMap:
    """The named feature groups side by side. Learned groups read their weights from the checkpoint."""
    return FeatureMap(dynamics, feature_groups(robot, dynamics, groups, checkpoint))


def feature_groups(
    robot: Robot, dynamics: Any, groups: Sequence[str], checkpoint: Checkpoint | None = None
) -> tuple[FeatureGroup, ...]:
    """Build the named feature groups.

    Raises:
        UnknownNameError: no such group for this kind of robot.
        MetaRLError: a group is incomplete; the message names the missing parts.
    """
    return tuple(_complete(name, FEATURES.get(robot.kind, name).build(robot, dynamics, checkpoint)) for name in groups)


def raw_groups(kind: str) -> tuple[str, ...]:
    """Names of the groups with a true value in simulation, on which models are trained."""
    return tuple(name for name in FEATURES.names(kind) if FEATURES.get(kind, name).truth is not None)


def nuisance_groups(robot: Robot, dynamics: Any) -> tuple[str, ...]:
    """Names of the raw groups that training accounts for, and that no checkpoint holds."""
    names = raw_groups(robot.kind)
    return tuple(
        name for name, group in zip(names, feature_groups(robot, dynamics, names), strict=True) if group.nuisance
    )


def inertial_groups(kind: str) -> tuple[str, ...]:
    """Names of the groups of the adapter 'inertial'."""
    return tuple(name for name in FEATURES.names(kind) if FEATURES.get(kind, name).inertial)


def regressed_groups(robot: Robot, dynamics: Any) -> tuple[str, ...]:
    """Names of the groups of a regression over cells that have a true value in simulation."""
    specs = {name: FEATURES.get(robot.kind, name) for name in raw_groups(robot.kind)}
    names = tuple(name for name, spec in specs.items() if spec.inertial or spec.regressed)
    groups = feature_groups(robot, dynamics, names)
    return tuple(
        name
        for name, group in zip(names, groups, strict=True)
        if not np.any(group.effort_gain(np.ones(len(group.names))))
    )


def untrained_groups(kind: str) -> tuple[str, ...]:
    """Names of the groups with a prior of their own, which no checkpoint holds."""
    return tuple(name for name in FEATURES.names(kind) if FEATURES.get(kind, name).prior_std is not None)


def described_groups(kind: str) -> tuple[str, ...]:
    """Names of the groups whose prior follows from a robot's description."""
    return tuple(name for name in FEATURES.names(kind) if FEATURES.get(kind, name).described_prior is not None)


def true_contexts(robot: Robot, tasks: Sequence[Any], names: Sequence[str], groups: Sequence[FeatureGroup]) -> Array:
    """True coefficients (T, n_z) of the named groups under T simulated tasks.

    groups: those of `feature_groups` with these names.

    Raises:
        MetaRLError: a group has no true value, or one of another size than its names.
    """
    columns = [_true_values(robot, tasks, name, len(group.names)) for name, group in zip(names, groups, strict=True)]
    return np.concatenate([np.zeros((len(tasks), 0)), *columns], axis=1)


def _true_values(robot: Robot, tasks: Sequence[Any], name: str, size: int) -> Array:
    truth = _truth(robot.kind, name)
    values = [np.asarray(truth(robot, task), dtype=np.float64) for task in tasks]
    wrong = next((value.shape for value in values if value.shape != (size,)), None)
    if wrong is not None:
        raise MetaRLError(
            f"feature group '{name}': its truth must have the shape ({size},) of its names; given {wrong}"
        )
    return np.stack(values)


def _truth(kind: str, name: str) -> Callable[[Any, Any], Array]:
    truth = FEATURES.get(kind, name).truth
    if truth is None:
        raise MetaRLError(
            f"feature group '{name}' has no true value in simulation (FeatureSpec.truth); "
            f"groups of kind {kind} that have one: {', '.join(raw_groups(kind))}"
        )
    return truth


_MOMENTUM_FORM = ("impulse", "impulses", "value")
"""Methods that a group overrides if it has no `design`."""


def _complete(name: str, group: Any) -> FeatureGroup:
    """The group. Raises MetaRLError if parts are missing."""
    missing = [part for part in _PARTS if not hasattr(group, part)]
    if getattr(type(group), "design", None) is BaseGroup.design:
        left = [part for part in _MOMENTUM_FORM if getattr(type(group), part) is getattr(BaseGroup, part)]
        missing += ["design (or instead: " + ", ".join(left) + ")"] if left else []
    if missing:
        raise MetaRLError(
            f"feature group '{name}': its {type(group).__name__} is incomplete; missing: {', '.join(missing)}. "
            "A subclass of BaseGroup (adaptation/features.py) defines names and design."
        )
    made: FeatureGroup = group
    return made


_PARTS = tuple(
    sorted(part for part in (*FeatureGroup.__annotations__, *vars(FeatureGroup)) if not part.startswith("_"))
)
"""Attributes and methods of a feature group."""
