# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the GrBAL suite: `<environment>.safetensors` with its record `<environment>.json`.

Tensors: meta.network.*, meta.step.*, plain.network.*, plain.step.* (learning/grbal/models.py) and mean, std, change
(n,) of the observations. The record holds environment, configuration, command, seed, hash of the data and samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metarl_robot.control.adaptive_model import Scaling, Trained
from metarl_robot.core.errors import CheckpointError
from metarl_robot.core.robot import MODELS_DIR
from metarl_robot.core.validation import faults
from metarl_robot.core.weight_files import (
    FORMAT,
    check_suffix,
    read_record,
    read_weights,
    to_bytes,
    to_tensors,
    write_pair,
)
from metarl_robot.learning.grbal.config import GrbalConfig
from metarl_robot.learning.grbal.environment import AdaptationFamily

Array = NDArray[np.float64]

MODELS = ("adapted", "unadapted", "plain", "fine_tuned")
"""The meta-trained network with and without its gradient steps; the plainly trained one without and with them."""
_NETWORK_OF = {"adapted": "meta", "unadapted": "meta", "plain": "plain", "fine_tuned": "plain"}
_STILL = ("unadapted", "plain")


class GrbalRecord(BaseModel):
    """What a record must hold; it may hold more."""

    model_config = ConfigDict(extra="allow", frozen=True)

    environment: str = Field(min_length=1, max_length=200)
    observations: int = Field(ge=1, le=10000)
    actions: int = Field(ge=1, le=1000)
    fine_tuning_steps: int = Field(ge=1, le=100)
    transitions: int = Field(ge=1)
    simulated_hours: float = Field(gt=0.0, allow_inf_nan=False)
    config: GrbalConfig
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


@dataclass(frozen=True)
class GrbalCheckpoint:
    """Tensors, the checked record, and all of its entries."""

    tensors: dict[str, Array]
    record: GrbalRecord
    meta: dict[str, Any]

    def trained(self, model: str) -> Trained:
        """One of MODELS."""
        from metarl_robot.learning.grbal.models import trained_of

        network = _NETWORK_OF[model]
        prefix = f"{network}."
        own = {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}
        scaling = Scaling(*(self.tensors[name] for name in ("mean", "std", "change")))
        steps = self.record.config.inner_steps if network == "meta" else self.record.fine_tuning_steps
        trained = trained_of(own, steps, scaling)
        return replace(trained, steps=0) if model in _STILL else trained


def shipped(environment: str) -> Path:
    """Path of the weights that are shipped for an environment. Raises CheckpointError."""
    path = MODELS_DIR / "grbal" / f"{environment}.safetensors"
    if not path.is_file():
        raise CheckpointError(
            f"environment '{environment}': no weights are shipped; train some with: metarl train-grbal {environment}, "
            "and give the file with --checkpoint"
        )
    return path


def save_grbal(path: Path, tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> GrbalCheckpoint:
    """Write weights and record as one pair.

    Raises:
        CheckpointError: `load_grbal` would refuse them; nothing is written.
    """
    content = to_bytes(tensors)
    meta = {"format": FORMAT, **facts, "sha256": hashlib.sha256(content).hexdigest()}
    checked = _checked(path, content, meta)
    write_pair(path, content, meta)
    return checked


def load_grbal(path: Path, family: AdaptationFamily | None = None) -> GrbalCheckpoint:
    """Read and verify a checkpoint.

    Arguments:
        family: also check that it was trained in this environment.

    Raises:
        CheckpointError: missing, not safetensors, altered since it was written, of another environment, or its
        tensors do not fit its record.
    """
    check_suffix(path)
    command = f"metarl train-grbal {family.name if family else 'ENVIRONMENT'}"
    meta = read_record(path.with_suffix(".json"), command)
    if "environment" not in meta:
        raise CheckpointError(f"{path}: weights of another sort; train those of an environment with: {command}")
    found = _checked(path, read_weights(path, str(meta.get("sha256")), command), meta)
    if family is not None and found.record.environment != family.name:
        raise CheckpointError(f"{path}: trained in environment '{found.record.environment}'; this is '{family.name}'")
    return found


def _checked(path: Path, content: bytes, meta: dict[str, Any]) -> GrbalCheckpoint:
    try:
        record = GrbalRecord.model_validate(meta)
    except ValidationError as error:
        raise CheckpointError(f"{path.with_suffix('.json')}: {faults(error, GrbalRecord)}") from error
    tensors = to_tensors(path, content)
    expected, found = _shapes(record), {name: tensor.shape for name, tensor in tensors.items()}
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            given = f"tensor '{name[:80]}' has the shape {found.get(name)}"
            raise CheckpointError(f"{path}: {given}; its record says {expected.get(name)}")
        if not np.isfinite(tensors[name]).all():
            raise CheckpointError(f"{path}: tensor '{name}' has values that are not finite; train again")
    for name in ("std", "change"):
        if tensors[name].min() <= 0.0:
            raise CheckpointError(f"{path}: tensor '{name}' has values that are not positive; train again")
    return GrbalCheckpoint(tensors, record, meta)


def _shapes(record: GrbalRecord) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors."""
    n = record.observations
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("mean", "std", "change"), (n,))
    for i, (given, made) in enumerate(pairwise((n + record.actions, *record.config.hidden, n))):
        for network in set(_NETWORK_OF.values()):
            shapes[f"{network}.network.{i}.weight"], shapes[f"{network}.network.{i}.bias"] = (made, given), (made,)
            shapes |= {f"{network}.step.{i}.weight": (1,), f"{network}.step.{i}.bias": (1,)}
    return shapes
