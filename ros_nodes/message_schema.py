# SPDX-License-Identifier: Apache-2.0
"""Full definition of a ROS message type, as stored in MCAP files (schema encoding `ros2msg`)."""

from __future__ import annotations

import re
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from metarl_robot.core.errors import MetaRLError

_PRIMITIVE = re.compile(r"^(bool|byte|char|float32|float64|u?int(8|16|32|64)|w?string)(<=\d+)?$")
_SEPARATOR = "=" * 80


class SchemaError(MetaRLError):
    """A message type's definition is not installed."""


def message_definition(type_name: str) -> str:
    """Definition of `package/msg/Name`, followed by those of the types it uses, each after a separator.

    Raises:
        SchemaError: the type, or one that it uses, is not installed.
    """
    texts: dict[str, str] = {}
    _collect(type_name, texts)
    head, *rest = texts
    return "\n".join([texts[head], *(f"{_SEPARATOR}\nMSG: {name}\n{texts[name]}" for name in rest)])


def _collect(type_name: str, texts: dict[str, str]) -> None:
    short = type_name.replace("/msg/", "/")
    if short in texts:
        return
    package, name = short.split("/")
    texts[short] = _read(package, name)
    for line in texts[short].splitlines():
        used = line.split("#", 1)[0].split()
        if len(used) < 2:
            continue
        kind = re.sub(r"\[.*\]$", "", used[0])
        if not _PRIMITIVE.match(kind):
            _collect(kind if "/" in kind else f"{package}/{kind}", texts)


def _read(package: str, name: str) -> str:
    try:
        path = Path(get_package_share_directory(package)) / "msg" / f"{name}.msg"
        return path.read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError) as error:
        raise SchemaError(f"no definition of message type {package}/msg/{name}: {error}") from error
