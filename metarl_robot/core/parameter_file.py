# SPDX-License-Identifier: Apache-2.0
"""ROS 2 parameter files: a mapping of nodes to `ros__parameters`, as this package ships them in
`models/<robot>/config`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metarl_robot.core.errors import shown
from metarl_robot.core.yaml_file import MakeError, read_yaml


def read_parameters(path: Path, error: MakeError) -> dict[str, dict[str, Any]]:
    """The parameters of each node that a file names. Raises `error`: names file, key and what is allowed."""
    content = read_yaml(path, error)
    nodes = _mapping(content, f"{path}: top level", error)
    return {node: _parameters(body, f"{path}: {node}", error) for node, body in nodes.items()}


def parameters_below(values: dict[str, Any], key: str, source: str, error: MakeError) -> dict[str, Any]:
    """The parameters below a prefix, which a file writes as a mapping of its own. Raises `error`."""
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
