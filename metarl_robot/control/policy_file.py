# SPDX-License-Identifier: Apache-2.0
"""Policies on disk: `<name>.safetensors` with its record `<name>.json` (core/weight_files.py).

The record holds family, algorithm, configuration, command, scores and the SHA-256 of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metarl_robot.control.policy_layout import shapes_of
from metarl_robot.core.errors import CheckpointError
from metarl_robot.core.validation import faults
from metarl_robot.core.weight_files import check_suffix, read_record, read_weights, to_tensors


class Widths(BaseModel):
    """The part of a training's configuration that says how large the network is."""

    model_config = ConfigDict(extra="allow", frozen=True)

    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(min_length=1, max_length=5)


class PolicyRecord(BaseModel):
    """What is needed of a policy's record to run it; the record holds more."""

    model_config = ConfigDict(extra="allow", frozen=True)

    family: str = Field(min_length=1, max_length=200)
    algo: str = Field(min_length=1, max_length=200)
    observations: int = Field(ge=1, le=10000)
    actions: int = Field(ge=1, le=1000)
    config: Widths
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


@dataclass(frozen=True)
class PolicyFile:
    """Parameters by name (policy_layout.py), the checked record, and all of its entries."""

    tensors: dict[str, NDArray[np.float32]]
    record: PolicyRecord
    meta: dict[str, Any]


def read_policy(path: Path, family: str | None = None, argument: str = "") -> PolicyFile:
    """Read and verify a policy.

    Arguments:
        family: also check that it was trained on this family.
        argument: what `metarl train-policy` takes for the family, where that is not its name.

    Raises:
        CheckpointError: missing, not safetensors, altered since it was written, of another family, or its tensors do
        not fit its record.
    """
    check_suffix(path)
    command = f"metarl train-policy {argument or family or 'FAMILY'}"
    meta = read_record(path.with_suffix(".json"), command)
    if "family" not in meta:
        raise CheckpointError(f"{path}: no policy, but weights of another sort; train a policy with: {command}")
    found = checked_policy(path, read_weights(path, str(meta.get("sha256")), command), meta)
    if family is not None and found.record.family != family:
        raise CheckpointError(f"{path}: trained on task family '{found.record.family}'; this is '{family}'")
    return found


def checked_policy(path: Path, content: bytes, meta: dict[str, Any]) -> PolicyFile:
    """The policy of a safetensors file's content and its record. Raises CheckpointError."""
    try:
        record = PolicyRecord.model_validate(meta)
    except ValidationError as error:
        raise CheckpointError(f"{path.with_suffix('.json')}: {faults(error, PolicyRecord)}") from error
    tensors = {name: tensor.astype(np.float32) for name, tensor in to_tensors(path, content).items()}
    expected = shapes_of(record.algo, record.observations, record.actions, record.config.hidden)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != expected:
        raise CheckpointError(f"{path}: its tensors have the shapes {found}; its record says {expected}")
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"{path}: tensor '{name}' has values that are not finite; train again")
    return PolicyFile(tensors, record, meta)
