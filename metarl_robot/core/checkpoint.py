# SPDX-License-Identifier: Apache-2.0
"""Trained weights on disk: `<name>.safetensors`, with their record beside it in `<name>.json`.

The JSON record holds the origin of the weights (configuration, seed, data hash, command), the scores and the SHA-256
of the weights. Neither file can execute code; other formats (a pickle, say) are refused unread.

The two files change together, also if the process is killed in between:
1. New weights are written beside the old ones as `<name>.safetensors.next`.
2. The record, which holds their hash, is replaced. From now on the new weights are the checkpoint's.
3. The new weights are renamed to `<name>.safetensors`.

Reading and writing use the `.next` file if the record holds its hash.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from metarl_robot.core.atomic import replace_file
from metarl_robot.core.checkpoint_check import (
    RECORD_BYTES,
    WEIGHT_BYTES,
    check_header,
    check_record,
    check_tensors,
    shown,
    strict_json,
)
from metarl_robot.core.errors import CheckpointError
from metarl_robot.core.robot import MODELS_DIR, Robot

Array = NDArray[np.float64]

FORMAT = 1


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
    """Write weights and record as one pair, in the order that the module's docstring gives.

    Raises:
        CheckpointError: `load_checkpoint` would refuse the weights; nothing is written.
        OSError: a file cannot be written; the pair is unchanged.
    """
    content = save_safetensors({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    meta = {
        "format": FORMAT,
        "robot": robot.name,
        "joint_names": list(robot.channel_names),
        "adapter": adapter,
        **record,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    record_path, following = path.with_suffix(".json"), _next(path)
    check_record(record_path, meta)
    _tensors_of(path, content, meta, robot)
    text = json.dumps(meta, indent=2) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    if record_path.is_file() and following.is_file():
        _complete(path, record_path)
    replace_file(following, content)
    replace_file(record_path, text.encode())
    os.replace(following, path)
    return Checkpoint(tensors, meta)


def _next(path: Path) -> Path:
    return path.with_name(path.name + ".next")


def _complete(path: Path, record: Path) -> None:
    """Rename the `.next` weights of a killed process if the record holds their hash."""
    try:
        named = _read_record(record)["sha256"]
    except CheckpointError:  # the record will be replaced
        return
    if hashlib.sha256(_next(path).read_bytes()).hexdigest() == named:
        os.replace(_next(path), path)


def load_checkpoint(path: Path, robot: Robot | None = None) -> Checkpoint:
    """Read and verify a checkpoint.

    With `robot`, also check that it was trained for that robot.

    Raises:
        CheckpointError: missing, not safetensors, truncated, altered since it was written, trained for another robot,
        or its tensors do not fit its record.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path}: refused: checkpoints are .safetensors files (formats that can execute code are never read)"
        )
    record = path.with_suffix(".json")
    meta = _read_record(record, robot)
    content = _weights(path, record, meta["sha256"], robot)
    own = robot is None or (meta["robot"], tuple(meta["joint_names"])) == (robot.name, robot.channel_names)
    if robot is not None and not own and meta["robot"] != robot.family_model:
        trained = f"robot {shown(meta['robot'])} with joints {shown(meta['joint_names'], 200)}"
        raise CheckpointError(f"{path}: trained for {trained}; this is '{robot.name}'")
    return Checkpoint(_tensors_of(path, content, meta, robot), meta)


def _weights(path: Path, record: Path, sha256: str, robot: Robot | None) -> bytes:
    """Bytes of the weights with the record's hash, from their file or from the `.next` file of a killed writer."""
    for candidate in (path, _next(path), path):  # the first again: a writer may have renamed the files meanwhile
        if candidate.is_file():
            content = _read(candidate, WEIGHT_BYTES, robot)
            if hashlib.sha256(content).hexdigest() == sha256:
                return content
    _check_file(path, robot)
    raise CheckpointError(
        f"{path}: its SHA-256 is not the one in {record.name}: truncated or altered; restore both or train again"
    )


def _tensors_of(path: Path, content: bytes, meta: dict[str, Any], robot: Robot | None) -> dict[str, Array]:
    check_header(path, content)
    try:
        loaded = load_safetensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file: {str(error)[:200]}") from error
    tensors = {name: np.asarray(tensor, dtype=float) for name, tensor in loaded.items()}
    check_tensors(path, tensors, meta, robot)
    return tensors


def _read_record(path: Path, robot: Robot | None = None) -> dict[str, Any]:
    meta = strict_json(path, _read(path, RECORD_BYTES, robot))
    if meta.get("format") != FORMAT:
        given = shown(meta.get("format"))
        raise CheckpointError(f"{path}: format {given} is not known; allowed: {FORMAT}")
    check_record(path, meta)
    return meta


def _read(path: Path, most: int, robot: Robot | None) -> bytes:
    _check_file(path, robot)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise CheckpointError(f"{path}: larger than {most // 2**20} MiB, the most that is read")
    return content


def _check_file(path: Path, robot: Robot | None) -> None:
    if not path.is_file():
        trained = robot.argument if robot else "ROBOT"
        raise CheckpointError(f"{path}: no such file; train one with: metarl train {trained}")
