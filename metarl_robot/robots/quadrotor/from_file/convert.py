# SPDX-License-Identifier: Apache-2.0
"""Makes a multirotor's robot.yaml from PX4 parameters and options; nothing is written here.

PX4 knows the rotors' geometry and the vehicle's limits, not its mass, inertia, propellers or motors. Where no option
states them, they are guessed by the scaling of built multirotors, with m the mass, L the mean horizontal distance of
the hubs and R a propeller's radius:

    m = 2 kg (L / 0.24 m)³        R = 0.4 × the distance of neighbouring hubs
    J_xx = 0.44 m mean(y²),  J_yy = 0.44 m mean(x²),  J_zz = 0.87 (J_xx + J_yy)
    fastest speed: the blades' tips at 110 m/s; idle: 0.15 of it
    motors: 12.5 ms R / 0.128 m for speeding up, twice that for slowing down
    drag: that of 0.3 L² [N s²/m²], and 0.15 m / (n Ω_hover) of each rotor

The largest thrust follows from the thrust of a hover, MPC_THR_HOVER. It is a share of the largest thrust: PX4's thrust
setpoints come before the curve of THR_MDL_FAC, which makes the motors' signals of them (core/thrust_polynomial.py).
Where THR_MDL_FAC is 0, PX4 takes thrust for proportional to the signal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from metarl_robot.core.errors import shown
from metarl_robot.robots.new_robot.findings import Findings, Origin
from metarl_robot.robots.new_robot.made import NewRobot
from metarl_robot.robots.new_robot.options import Options
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, UP
from metarl_robot.robots.quadrotor.from_file.parameters import read_parameters
from metarl_robot.robots.quadrotor.from_file.rotors import FileRotor, Parameters, rotors_of

Array = NDArray[np.float64]

_RATE_HZ = 200.0
_COAXIAL_M = 0.02
_HOVER, _THRUST_FACTOR = 0.5, 0.0
_SPEED_M_S, _TILT_DEG = 12.0, 45.0
_DEG = math.pi / 180.0


def convert(path: Path, name: str, options: Options) -> NewRobot:
    """Convert a file into a robot called `name`. Raises RobotError with parameter and remedy."""
    findings, parameters = Findings(), read_parameters(path)
    options.refuse_for("a multirotor", options.of_arms)
    rotors, ratio = rotors_of(path.name, parameters, findings)
    content = _content(name, path.name, _Sizes(rotors, ratio, parameters, options, findings))
    _warn(content, options, findings)
    return NewRobot({"robot.yaml": _text(path.name, content, findings).encode()}, findings)


@dataclass(frozen=True)
class _Sizes:
    """Everything that values follow from."""

    rotors: tuple[FileRotor, ...]
    ratio: float
    parameters: Parameters
    options: Options
    findings: Findings

    def value(
        self, key: str, what: str, unit: str, given: float | None, option: str, guess: Callable[[], float], rule: str
    ) -> float:
        """A number by an option, or guessed by a rule."""
        number = _rounded(guess()) if given is None else given
        origin, detail = (Origin.GUESS, f"{rule}; {option}") if given is None else (Origin.OPTION, option)
        self.findings.add(key, what, f"{number:g} {unit}", origin, detail)
        return number

    def limit(self, key: str, what: str, unit: str, parameter: str, usual: float, factor: float = 1.0) -> float:
        """A number by a parameter, or the usual one."""
        stated = parameter in self.parameters
        number = _rounded(factor * self.parameters[parameter]) if stated else usual
        origin, detail = (Origin.FILE, parameter) if stated else (Origin.DEFAULT, f"{parameter} is not in the file")
        self.findings.add(key, what, f"{number:g} {unit}", origin, detail)
        return number


def _content(name: str, file: str, sizes: _Sizes) -> dict[str, Any]:
    options, findings, count = sizes.options, sizes.findings, len(sizes.rotors)
    places = np.array([rotor.place for rotor in sizes.rotors])
    arm = float(np.linalg.norm(places[:, :2], axis=1).mean())
    mass = sizes.value("mass_kg", "mass", "kg", options.mass_kg, "--mass", lambda: 2.0 * (arm / 0.24) ** 3, "by size")
    payload = sizes.value(
        "payload", "rated mass", "kg", options.payload_kg, "--payload", lambda: 0.3 * mass, "0.3 of the mass"
    )
    rate_hz, origin = options.rate_hz or _RATE_HZ, Origin.OPTION if options.rate_hz else Origin.DEFAULT
    findings.add("control_rate_hz", "control rate", f"{rate_hz:g} Hz", origin, "--rate")
    drag = _rounded(0.3 * arm**2)
    findings.add("parasitic_drag_n_s2_m2", "body drag", f"{drag:g} N s²/m²", Origin.GUESS, "0.3 L²")
    findings.add("size_m", "size", f"{arm:.3g} m", Origin.GUESS, "mean arm")
    return {
        "name": name,
        "kind": "quadrotor",
        "description": f"multirotor with {count} rotors, from {file}",
        "base_frame": "base_link",
        "control_rate_hz": rate_hz,
        "payload": {"site": "payload_site", "rated_mass_kg": payload, "position_m": [0.0, 0.0, _rounded(-0.3 * arm)]},
        "mass_kg": mass,
        "inertia_kg_m2": _inertia(mass, places, sizes),
        "rotors": [_rotor(i, rotor) for i, rotor in enumerate(sizes.rotors)],
        "torque_ratio_m": _rounded(sizes.ratio),
        **_propulsion(mass, _radius(places, arm, sizes), sizes),
        "parasitic_drag_n_s2_m2": [drag, drag, _rounded(1.5 * drag)],
        **_limits(arm, sizes),
        "size_m": [_rounded(arm), _rounded(arm), _rounded(0.4 * arm)],
    }


def _radius(places: Array, arm: float, sizes: _Sizes) -> float:
    given, rule = _half(sizes.options.propeller_m), "by the distance of neighbouring hubs"
    guess = partial(_neighbourly_radius, places, arm)
    return sizes.value("rotor_radius_m", "propeller's radius", "m", given, "--propeller", guess, rule)


def _propulsion(mass: float, radius: float, sizes: _Sizes) -> dict[str, Any]:
    """Motors and propellers."""
    most, fastest = _most_thrust(mass, sizes), _rounded(110.0 / radius)
    slowest, coefficient = _rounded(0.15 * fastest), most / fastest**2
    hover = math.sqrt(mass * GRAVITY_M_S2 / _lift(sizes.rotors) / coefficient)
    motor, drag = _rounded(0.0125 * radius / 0.128), _rounded(0.15 * mass / (len(sizes.rotors) * hover))
    rate = _rounded(200.0 * most)
    for key, what, value, rule in (
        ("thrust_coefficient_n_s2", "thrust over speed squared", f"{coefficient:.4g} N s²", "at the fastest speed"),
        ("rotor_speed_rad_s", "speeds", f"{slowest:g} to {fastest:g} rad/s", "tips at 110 m/s; idle 0.15 of it"),
        ("motor_time_s", "lag", f"{motor:g}, {2.0 * motor:g} s", "by the propeller's radius"),
        ("thrust_rate_n_s", "thrust rate", f"{rate:g} N/s", "full thrust in 5 ms"),
        ("rotor_drag_n_s2_m", "rotor drag", f"{drag:g} N s²/m", "0.15 m/(n Ω)"),
    ):
        sizes.findings.add(key, what, value, Origin.GUESS, rule)
    return {
        "thrust_coefficient_n_s2": coefficient,
        "rotor_speed_rad_s": [slowest, fastest],
        "motor_time_s": [motor, 2.0 * motor],
        "thrust_rate_n_s": rate,
        "rotor_drag_n_s2_m": [drag, 0.0],
        "rotor_radius_m": radius,
    }


def _limits(arm: float, sizes: _Sizes) -> dict[str, Any]:
    """Limits of speed, rates and tilt."""
    agility = min(max(8.0 * math.sqrt(0.24 / arm), 8.0), 20.0)
    usual = {"roll": agility, "pitch": agility, "yaw": 0.4 * agility}
    return {
        "speed_limit_m_s": sizes.limit("speed_limit_m_s", "speed", "m/s", "MPC_XY_VEL_MAX", _SPEED_M_S),
        "rate_limit_rad_s": [
            sizes.limit("rate_limit_rad_s", f"{axis} rate", "rad/s", f"MC_{axis.upper()}RATE_MAX", _rounded(rate), _DEG)
            for axis, rate in usual.items()
        ],
        "tilt_limit_deg": sizes.limit("tilt_limit_deg", "tilt", "deg", "MPC_TILTMAX_AIR", _TILT_DEG),
    }


def _rotor(index: int, rotor: FileRotor) -> dict[str, Any]:
    made: dict[str, Any] = {"name": f"rotor{index + 1}", "position_m": list(rotor.place), "spin": rotor.spin}
    return made if rotor.axis == UP else {**made, "axis": list(rotor.axis)}


def _inertia(mass: float, places: Array, sizes: _Sizes) -> list[float]:
    if sizes.options.inertia is not None:
        made = list(sizes.options.inertia)
    else:
        x, y = np.square(places[:, :2]).mean(axis=0)
        across = 0.44 * mass * max(y, 0.2 * x), 0.44 * mass * max(x, 0.2 * y)
        made = [_rounded(value) for value in (*across, 0.87 * sum(across))]
    text = ", ".join(f"{value:g}" for value in made)
    origin = Origin.GUESS if sizes.options.inertia is None else Origin.OPTION
    sizes.findings.add("inertia_kg_m2", "inertia", f"{text} kg m²", origin, "by mass and hubs; --inertia")
    return made


def _most_thrust(mass: float, sizes: _Sizes) -> float:
    """Largest thrust of a rotor [N]."""
    if sizes.options.thrust_n is not None:
        given = f"{sizes.options.thrust_n:g} N"
        sizes.findings.add("thrust_coefficient_n_s2", "largest thrust", given, Origin.OPTION, "--thrust")
        return sizes.options.thrust_n
    signal = sizes.parameters.get("MPC_THR_HOVER", _HOVER)
    factor = sizes.parameters.get("THR_MDL_FAC", _THRUST_FACTOR)
    most = _rounded(mass * GRAVITY_M_S2 / _lift(sizes.rotors) / signal)
    stated = "MPC_THR_HOVER" in sizes.parameters
    origin = Origin.FILE if stated else Origin.DEFAULT
    default = "" if stated else " (PX4's default)"
    curved = f"THR_MDL_FAC {factor:g}" if factor else "thrust taken for proportional to the signal (THR_MDL_FAC 0)"
    detail = f"weight over MPC_THR_HOVER {signal:g}{default}, {curved}; --thrust"
    sizes.findings.add("thrust_coefficient_n_s2", "largest thrust", f"{most:g} N", origin, detail)
    return most


def _lift(rotors: tuple[FileRotor, ...]) -> float:
    """Sum of the vertical parts of the unit axes."""
    return sum(rotor.axis[2] / math.hypot(*rotor.axis) for rotor in rotors)


def _neighbourly_radius(places: Array, arm: float) -> float:
    """Propeller's radius [m] by the distance of the nearest hubs beside each other."""
    gaps = [float(np.linalg.norm((a - b)[:2])) for a, b in combinations(places, 2)]
    return 0.4 * min((gap for gap in gaps if gap > _COAXIAL_M), default=arm)


def _half(diameter: float | None) -> float | None:
    return None if diameter is None else 0.5 * diameter


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _warn(content: dict[str, Any], options: Options, findings: Findings) -> None:
    if options.mass_kg is None:
        findings.warnings.append("the mass is a guess, and thrust, inertia and drag follow it: weigh it (--mass)")
    most = content["thrust_coefficient_n_s2"] * content["rotor_speed_rad_s"][1] ** 2
    ratio = len(content["rotors"]) * most / (content["mass_kg"] * GRAVITY_M_S2)
    if ratio < 1.5:
        findings.warnings.append(f"thrust over weight is {ratio:.2g}: little is left for manoeuvres and payloads")
    if content["torque_ratio_m"] >= 0.05:
        findings.warnings.append(
            f"torque over thrust of {content['torque_ratio_m']:g} m is PX4's default; propellers of 5 to 15 inch have "
            "0.01 to 0.03 m: measure it, or correct torque_ratio_m"
        )


def _text(file: str, content: dict[str, Any], findings: Findings) -> str:
    """The file's text, with the origin beside each value that is not from the file."""
    lines = [f"# Made by metarl robot new from {shown(file)}. Values that it does not state have origins."]
    for key, value in content.items():
        if key == "rotors":
            lines += ["rotors:", *(f"  - {_flow(rotor)}" for rotor in value)]
        else:
            lines.append(f"{key}: {_flow(value)}{_remark(key, findings)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False, allow_unicode=True)
        .removesuffix("\n...\n")
        .strip()
    )


def _remark(key: str, findings: Findings) -> str:
    said = [
        f"{value.what}: {value.origin.value}"
        for value in findings.values
        if value.of == key and value.origin is not Origin.FILE
    ]
    return f"  # {', '.join(said)}" if said else ""
