# SPDX-License-Identifier: Apache-2.0
"""Checks the parameter values of our nodes before their processes start, by the code with which the nodes check them.

The values of a node are those of its parameter files, in their order, then those of the launch file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from metarl_robot.cli.launch_file import PACKAGE, LaunchError, NodeSpec
from metarl_robot.core.errors import MetaRLError, shown
from metarl_robot.core.yaml_file import read_yaml

_PARAMETERS = "ros__parameters"
_ANY = {"*": "/[^/]+", "**": "(/[^/]+)*"}


def check_values(spec: NodeSpec) -> None:
    """Validate what one of our nodes is given, as far as the module of the node has a function `declared`.

    Raises LaunchError, with the node's name and its own message.
    """
    module = import_module(module_of(spec.executable))
    if not hasattr(module, "declared"):
        return
    from metarl_robot.ros_nodes.parameters import StartValues

    try:
        module.declared(StartValues(lambda node: start_values(spec, node), spec.name or spec.executable))
    except MetaRLError as error:
        raise LaunchError(f"{node_name(spec)}: {error}") from error


def module_of(executable: str) -> str:
    """Module of one of our nodes: in ros_nodes, or in the folder of a kind there. Raises LaunchError."""
    folder = Path(__file__).resolve().parents[1] / "ros_nodes"
    found = [*folder.glob(f"{executable}.py"), *folder.glob(f"*/{executable}.py")] if executable.isidentifier() else []
    if not found:
        raise LaunchError(f"executable '{executable}' not found in package '{PACKAGE}'")
    return ".".join((PACKAGE, "ros_nodes", *found[0].relative_to(folder).with_suffix("").parts))


def node_name(spec: NodeSpec, name: str = "") -> str:
    """Fully qualified name of a node. name: the node's own; empty: that of the specification."""
    parts = (spec.namespace or "", name or spec.name or spec.executable)
    return "/" + "/".join(part.strip("/") for part in parts if part.strip("/"))


def start_values(spec: NodeSpec, name: str) -> dict[str, Any]:
    """The values that the node `name` of a process gets. Raises LaunchError."""
    values: dict[str, Any] = {}
    for file in spec.parameter_files:
        values |= _values_in(file, node_name(spec, name))
    return {**values, **spec.parameters}


def _values_in(file: Path, node: str) -> dict[str, Any]:
    """The values that a ROS 2 parameter file has for a node; of two for one parameter the later counts."""
    content = read_yaml(file, LaunchError)
    if content is None:
        return {}
    values: dict[str, Any] = {}
    for name, parameters in _nodes(_mapping(content, str(file)), "", file):
        pattern = "".join(_ANY.get(part, "/" + re.escape(part)) for part in name.split("/") if part)
        if re.fullmatch(pattern, node):
            values |= dict(_flat(parameters, ""))
    return values


def _nodes(content: Mapping[str, Any], prefix: str, file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names of nodes, which may be below namespaces, and their parameters."""
    for key, body in content.items():
        if key == _PARAMETERS:
            yield prefix, _mapping({} if body is None else body, f"{file}: {prefix}")
        else:
            yield from _nodes(_mapping(body, f"{file}: {key}"), f"{prefix}/{key}", file)


def _flat(parameters: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in parameters.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise LaunchError(f"{place}: must map names to '{_PARAMETERS}' and its values; given: {shown(value)}")
    return value
