# SPDX-License-Identifier: Apache-2.0
"""Reads PX4 parameters from a file.

QGroundControl saves them as lines of five columns (vehicle, component, name, value, type). An airframe's init script
has `param set-default NAME VALUE` and `param set NAME VALUE`. The last line of a name counts; other lines are skipped.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from metarl_robot.core.errors import RobotError, one_line, shown

MOST_BYTES = 1 << 20
_SAVED = re.compile(r"\d+\s+\d+\s+(\w+)\s+(\S+)\s+\d+")
_SCRIPT = re.compile(r"param\s+set(?:-default)?\s+(\w+)\s+(\S+)")


def read_parameters(path: Path) -> dict[str, float]:
    """Parameters by name. Raises RobotError: not a file of parameters, or a value that is not a number."""
    found: dict[str, float] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        stated = line.split("#", 1)[0].strip()
        match = _SAVED.fullmatch(stated) or _SCRIPT.match(stated)
        if match is not None:
            found[match[1]] = _number(path, number, match[1], match[2])
    if not found:
        raise RobotError(
            f"{path}: no PX4 parameters; expected QGroundControl's columns (vehicle, component, name, value, type), or "
            "`param set-default NAME VALUE` of an airframe's init script"
        )
    return found


def holds_parameters(path: Path) -> bool:
    """Whether a file looks like PX4 parameters; an unreadable file does not."""
    try:
        lines = _text(path).splitlines()
    except RobotError:
        return False
    return any(_SAVED.fullmatch(line.strip()) or _SCRIPT.match(line.strip()) for line in lines)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RobotError(f"{path}: {one_line(error)}") from error
    if len(content) > MOST_BYTES:
        raise RobotError(f"{path}: larger than {MOST_BYTES} bytes: not a file of PX4 parameters")
    return content.decode("utf-8", "replace")


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RobotError(f"{path}, line {line}: {name} must be a finite number; given: {shown(text)}")
    return value
