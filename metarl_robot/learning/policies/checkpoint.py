# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of policies for training and evaluation: control/policy_file.py, with the whole training configuration.

Torch is not needed to read them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from metarl_robot.control.policy_file import PolicyRecord, checked_policy, read_policy
from metarl_robot.core.errors import CheckpointError, UnknownNameError
from metarl_robot.core.robot import MODELS_DIR
from metarl_robot.core.validation import faults
from metarl_robot.core.weight_files import FORMAT, to_bytes, write_pair
from metarl_robot.learning.policies.config import PolicyConfig
from metarl_robot.learning.policies.family import Family


class Record(PolicyRecord):
    """What a policy's record must hold; it may hold more."""

    inner_rate: float = Field(gt=0.0, allow_inf_nan=False)
    config: PolicyConfig  # type: ignore[assignment]


@dataclass(frozen=True)
class PolicyCheckpoint:
    """Parameters by name (control/policy_layout.py), the checked record, and all of its entries."""

    tensors: dict[str, NDArray[np.float32]]
    record: Record
    meta: dict[str, Any]


def shipped(family: Family, algo: str | None = None) -> Path:
    """Path of the weights that are shipped for a family.

    Arguments:
        algo: the algorithm that trained them; None: maml_pg, or the family's only one.

    Raises:
        CheckpointError: there are none for this family.
        UnknownNameError: not of this algorithm.
    """
    files = (MODELS_DIR / "policies" / family.name).glob("*.safetensors")
    found = family.weights or {path.stem: path for path in files}
    if not found:
        raise CheckpointError(
            f"task family '{family.name}': no weights are shipped; train some with: metarl train-policy "
            f"{family.argument}, and give the file as CHECKPOINT"
        )
    chosen = algo or (PolicyConfig().algo if len(found) > 1 else next(iter(found)))
    if chosen not in found:
        raise UnknownNameError("algorithm of shipped weights", chosen, found, f"task family {family.name}")
    return found[chosen]


def save_policy(path: Path, tensors: Mapping[str, NDArray[np.float32]], facts: Mapping[str, Any]) -> PolicyCheckpoint:
    """Write weights and record as one pair.

    Raises:
        CheckpointError: `load_policy` would refuse them; nothing is written.
    """
    content = to_bytes(tensors)
    meta = {"format": FORMAT, **facts, "sha256": hashlib.sha256(content).hexdigest()}
    checked = PolicyCheckpoint(checked_policy(path, content, meta).tensors, _record(path, meta), meta)
    write_pair(path, content, meta)
    return checked


def load_policy(path: Path, family: str | None = None) -> PolicyCheckpoint:
    """Read and verify a policy.

    Arguments:
        family: also check that it was trained on this family.

    Raises:
        CheckpointError: as read_policy; or the record lacks the configuration of a training.
    """
    read = read_policy(path, family)
    return PolicyCheckpoint(read.tensors, _record(path, read.meta), read.meta)


def _record(path: Path, meta: dict[str, Any]) -> Record:
    try:
        return Record.model_validate(meta)
    except ValidationError as error:
        raise CheckpointError(f"{path.with_suffix('.json')}: {faults(error, Record)}") from error
