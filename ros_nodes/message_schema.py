# SPDX-License-Identifier: Apache-2.0
"""Full definition of a ROS message type, as stored in MCAP files (schema encoding `ros2msg`)."""

from __future__ import annotations

import re
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from metarl_robot.core.errors import MetaRLError

_PRIMITIVE = re.compile(r"^(bool|byte|char|float32|float64|u?int(8|16|32|64)|w?string)(<=\d+)?$")
_SEPARATOR = "=" * 80
_TYPE = re.compile(r"[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*")


class SchemaError(MetaRLError):
    """A type has no definition that can be stored."""


def message_definition(type_name: str) -> str:
    """Definition of `package/msg/Name`, followed by those of the types it uses, each after a separator.

    Raises:
        SchemaError: it is no message's type, such as `package/action/Name_Feedback`; or the type, or one that it uses,
            is not installed.
    """
    if not _TYPE.fullmatch(type_name):
        raise SchemaError(f"not a message type: '{type_name}'; must be like std_msgs/msg/String")
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
