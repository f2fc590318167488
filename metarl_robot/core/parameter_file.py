# SPDX-License-Identifier: Apache-2.0
"""ROS 2 parameter files, as shipped in `models/<robot>/config`: node names mapped to `ros__parameters`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metarl_robot.core.errors import shown
from metarl_robot.core.yaml_file import MakeError, read_yaml


def read_parameters(path: Path, error: MakeError) -> dict[str, dict[str, Any]]:
    """Parameters by node name. Raises `error`, which names file, key and the allowed values."""
    content = read_yaml(path, error)
    nodes = _mapping(content, f"{path}: top level", error)
    return {node: _parameters(body, f"{path}: {node}", error) for node, body in nodes.items()}


def parameters_below(values: dict[str, Any], key: str, source: str, error: MakeError) -> dict[str, Any]:
    """Parameters below a prefix, written as a nested mapping. Raises `error`."""
    return _mapping(values.get(key), f"{source}: {key}", error)


def _parameters(body: Any, source: str, error: MakeError) -> dict[str, Any]:
    content = _mapping(body, source, error)
    unknown = [key for key in content if key != "ros__parameters"]
    if unknown:
        raise error(f"{source}: key {shown(unknown[0])} is not allowed; allowed: ros__parameters")
    return _mapping(content.get("ros__parameters"), f"{source}: ros__parameters", error)


def _mapping(value: Any, source: str, error: MakeError) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise error(f"{source}: must be a mapping of names to values; given: {shown(value)}")
    return value
