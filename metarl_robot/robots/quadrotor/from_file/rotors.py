# SPDX-License-Identifier: Apache-2.0
"""The rotors of PX4's control allocation.

CA_ROTORn_PX, PY, PZ is a hub relative to the centre of gravity [m; FRD], CA_ROTORn_AX, AY, AZ the direction of its
thrust [FRD], by default (0, 0, -1). CA_ROTORn_KM is the moment over the thrust [m], positive for a rotor that turns
counter-clockwise; CA_ROTORn_CT is a thrust without unit, of which only ratios matter. (x, y, z) [FRD] is (x, -y, -z)
[FLU].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metarl_robot.core.errors import RobotError
from metarl_robot.robots.new_robot.findings import Findings, Origin
from metarl_robot.robots.quadrotor.description import FEWEST_ROTORS, MOST_ROTORS, UP

Parameters = Mapping[str, float]
Vector = tuple[float, float, float]

MULTIROTOR = 0
OF_ANOTHER_FRAME = {
    1: "a fixed wing", 2: "a standard VTOL", 3: "a tiltrotor VTOL", 4: "a tailsitter", 5: "a rover", 6: "a rover",
    7: "motors of six degrees of freedom", 8: "a multirotor with tilt servos", 9: "custom", 10: "a helicopter",
    11: "a helicopter", 12: "a helicopter", 15: "a spacecraft",
}  # fmt: skip
"""CA_AIRFRAME of other frames."""
MOMENT_M, THRUST, AXIS = 0.05, 6.5, (0.0, 0.0, -1.0)
"""PX4's defaults of KM, CT and the axis."""
_UNEVEN = 0.01


@dataclass(frozen=True)
class FileRotor:
    """One rotor: place [m; FLU], direction of its thrust [FLU], direction of rotation."""

    place: Vector
    axis: Vector
    spin: str


def rotors_of(file: str, parameters: Parameters, findings: Findings) -> tuple[tuple[FileRotor, ...], float]:
    """The rotors, and their ratio of torque to thrust [m]. Raises RobotError with parameter and remedy."""
    _check_frame(file, parameters)
    count = _count(file, parameters)
    made, moments = [], []
    for i in range(count):
        name = f"CA_ROTOR{i}"
        if f"{name}_PX" not in parameters and f"{name}_PY" not in parameters:
            raise RobotError(f"{file}: {name}_PX and {name}_PY are missing: give a file with all parameters")
        moment = parameters.get(f"{name}_KM", MOMENT_M)
        if moment == 0.0:
            raise RobotError(f"{file}: {name}_KM is 0: its sign is the direction of rotation, positive is ccw")
        place = tuple(parameters.get(f"{name}_P{axis}", 0.0) for axis in "XYZ")
        axis = tuple(parameters.get(f"{name}_A{axis}", usual) for axis, usual in zip("XYZ", AXIS, strict=True))
        spin = "ccw" if moment > 0.0 else "cw"
        made.append(FileRotor(_flu(place), _flu(axis), spin))
        moments.append(abs(moment))
        told = ", ".join(part for part in ("PX", "PY", "PZ", "AX", "AY", "AZ", "KM") if f"{name}_{part}" in parameters)
        words = f"({', '.join(f'{x:g}' for x in made[-1].place)}) m, {spin}"
        tilted = "" if made[-1].axis == UP else f", along ({', '.join(f'{x:g}' for x in made[-1].axis)})"
        findings.add(f"rotor{i + 1}", "rotor", words + tilted, Origin.FILE, f"{name}_{told}; FRD turned to FLU")
    _check_alike(file, "KM", moments, "torque_ratio_m")
    thrusts = [parameters.get(f"CA_ROTOR{i}_CT", THRUST) for i in range(count)]
    _check_alike(file, "CT", thrusts, "thrust_coefficient_n_s2")
    stated = all(f"CA_ROTOR{i}_KM" in parameters for i in range(count))
    ratio = sum(moments) / count
    origin, detail = (Origin.FILE, "CA_ROTOR0_KM") if stated else (Origin.DEFAULT, "PX4's CA_ROTOR0_KM")
    findings.add("torque_ratio_m", "torque over thrust", f"{ratio:g} m", origin, detail)
    return tuple(made), ratio


def _check_frame(file: str, parameters: Parameters) -> None:
    frame = int(parameters.get("CA_AIRFRAME", MULTIROTOR))
    if frame != MULTIROTOR:
        other = OF_ANOTHER_FRAME.get(frame, "another frame")
        raise RobotError(f"{file}: CA_AIRFRAME is {frame} ({other}); multirotors with fixed rotors (0) can be read")
    tilting = [name for name, value in parameters.items() if name.endswith("_TILT") and value != 0.0]
    if tilting:
        raise RobotError(f"{file}: {tilting[0]} gives a rotor a tilt servo; multirotors with fixed rotors can be read")


def _count(file: str, parameters: Parameters) -> int:
    if "CA_ROTOR_COUNT" not in parameters:
        raise RobotError(
            f"{file}: CA_ROTOR_COUNT is missing. PX4 before 1.13 had mixer files instead; save the parameters of a "
            "current version: QGroundControl, Vehicle Setup, Parameters, Tools, Save to file"
        )
    count = int(parameters["CA_ROTOR_COUNT"])
    if not FEWEST_ROTORS <= count <= MOST_ROTORS:
        raise RobotError(
            f"{file}: CA_ROTOR_COUNT is {count}; {FEWEST_ROTORS} to {MOST_ROTORS} fixed rotors can be read"
        )
    return count


def _check_alike(file: str, what: str, values: list[float], key: str) -> None:
    if min(values) <= 0.0 or max(values) > (1.0 + _UNEVEN) * min(values):
        raise RobotError(
            f"{file}: CA_ROTORn_{what} goes from {min(values):g} to {max(values):g}; {key} of robot.yaml is one number "
            f"for all rotors: rotors of several sizes are not supported; where they are alike, set {what} alike"
        )


def _flu(frd: tuple[float, ...]) -> Vector:
    x, y, z = frd
    return x, -y + 0.0, -z + 0.0  # no negative zeros
