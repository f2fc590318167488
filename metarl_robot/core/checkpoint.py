# SPDX-License-Identifier: Apache-2.0
"""Trained weights of a robot on disk: `<name>.safetensors`, with their record beside it in `<name>.json`.

The JSON record holds the origin of the weights (configuration, seed, data hash, command), the scores and the SHA-256
of the weights. Neither file can execute code; other formats (a pickle, say) are refused unread. The two files change
together (core/weight_files.py).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.checkpoint_check import check_record, check_tensors, shown
from metarl_robot.core.errors import CheckpointError
from metarl_robot.core.robot import MODELS_DIR, Robot
from metarl_robot.core.weight_files import (
    FORMAT,
    check_suffix,
    read_record,
    read_weights,
    to_bytes,
    to_tensors,
    write_pair,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name and the record of their training.

    meta: format, robot, joint_names, adapter ('last_layer', 'maml' …), and the training's entries: config, seed,
    data_sha256, command, scores. It includes sha256, the hash of the safetensors file.
    """

    tensors: dict[str, Array]
    meta: dict[str, Any]

    @property
    def adapter(self) -> str:
        return str(self.meta["adapter"])


def default_checkpoint(robot: Robot, adapter: str = "last_layer") -> Path:
    """Path of a robot's shipped weights.

    The file is models/<robot>/dynamics.safetensors, or dynamics_maml.safetensors for MAML. A robot without one uses
    its family's file if its kind has a family.
    """
    name = "dynamics.safetensors" if adapter == "last_layer" else f"dynamics_{adapter}.safetensors"
    own = robot.folder / name
    family = own if robot.family_model is None else MODELS_DIR / robot.family_model / name
    return family if family.is_file() and not own.is_file() else own


def save_checkpoint(
    path: Path, robot: Robot, adapter: str, tensors: dict[str, Array], record: dict[str, Any]
) -> Checkpoint:
    """Write weights and record as one pair.

    Raises:
        CheckpointError: `load_checkpoint` would refuse the weights; nothing is written.
        OSError: a file cannot be written; the pair is unchanged.
    """
    content = to_bytes(tensors)
    meta = {
        "format": FORMAT,
        "robot": robot.name,
        "joint_names": list(robot.channel_names),
        "adapter": adapter,
        **record,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    check_record(path.with_suffix(".json"), meta)
    _tensors_of(path, content, meta, robot)
    write_pair(path, content, meta)
    return Checkpoint(tensors, meta)


def load_checkpoint(path: Path, robot: Robot | None = None) -> Checkpoint:
    """Read and verify a checkpoint.

    With `robot`, also check that it was trained for that robot.

    Raises:
        CheckpointError: missing, not safetensors, truncated, altered since it was written, trained for another robot,
        or its tensors do not fit its record.
    """
    path = Path(path)
    check_suffix(path)
    command = f"metarl train {robot.argument if robot else 'ROBOT'}"
    record = path.with_suffix(".json")
    meta = read_record(record, command)
    check_record(record, meta)
    content = read_weights(path, meta["sha256"], command)
    own = robot is None or (meta["robot"], tuple(meta["joint_names"])) == (robot.name, robot.channel_names)
    if robot is not None and not own and meta["robot"] != robot.family_model:
        trained = f"robot {shown(meta['robot'])} with joints {shown(meta['joint_names'], 200)}"
        raise CheckpointError(f"{path}: trained for {trained}; this is '{robot.name}'")
    return Checkpoint(_tensors_of(path, content, meta, robot), meta)


def _tensors_of(path: Path, content: bytes, meta: dict[str, Any], robot: Robot | None) -> dict[str, Array]:
    tensors = to_tensors(path, content)
    check_tensors(path, tensors, meta, robot)
    return tensors
