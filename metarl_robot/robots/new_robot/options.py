# SPDX-License-Identifier: Apache-2.0
"""Options of a new robot beside its file, and the text format of joint values.

Values of joints: one number for all (`2.5`), one for each in order (`87,87,12`), or by name (`elbow=40,wrist=12`).
A pair of position limits is written LOWER:UPPER.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from metarl_robot.core.errors import MetaRLError, UnknownNameError, shown

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """Values given by the user; None or empty: not given.

    joints: names of the driven joints. lock: joint → value at which it is held [rad, m]. flange: site, body or link
    that carries the payload. gravity: (3,) [m/s²; base frame]. payload_kg: rated payload. rate_hz: control rate.
    home, position, velocity, effort, effort_rate: texts of joint values [rad, rad/s, Nm, Nm/s; m, m/s, N, N/s].
    armature: text of joint values [kg m²; kg], in place of the file's.
    mesh_dirs: folders with meshes. repair_inertias: whether inertias that no body can have are replaced by near ones.
    mass_kg, inertia (3,) [kg m²], propeller_m, thrust_n: of a multirotor, its propellers' diameter, the largest thrust
    of one.
    """

    joints: tuple[str, ...] = ()
    lock: Mapping[str, float] = field(default_factory=dict)
    flange: str | None = None
    gravity: tuple[float, float, float] | None = None
    payload_kg: float | None = None
    rate_hz: float | None = None
    home: str | None = None
    position: str | None = None
    velocity: str | None = None
    effort: str | None = None
    effort_rate: str | None = None
    armature: str | None = None
    mesh_dirs: Sequence[Path] = ()
    repair_inertias: bool = False
    mass_kg: float | None = None
    inertia: tuple[float, float, float] | None = None
    propeller_m: float | None = None
    thrust_n: float | None = None

    def refuse_for(self, kind: str, others: Mapping[str, object]) -> None:
        """Refuse options of other kinds of robot. Raises MetaRLError."""
        given = [option for option, value in others.items() if value not in (None, (), {}, False)]
        if given:
            raise MetaRLError(f"{', '.join(given)}: no option for {kind}")

    @property
    def of_arms(self) -> Mapping[str, object]:
        """Options that only arms have, by name."""
        return {
            "--joints": self.joints, "--lock": self.lock, "--flange": self.flange, "--gravity": self.gravity,
            "--home": self.home, "--position": self.position, "--velocity": self.velocity, "--effort": self.effort,
            "--effort-rate": self.effort_rate, "--armature": self.armature, "--mesh-dir": tuple(self.mesh_dirs),
            "--repair-inertias": self.repair_inertias,
        }  # fmt: skip

    @property
    def of_multirotors(self) -> Mapping[str, object]:
        """Options that only multirotors have, by name."""
        return {
            "--mass": self.mass_kg, "--inertia": self.inertia, "--propeller": self.propeller_m,
            "--thrust": self.thrust_n,
        }  # fmt: skip


def joint_values(option: str, text: str | None, names: Sequence[str]) -> dict[str, float]:
    """Numbers of joints. Raises MetaRLError."""
    return _values(option, text, names, _number)


def joint_pairs(option: str, text: str | None, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Position limits of joints, LOWER:UPPER. Raises MetaRLError."""
    return _values(option, text, names, _pair)


def locks(texts: Sequence[str]) -> dict[str, float]:
    """Values of --lock NAME=VALUE. Raises MetaRLError."""
    found: dict[str, float] = {}
    for part in (part.strip() for text in texts for part in text.split(",") if part.strip()):
        name, equals, value = part.partition("=")
        if not equals:
            raise MetaRLError(f"--lock: expected NAME=VALUE; given: {shown(part)}")
        found[name] = _number("--lock", value)
    return found


def vector(option: str, text: str | None) -> tuple[float, float, float] | None:
    """Three numbers separated by commas. Raises MetaRLError."""
    if text is None:
        return None
    parts = [_number(option, part) for part in text.split(",")]
    if len(parts) != 3:
        raise MetaRLError(f"{option}: expected three numbers X,Y,Z; given: {shown(text)}")
    return parts[0], parts[1], parts[2]


def _values(option: str, text: str | None, names: Sequence[str], read: Callable[[str, str], T]) -> dict[str, T]:
    if text is None:
        return {}
    parts = [part.strip() for part in text.split(",")]
    if any("=" in part for part in parts):
        return dict(_named(option, part, names, read) for part in parts)
    values = [read(option, part) for part in parts]
    if len(values) not in (1, len(names)):
        said = f"expected one value, {len(names)} values, or NAME=VALUE for some of {list(names)}"
        raise MetaRLError(f"{option}: {said}; given {len(values)}")
    return dict(zip(names, values * len(names) if len(values) == 1 else values, strict=True))


def _named(option: str, part: str, names: Sequence[str], read: Callable[[str, str], T]) -> tuple[str, T]:
    name, equals, value = part.partition("=")
    if not equals:
        raise MetaRLError(f"{option}: expected NAME=VALUE; given: {shown(part)}")
    if name not in names:
        raise UnknownNameError("joint", name, names, f"driven, in {option}")
    return name, read(option, value)


def _number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise MetaRLError(f"{option}: expected a finite number; given: {shown(text)}")
    return value


def _pair(option: str, text: str) -> tuple[float, float]:
    lower, colon, upper = text.partition(":")
    if not colon:
        raise MetaRLError(f"{option}: expected LOWER:UPPER; given: {shown(text)}")
    return _number(option, lower), _number(option, upper)
