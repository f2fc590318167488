"""Trained weights on disk: `<name>.safetensors` with a `<name>.json` beside it that says where they come from.

The JSON holds what made them (configuration, seed, data hash, command), the scores and the SHA-256 of the weights. Nothing in
either file can execute code; anything else (a pickle, say) is refused unread.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from metarl_robot.errors import CheckpointError
from metarl_robot.robot import MODELS_DIR, Robot

Array = NDArray[np.float64]

FORMAT = 1
_REQUIRED = ("format", "robot", "joint_names", "adapter", "sha256")


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name and the record of their making.

    meta: format, robot, joint_names, adapter ('last_layer' or 'maml'), and what the training wrote: config, seed, data_sha256,
    command, scores. sha256: hash of the safetensors file.
    """

    tensors: dict[str, Array]
    meta: dict[str, Any]

    @property
    def adapter(self) -> str:
        return str(self.meta["adapter"])


def default_checkpoint(robot: Robot, adapter: str = "last_layer") -> Path:
    """Where a robot's shipped weights are: models/<robot>/dynamics.safetensors, or dynamics_maml.safetensors for MAML.

    Where it has none, and its kind has a family: the family's.
    """
    name = "dynamics.safetensors" if adapter == "last_layer" else f"dynamics_{adapter}.safetensors"
    own = robot.folder / name
    family = own if robot.family_model is None else MODELS_DIR / robot.family_model / name
    return family if family.is_file() and not own.is_file() else own


def save_checkpoint(path: Path, robot: Robot, adapter: str, tensors: dict[str, Array], record: dict[str, Any]) -> Checkpoint:
    """Write weights and record, each in one atomic move, weights first."""
    content = save_safetensors({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    meta = {
        "format": FORMAT,
        "robot": robot.name,
        "joint_names": list(robot.joint_names),
        "adapter": adapter,
        **record,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, content)
    _write(path.with_suffix(".json"), (json.dumps(meta, indent=2) + "\n").encode())
    return Checkpoint(tensors, meta)


def load_checkpoint(path: Path, robot: Robot | None = None) -> Checkpoint:
    """Read and verify a checkpoint; with `robot`, also that it was trained for that robot.

    Raises:
        CheckpointError: missing, not safetensors, truncated, altered since it was written, or of another robot.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: refused: checkpoints are .safetensors files (formats that can execute code are never read)")
    record = path.with_suffix(".json")
    for needed in (path, record):
        if not needed.is_file():
            raise CheckpointError(f"{needed}: no such file; train one with: metarl train {robot.name if robot else 'ROBOT'}")
    content, meta = path.read_bytes(), _read_record(record)
    if hashlib.sha256(content).hexdigest() != meta["sha256"]:
        raise CheckpointError(f"{path}: its SHA-256 is not the one in {record.name}: truncated or altered; restore both or train again")
    own = robot is None or (meta["robot"], tuple(meta["joint_names"])) == (robot.name, robot.joint_names)
    if robot is not None and not own and meta["robot"] != robot.family_model:
        raise CheckpointError(f"{path}: trained for robot '{meta['robot']}' with joints {meta['joint_names']}; this is '{robot.name}'")
    try:
        tensors = load_safetensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file: {error}") from error
    return Checkpoint({name: np.asarray(tensor, dtype=float) for name, tensor in tensors.items()}, meta)


def _read_record(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: not valid JSON: {error}") from error
    missing = [key for key in _REQUIRED if not isinstance(meta, dict) or key not in meta]
    if missing:
        raise CheckpointError(f"{path}: keys missing: {missing}")
    if meta["format"] != FORMAT:
        raise CheckpointError(f"{path}: format {meta['format']!r} is not known; allowed: {FORMAT}")
    return meta


def _write(path: Path, content: bytes) -> None:
    scratch = path.with_name(path.name + ".part")
    scratch.write_bytes(content)
    scratch.replace(path)
