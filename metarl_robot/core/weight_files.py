# SPDX-License-Identifier: Apache-2.0
"""A pair of files that changes together: weights `<name>.safetensors` and their record `<name>.json`.

The record holds the SHA-256 of the weights. Neither file can execute code. The pair stays consistent if the process
is killed while it writes:
1. New weights are written beside the old ones as `<name>.safetensors.next`.
2. The record, which holds their hash, is replaced. From now on the new weights are the pair's.
3. The new weights are renamed to `<name>.safetensors`.

Reading and writing use the `.next` file if the record holds its hash.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from metarl_robot.core.atomic import replace_file
from metarl_robot.core.checkpoint_check import RECORD_BYTES, WEIGHT_BYTES, check_header, shown, strict_json
from metarl_robot.core.errors import CheckpointError

FORMAT = 1


def to_bytes(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Content of a safetensors file."""
    return save_safetensors({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})


def write_pair(path: Path, content: bytes, meta: Mapping[str, Any]) -> None:
    """Write weights and record as one pair; `meta` holds the SHA-256 of `content`.

    Raises:
        OSError: a file cannot be written; the pair is unchanged.
    """
    record, following = path.with_suffix(".json"), _next(path)
    text = json.dumps(meta, indent=2) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    if record.is_file() and following.is_file():
        _complete(path, record)
    replace_file(following, content)
    replace_file(record, text.encode())
    os.replace(following, path)


def _next(path: Path) -> Path:
    return path.with_name(path.name + ".next")


def _complete(path: Path, record: Path) -> None:
    """Rename the `.next` weights of a killed process if the record holds their hash."""
    try:
        named = read_record(record, "").get("sha256")
    except CheckpointError:  # the record will be replaced
        return
    if hashlib.sha256(_next(path).read_bytes()).hexdigest() == named:
        os.replace(_next(path), path)


def check_suffix(path: Path) -> None:
    """Raise CheckpointError if the path is not a .safetensors file's."""
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path}: refused: checkpoints are .safetensors files (formats that can execute code are never read)"
        )


def read_record(path: Path, command: str) -> dict[str, Any]:
    """Read a record of this format. command: trains such weights, for the message about a missing file."""
    meta = strict_json(path, _read(path, RECORD_BYTES, command))
    if meta.get("format") != FORMAT:
        given = shown(meta.get("format"))
        raise CheckpointError(f"{path}: format {given} is not known; allowed: {FORMAT}")
    return meta


def read_weights(path: Path, sha256: str, command: str) -> bytes:
    """Bytes of the weights with the record's hash, from their file or from the `.next` file of a killed writer."""
    for candidate in (path, _next(path), path):  # the first again: a writer may have renamed the files meanwhile
        if candidate.is_file():
            content = _read(candidate, WEIGHT_BYTES, command)
            if hashlib.sha256(content).hexdigest() == sha256:
                return content
    _check_file(path, command)
    record = path.with_suffix(".json")
    raise CheckpointError(
        f"{path}: its SHA-256 is not the one in {record.name}: truncated or altered; restore both or train again"
    )


def to_tensors(path: Path, content: bytes) -> dict[str, NDArray[np.float64]]:
    """Tensors of a safetensors file's content. path: for messages."""
    check_header(path, content)
    try:
        loaded = load_safetensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file: {str(error)[:200]}") from error
    return {name: np.asarray(tensor, dtype=float) for name, tensor in loaded.items()}


def _read(path: Path, most: int, command: str) -> bytes:
    _check_file(path, command)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise CheckpointError(f"{path}: larger than {most // 2**20} MiB, the most that is read")
    return content


def _check_file(path: Path, command: str) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; train one with: {command}")
