# SPDX-License-Identifier: Apache-2.0
"""Writes a robot.yaml, with the origin beside each value that is not from the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

from metarl_robot.core.errors import shown
from metarl_robot.robots.arm.from_file.joint_limit import JointLimit
from metarl_robot.robots.new_robot.findings import Findings, Origin, Value


@dataclass(frozen=True)
class Description:
    """The keys of a robot.yaml."""

    name: str
    source: str
    base_frame: str
    rate_hz: float
    site: str
    payload_kg: float
    joints: Sequence[JointLimit]


def description_text(description: Description, findings: Findings) -> str:
    """The file's text."""
    return "\n".join(_lines(description, findings)) + "\n"


def _lines(description: Description, findings: Findings) -> Iterator[str]:
    yield f"# Made by metarl robot new from {shown(description.source)}. Values that it does not state have origins."
    yield f"name: {_text(description.name)}"
    yield "kind: arm"
    about = f"arm with {len(description.joints)} joints, from {description.source}"
    yield f"description: {_text(about)}"
    yield "model: robot.xml"
    yield f"base_frame: {_text(description.base_frame)}"
    yield f"control_rate_hz: {description.rate_hz:g}{_remark('control_rate_hz', findings)}"
    payload = f"payload: {{site: {_text(description.site)}, rated_mass_kg: {description.payload_kg:g}}}"
    yield payload + _remark("payload", findings)
    yield "joints:"
    for joint in description.joints:
        yield f"  - {{{', '.join(_keys(joint))}}}{_remark(joint.name, findings)}"


def _keys(joint: JointLimit) -> Iterator[str]:
    position, force = ("m", "n") if joint.is_slide else ("rad", "nm")
    yield f"name: {_text(joint.name)}"
    yield f"position_{position}: [{_number(joint.position[0])}, {_number(joint.position[1])}]"
    yield f"velocity_{position}_s: {_number(joint.velocity)}"
    yield f"effort_{force}: {_number(joint.effort)}"
    yield f"effort_rate_{force}_s: {_number(joint.effort_rate)}"
    yield f"home_{position}: {_number(joint.home)}"
    if not joint.is_slide and not joint.is_limited:
        yield "endless: true"


def _text(name: str) -> str:
    """A name, in quotes where YAML would read something else: yes, 1e3, a:b."""
    plain = re.fullmatch(r"[A-Za-z_][\w-]*", name) and yaml.safe_load(name) == name
    return name if plain else json.dumps(name)


def _number(value: float) -> str:
    """A number as YAML reads it: with a point, and with a point before an exponent."""
    text = f"{value:.8g}"
    if "e" in text:
        text = f"{value:.12f}".rstrip("0")
    return text if "." in text else f"{text}.0"


def _remark(of: str, findings: Findings) -> str:
    said = [f"{value.what}: {value.origin.value}" for value in findings.values if value.of == of and _is_new(value)]
    return f"  # {', '.join(said)}" if said else ""


def _is_new(value: Value) -> bool:
    return value.origin in (Origin.GUESS, Origin.DEFAULT)
