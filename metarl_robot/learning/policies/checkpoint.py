# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of policies: `<name>.safetensors` with its record `<name>.json` (core/weight_files.py).

The record holds family, algorithm, configuration, command, scores and the SHA-256 of the weights; torch is not needed
to read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metarl_robot.core.errors import CheckpointError, UnknownNameError
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
from metarl_robot.learning.policies.config import PolicyConfig
from metarl_robot.learning.policies.layout import shapes


class Record(BaseModel):
    """What a policy's record must hold; it may hold more."""

    model_config = ConfigDict(extra="allow", frozen=True)

    family: str = Field(min_length=1, max_length=200)
    algo: str = Field(min_length=1, max_length=200)
    observations: int = Field(ge=1, le=10000)
    actions: int = Field(ge=1, le=1000)
    inner_rate: float = Field(gt=0.0, allow_inf_nan=False)
    config: PolicyConfig
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


@dataclass(frozen=True)
class PolicyCheckpoint:
    """Parameters by name (layout.py), the checked record, and all of its entries."""

    tensors: dict[str, NDArray[np.float32]]
    record: Record
    meta: dict[str, Any]


def shipped(family: str, algo: str) -> Path:
    """Path of the weights that are shipped for a family.

    Raises:
        CheckpointError: there are none for this family.
        UnknownNameError: not of this algorithm.
    """
    folder = MODELS_DIR / "policies" / family
    names = [path.stem for path in folder.glob("*.safetensors")]
    if not names:
        raise CheckpointError(
            f"task family '{family}': no weights are shipped; train some with: metarl train-policy {family}, "
            "and give the file as CHECKPOINT"
        )
    if algo not in names:
        raise UnknownNameError("algorithm of shipped weights", algo, names, f"task family {family}")
    return folder / f"{algo}.safetensors"


def save_policy(path: Path, tensors: Mapping[str, NDArray[np.float32]], facts: Mapping[str, Any]) -> PolicyCheckpoint:
    """Write weights and record as one pair.

    Raises:
        CheckpointError: `load_policy` would refuse them; nothing is written.
    """
    content = to_bytes(tensors)
    meta = {"format": FORMAT, **facts, "sha256": hashlib.sha256(content).hexdigest()}
    checked = _checked(path, content, meta)
    write_pair(path, content, meta)
    return checked


def load_policy(path: Path, family: str | None = None) -> PolicyCheckpoint:
    """Read and verify a policy.

    Arguments:
        family: also check that it was trained on this family.

    Raises:
        CheckpointError: missing, not safetensors, altered since it was written, of another family, or its tensors do
        not fit its record.
    """
    check_suffix(path)
    command = f"metarl train-policy {family or 'FAMILY'}"
    meta = read_record(path.with_suffix(".json"), command)
    loaded = _checked(path, read_weights(path, str(meta.get("sha256")), command), meta)
    if family is not None and loaded.record.family != family:
        raise CheckpointError(f"{path}: trained on task family '{loaded.record.family}'; this is '{family}'")
    return loaded


def _checked(path: Path, content: bytes, meta: dict[str, Any]) -> PolicyCheckpoint:
    try:
        record = Record.model_validate(meta)
    except ValidationError as error:
        raise CheckpointError(f"{path.with_suffix('.json')}: {faults(error, Record)}") from error
    tensors = {name: tensor.astype(np.float32) for name, tensor in to_tensors(path, content).items()}
    expected = shapes(record.observations, record.actions, record.config.hidden)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != expected:
        raise CheckpointError(f"{path}: its tensors have the shapes {found}; its record says {expected}")
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"{path}: tensor '{name}' has values that are not finite; train again")
    return PolicyCheckpoint(tensors, record, meta)
