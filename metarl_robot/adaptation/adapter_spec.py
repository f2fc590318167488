# SPDX-License-Identifier: Apache-2.0
"""The registry of adapters: construction, required weights and controller of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from metarl_robot.adaptation.base import Adapter
from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.registry import Registry
from metarl_robot.core.robot import kind_of

META = "meta_mpc"
"""The controller that takes any adapter, by the key `adapter` of its configuration."""
_OF_EVERY_KIND = {
    "none": "metarl_robot.adaptation.factory:NONE",
    "disturbance_observer": "metarl_robot.adaptation.factory:DISTURBANCE_OBSERVER",
    "inertial": "metarl_robot.adaptation.factory:INERTIAL",
    "last_layer": "metarl_robot.adaptation.factory:LAST_LAYER",
}


@dataclass(frozen=True)
class AdapterSpec:
    """One adapter.

    build: (robot, its dynamics, AdapterTuning, Checkpoint or None) -> Adapter.
    weights: adapter for which the weights that it needs are trained: 'last_layer', 'maml'; empty: it needs none.
    learner: function that trains these weights, as 'module:name' (sim/learners.py): (robot, TrainConfig, DataSet,
        TrainingLoop) -> Trained. Empty: no weights are trained for this adapter itself.
    controller: controller that uses it, with the tuning for it in its configuration.
    kinds: kinds of robots that it serves; None: all.
    """

    build: Callable[[Any, Any, Any, Any], Adapter]
    weights: str = ""
    learner: str = ""
    controller: str = META
    kinds: tuple[str, ...] | None = None


ADAPTERS: Registry[AdapterSpec] = Registry(
    "adapter", "metarl_robot.adapters", AdapterSpec, lambda kind: {**_OF_EVERY_KIND, **kind_of(kind).adapters}
)


def adapter_of_choice(kind: str, name: str, users: tuple[str, ...] = (META,)) -> str:
    """The name of an adapter that one of the controllers `users` uses.

    Raises ValueError, for a pydantic validator, with the valid names.
    """
    try:
        spec = ADAPTERS.get(kind, name)
    except UnknownNameError as error:
        raise ValueError(str(UnknownNameError("adapter", name, _choices(kind, users)))) from error
    except MetaRLError as error:
        raise ValueError(str(error)) from error
    if spec.controller not in users:
        raise ValueError(f"adapter '{name}' is used by {spec.controller}. Valid: {', '.join(_choices(kind, users))}.")
    return name


def _choices(kind: str, users: tuple[str, ...]) -> list[str]:
    return [name for name in ADAPTERS.names(kind) if _controller(kind, name) in users]


def _controller(kind: str, name: str) -> str:
    try:
        return ADAPTERS.get(kind, name).controller
    except MetaRLError:  # another package's; its use reports the error
        return META


def trained_adapters(kind: str) -> tuple[str, ...]:
    """Names of the adapters with a learner of their own."""
    return tuple(name for name in ADAPTERS.names(kind) if ADAPTERS.get(kind, name).learner)
