# SPDX-License-Identifier: Apache-2.0
"""Checks of a checkpoint's record and tensors: types, names, shapes and values, in bounded time.

With C context entries, n degrees of freedom, L learned features and hidden widths h, the weights of `last_layer` are

    prior_mean (C,)   prior_covariance (C, C)   error_nm, disturbance_nm, drift_nm (n,)
    network.<i>.weight (h_i, h_{i-1})   network.<i>.bias (h_i,)   from the inputs to n L outputs

The weights of `maml` are output_scale (n,) and, for each method, network.* with n outputs and the step sizes
step.<i>.weight, step.<i>.bias (1,). Weights of an adapter of another package have any names and shapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import CheckpointError
from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]
Shapes = dict[str, tuple[int, ...]]
_Rule = tuple[Callable[[Any], object], str]
"""(predicate of an allowed value, its description)."""

RECORD_BYTES = 4 * 2**20
WEIGHT_BYTES = 64 * 2**20
_HEADER_BYTES = 2**20
_DTYPES = ("F64", "F32")
_DEFAULT_WIDTHS = {"last_layer": (64, 64), "maml": (64, 64, 64)}
_METHODS = ("second_order", "first_order", "supervised")
_INDEFINITE = -1e-6  # smallest allowed eigenvalue of a correlation matrix; covers rounding errors


def shown(value: Any, longest: int = 80) -> str:
    """Short repr of a value for a message."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[:longest]}…"


def strict_json(path: Path, text: bytes) -> dict[str, Any]:
    """Parse a JSON object and refuse duplicate keys.

    Raises:
        CheckpointError: not valid, not an object, nested too deeply, or a number too long.
    """
    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON: {str(error)[:200]}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: must hold a JSON object; given {type(found).__name__}")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {shown(twice)} is given twice")
    return found


def check_record(path: Path, meta: Mapping[str, Any]) -> None:
    """Raise CheckpointError if a required value is missing or of a wrong type."""
    names: _Rule = (_are_names, "a list of different names")
    rules: dict[str, _Rule] = {
        "robot": (_is_text, "a name"),
        "joint_names": names,
        "adapter": (_is_text, "a name"),
        "sha256": (lambda x: _is_text(x) and re.fullmatch("[0-9a-f]{64}", x), "64 hex digits"),
    }
    if meta.get("adapter") == "last_layer":
        rules |= {"features": names, "context_names": names}
    if meta.get("adapter") == "maml":
        methods: _Rule = (_are_methods, f"second_order, and some of {_METHODS}")
        rules |= {"inner_steps": (_is_count, "1 … 20"), "methods": methods}
    missing = [key for key in rules if key not in meta]
    if missing:
        raise CheckpointError(f"{path}: keys missing: {missing}")
    for key, (is_right, allowed) in rules.items():
        if not is_right(meta[key]):
            raise CheckpointError(f"{path}: {key} is {shown(meta[key])}; allowed: {allowed}")
    widths = _widths(meta)
    if not isinstance(widths, (list, tuple)) or not all(map(_is_size, widths)):
        given = f"config.hidden is {shown(widths)}"
        raise CheckpointError(f"{path}: {given}; allowed: a list of widths")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_count(value: Any) -> bool:
    return _is_size(value) and value <= 20


def _are_methods(value: Any) -> bool:
    return _are_names(value) and set(value) <= set(_METHODS) and "second_order" in value


def _widths(meta: Mapping[str, Any]) -> Any:
    """Configured hidden widths; () if the record does not hold the configuration."""
    config = meta.get("config")
    if not isinstance(config, dict) or "hidden" not in config:
        return ()
    return config["hidden"] or _DEFAULT_WIDTHS.get(str(meta["adapter"]), ())


def check_header(path: Path, content: bytes) -> None:
    """Raise CheckpointError if the header is too large or a tensor's number type is not allowed."""
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or not 2 <= size <= min(len(content) - 8, _HEADER_BYTES):
        given = f"a header of {size} bytes"
        raise CheckpointError(f"{path}: not a safetensors file, or truncated: {given}")
    for name, entry in strict_json(path, content[8 : 8 + size]).items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if name != "__metadata__" and dtype not in _DTYPES:
            given = f"tensor {shown(name)} has numbers of type {shown(dtype)}"
            raise CheckpointError(f"{path}: {given}; allowed: {', '.join(_DTYPES)}")


def check_tensors(path: Path, tensors: Mapping[str, Array], meta: Mapping[str, Any], robot: Robot | None) -> None:
    """Raise CheckpointError if names, shapes or values contradict the record."""
    expected = _shapes(tensors, meta, robot)
    for name in sorted({*expected, *tensors}):
        wrong = _wrong_shape(expected.get(name), tensors.get(name)) or _wrong_values(name, tensors)
        if wrong:
            what = f"{path}: tensor {shown(name)} {wrong}"
            raise CheckpointError(f"{what} (as its record says); restore the files or train again")


def _wrong_shape(expected: tuple[int, ...] | None, tensor: Array | None) -> str:
    if tensor is None:
        return f"is missing; expected: shape {expected}"
    if expected is None:
        return f"of shape {shown(tensor.shape)} is not expected"
    if tensor.shape != expected:
        return f"has the shape {shown(tensor.shape)}; expected: {expected}"
    return ""


def _shapes(tensors: Mapping[str, Array], meta: Mapping[str, Any], robot: Robot | None) -> Shapes:
    if meta["adapter"] not in _DEFAULT_WIDTHS:
        return {name: tensor.shape for name, tensor in tensors.items()}
    own = {"last_layer": "error_nm", "maml": "output_scale"}[meta["adapter"]]
    known = tensors[own].size if own in tensors else 0
    dof = known if robot is None else robot.dof
    if meta["adapter"] == "maml":
        shapes: Shapes = {"output_scale": (dof,)}
        for method in meta["methods"]:
            prefix = "" if method == "second_order" else f"{method}."
            network = dict(_network(prefix, tensors, meta, 7 * dof, dof))
            shapes |= network
            shapes |= {name.replace("network.", "step."): (1,) for name in network}
        return shapes
    count = len(meta["context_names"])
    learned = sum(name.startswith("learned_") for name in meta["context_names"])
    shapes = {"prior_mean": (count,), "prior_covariance": (count, count)}
    shapes |= dict.fromkeys(("error_nm", "disturbance_nm", "drift_nm"), (dof,))
    inputs = robot.network_inputs if robot else None
    return shapes | (dict(_network("", tensors, meta, inputs, dof * learned)) if learned else {})


def _network(
    prefix: str, tensors: Mapping[str, Array], meta: Mapping[str, Any], inputs: int | None, outputs: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a network's tensors; sizes that the record does not hold are taken from the tensors."""
    first = tensors.get(f"{prefix}network.0.weight", np.zeros((0, 0)))
    own = (tensors[f"{prefix}network.{i}.bias"].size for i in range(_layers(prefix, tensors) - 1))
    widths = tuple(_widths(meta)) or tuple(own)
    sizes = (inputs or first.shape[-1], *widths, outputs)
    for i, (given, made) in enumerate(pairwise(sizes)):
        yield f"{prefix}network.{i}.weight", (made, given)
        yield f"{prefix}network.{i}.bias", (made,)


def _layers(prefix: str, tensors: Mapping[str, Array]) -> int:
    names = (f"{prefix}network.{i}.bias" for i in range(len(tensors)))
    return next((i for i, name in enumerate(names) if name not in tensors), len(tensors))


def _wrong_values(name: str, tensors: Mapping[str, Array]) -> str:
    """Describe the fault in the values of a tensor of the right shape; empty if there is none."""
    values = tensors[name]
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        return f"has {len(bad)} values that are not finite, the first {values.flat[bad[0]]}"
    positive = name.endswith("_nm") or name == "output_scale" or ".step." in f".{name}"
    if positive and np.any(values <= 0.0):
        return f"has values that are not positive, such as {values.min():g}"
    if name == "prior_covariance" and not _is_covariance(values):
        return "is not symmetric and positive definite"
    return ""


def _is_covariance(matrix: Array) -> bool:
    deviations = np.sqrt(np.maximum(matrix.diagonal(), 0.0))
    if np.any(deviations <= 0.0) or not np.allclose(matrix, matrix.T, rtol=1e-6, atol=0.0):
        return False
    correlation = matrix / np.outer(deviations, deviations)
    return bool(np.isfinite(correlation).all() and np.linalg.eigvalsh(correlation)[0] > _INDEFINITE)
