# SPDX-License-Identifier: Apache-2.0
"""Quality of a recording of a multirotor: timing, frames, units, and thrust against weight.

Three identities are tested, over windows of WINDOW_S: the change of position is the mean velocity; the turn of the
attitude is the mean body rate; the specific force is Rᵀ(dv/dt - g). For each, the values that a wrong frame, order or
unit would give are tried, too. One that fits far better than the recording as it is, is named, with the words of a map
that mend it. Several signals in wrong axes at a time are found by flight_frames.py. The specific force times the mass
is then compared with the thrusts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.logs import ulog_file
from metarl_robot.logs.aerial_frames import enu, flu
from metarl_robot.logs.check import GAP_PERIODS, Finding, Judged, white_noise
from metarl_robot.logs.flight_frames import in_words, turned_signals
from metarl_robot.logs.flight_windows import FRD_TO_NED, GRAVITY, INVERSE, XYZW, Windows, attitudes_of, windows_of
from metarl_robot.logs.recording import Recording, Repair

Array = NDArray[np.float64]

BETTER = 9.0
"""Another frame is named where its mean squared error is this many times smaller."""
LEAST = {"velocity": 0.1, "rate": 0.1, "force": 0.7}
"""Root mean square errors that are tolerated [m/s, rad/s, m/s²]."""
AIRBORNE = 0.5
"""Thrust over weight above which the robot flies."""
DELAYS_S = np.arange(-0.04, 0.1201, 0.002)
TOLERATED, MOST_TIMES = 1.25, 2.0
"""Force over thrust, or its inverse, that is said, and that is refused."""
FAST_HZ = 30.0
EXCITED_M_S2 = 0.5


_BODY = "velocities are in body axes; they must be in world axes"
_BODY_FRD = "velocities are in body axes FRD"
_BODY_AS_NED = "velocities are in body axes FRD; they were read as NED"
_NED_AS_BODY = "velocities are NED; they were read as in body axes FRD"
_NED_VELOCITY = "velocities are NED where positions are ENU, or the reverse"
_MM = "velocities are in mm/s where positions are in m"
_RATE_FRD = "body rates are FRD; they must be FLU"
_DEG = "body rates are in deg/s; they must be in rad/s"
_IN_G = "specific forces are in g; they must be in m/s²"
_FORCE_FRD = "specific forces and rates are FRD; they must be FLU"
_UPSIDE_DOWN = "gravity acts upside down"
_REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        XYZW: "attitude: {order: xyzw}",
        INVERSE: "attitude: {axes: enu_to_flu}",
        FRD_TO_NED: "attitude: {axes: frd_to_ned}",
        _BODY: "velocity: {axes: flu}",
        _BODY_FRD: "velocity: {axes: frd}",
        _BODY_AS_NED: "velocity: {axes: frd}",
        _NED_AS_BODY: "velocity: {axes: ned}",
        _NED_VELOCITY: "velocity: {axes: ned}",
        _MM: "velocity: {unit: mm/s}",
        _RATE_FRD: "rates: {axes: frd}",
        _DEG: "rates: {unit: deg/s}",
        _IN_G: "specific_force: {unit: g}",
        _FORCE_FRD: "specific_force: {axes: frd}",
    }
)
_AXES_ALONE = (FRD_TO_NED, _NED_VELOCITY, _RATE_FRD, _FORCE_FRD)
_OF_ULOG: Mapping[str, str] = MappingProxyType(
    {_BODY_AS_NED: "ulog: {velocity: frd}", _NED_AS_BODY: "ulog: {velocity: ned}"}
)
"""The same of a ULog, whose other axes flight_frames.py finds."""


@dataclass(frozen=True, eq=False)
class FlightReport(Judged):
    """Findings in a recording of a multirotor.

    samples, duration_s, rate_hz, gaps, longest_gap_s. position_noise (3,) [m], velocity_noise (3,) [m/s], rate_noise
    (3,) [rad/s]: white. velocity_error [m/s], rate_error [rad/s], force_error [m/s²]: root mean square of the three
    identities; NaN: not measured. airborne_s. force_over_thrust: specific force along body z times mass, over the
    thrusts. delay_s: from thrusts to their effect; NaN: thrust hardly changes. excitation: standard deviation of the
    specific force along z [m/s²].
    """

    source: str
    samples: int
    duration_s: float
    rate_hz: float
    gaps: int
    longest_gap_s: float
    position_noise: Array
    velocity_noise: Array
    rate_noise: Array
    velocity_error: float
    rate_error: float
    force_error: float
    airborne_s: float
    force_over_thrust: float
    delay_s: float
    excitation: float
    repairs: tuple[Repair, ...]
    findings: tuple[Finding, ...] = ()


def check_flight(robot: Any, recording: Recording) -> FlightReport:
    """Examine a recording of a multirotor. Raises LogError if it is too short."""
    windows = windows_of(recording)
    velocity, of_velocity = _judged("velocity", windows.moved, _velocities(windows))
    rate, of_rate = _judged_rate(windows)
    force, of_force = _judged_force(windows)
    steps = np.diff(recording.time_s)
    gaps = steps[steps >= GAP_PERIODS * recording.period_s]
    along, thrust = _along_z(robot, recording)
    flying = thrust > AIRBORNE * robot.mass_kg * GRAVITY[2]
    report = FlightReport(
        source=recording.source,
        samples=len(recording.time_s),
        duration_s=recording.duration_s,
        rate_hz=1.0 / recording.period_s,
        gaps=len(gaps),
        longest_gap_s=float(gaps.max(initial=0.0)),
        position_noise=white_noise(recording.q[:, :3]),
        velocity_noise=white_noise(recording.v[:, :3]),
        rate_noise=white_noise(recording.v[:, 3:]),
        velocity_error=velocity,
        rate_error=rate,
        force_error=force,
        airborne_s=float(steps[flying[1:]].sum()),
        force_over_thrust=float(along[flying].sum() / thrust[flying].sum()) if flying.any() else float("nan"),
        delay_s=_delay(recording.time_s, along, thrust, flying),
        excitation=float(along[flying].std() / robot.mass_kg) if flying.any() else 0.0,
        repairs=recording.repairs,
    )
    of_ulog = recording.source.endswith(ulog_file.SUFFIX)
    single = [each for each in (of_velocity, of_rate) if each is not None]
    if not single and of_force is not None:  # else it follows from these
        single = [of_force]
    found = _of_axes(robot, recording, windows, single, of_ulog) or [_mended(each, of_ulog) for each in single]
    found += [] if found else _of_thrust(report)
    return replace(report, findings=(*found, *_of_timing(report)))


def _of_axes(robot: Any, recording: Recording, windows: Windows, single: list[Finding], of_ulog: bool) -> list[Finding]:
    """Signals in the axes of autopilots, if the findings about single signals do not say it as well."""
    thrust = windows.mean(recording.effort.sum(axis=1)[:, None])[:, 0] / robot.mass_kg
    signals = turned_signals(windows, thrust)
    said = single and not (of_ulog and all(each.text in _AXES_ALONE for each in single))
    if not signals or (said and len(signals) == 1 and signals != ("position",)):
        return []
    words = in_words(signals, of_ulog)
    measured = windows.force is not None
    upside_down = len(signals) == (5 if measured else 4)
    return [Finding("fault", f"{_UPSIDE_DOWN}: {words}" if upside_down else words)]


def _mended(finding: Finding, of_ulog: bool) -> Finding:
    """With the words of a map that mend it, if there are any."""
    words = (_OF_ULOG if of_ulog else _REMEDIES).get(finding.text, "")
    return replace(finding, text=f"{finding.text}: say '{words}' in a map") if words else finding


def _velocities(windows: Windows) -> dict[str, Array]:
    """Mean velocities as given, and as they are where one thing is wrong."""
    given, attitude = windows.velocity, windows.attitude
    return {
        "": given,
        _BODY: rotation.rotate(attitude, given),
        "velocities are turned into body axes twice": rotation.rotate_back(attitude, given),
        _NED_VELOCITY: enu(given),
        "velocities have the sign opposite to the change of positions": -given,
        _BODY_FRD: rotation.rotate(attitude, flu(given)),
        _BODY_AS_NED: rotation.rotate(attitude, flu(enu(given))),
        _NED_AS_BODY: enu(flu(rotation.rotate_back(attitude, given))),
        _MM: 1e-3 * given,
    }


def _judged(name: str, truth: Array, tried: Mapping[str, Array]) -> tuple[float, Finding | None]:
    """Root mean square error of the signal as given, and a fault where another reading fits far better."""
    errors = {words: float(np.sqrt(np.mean(np.sum((truth - each) ** 2, axis=1)))) for words, each in tried.items()}
    best, given = min(errors, key=lambda words: errors[words]), errors[""]
    if best and given > LEAST[name] and errors[best] ** 2 * BETTER < given**2:
        return given, Finding("fault", best)
    if given > 3.0 * LEAST[name] and given > 0.7 * float(np.sqrt(np.mean(np.sum(truth**2, axis=1)))):
        return given, Finding("warning", f"the {name} of the recording does not agree with its pose: {given:.2g} SI")
    return given, None


def _judged_rate(windows: Windows) -> tuple[float, Finding | None]:
    """As _judged, for turns and body rates. FRD rates or FRD attitudes fit equally; the thrust's direction decides."""
    error, of_attitude = _judged("rate", windows.rate, windows.turned)
    rates = {"": windows.rate, _RATE_FRD: flu(windows.rate), _DEG: np.deg2rad(windows.rate)}
    _, of_rate = _judged("rate", windows.turned[""], rates)
    faults = [each for each in (of_attitude, of_rate) if each is not None and each.level == "fault"]
    if len(faults) < 2 or of_attitude is None:
        return error, faults[0] if faults else of_attitude
    other = attitudes_of(windows.attitude)[of_attitude.text]
    needed = windows.pushed + GRAVITY
    return error, of_attitude if _sideways(other, needed) < _sideways(windows.attitude, needed) else of_rate


def _sideways(attitude: Array, force: Array) -> float:
    """Root mean square across body z of a force [m/s²; world]: rotors hardly push there."""
    across = rotation.rotate_back(attitude, force)[:, :2]
    return float(np.sqrt(np.mean(np.sum(across**2, axis=1))))


def _judged_force(windows: Windows) -> tuple[float, Finding | None]:
    """As _judged, for the specific force; NaN: not measured."""
    if windows.force is None:
        as_given, down = (_sideways(windows.attitude, windows.pushed + sign * GRAVITY) for sign in (1.0, -1.0))
        wrong = as_given > LEAST["force"] and down**2 * BETTER < as_given**2
        return float("nan"), Finding("fault", _UPSIDE_DOWN) if wrong else None
    given, expected = windows.force, rotation.rotate_back(windows.attitude, windows.pushed + GRAVITY)
    tried = {
        "": given,
        "specific forces are zero: the accelerometer was never recorded": given + expected,
        "specific forces have the wrong sign: at rest, body z must read +9.81": -given,
        _IN_G: 9.81 * given,
        _FORCE_FRD: flu(given),
        _UPSIDE_DOWN: given + rotation.rotate_back(windows.attitude, 2.0 * GRAVITY),
    }
    if np.abs(given).max() > 1e-3:
        tried.pop("specific forces are zero: the accelerometer was never recorded")
    error, finding = _judged("force", expected, tried)
    if finding is not None and finding.level == "fault":
        return error, finding
    turned = {
        words: rotation.rotate_back(each, windows.pushed + GRAVITY)
        for words, each in attitudes_of(windows.attitude).items()
    }
    return _judged("force", given, turned)


def _along_z(robot: Any, recording: Recording) -> tuple[Array, Array]:
    """Specific force along body z times mass, and the sum of thrusts, (K,) [N]."""
    if recording.specific_force is not None:
        along = recording.specific_force[:, 2]
    else:
        acceleration = np.gradient(recording.v[:, :3], recording.time_s, axis=0)
        along = rotation.rotate_back(recording.q[:, 3:], acceleration + GRAVITY)[:, 2]
    return robot.mass_kg * along, recording.effort.sum(axis=1)


def thrust_delay_s(robot: Any, recording: Recording) -> float:
    """Delay from thrusts to their effect [s]; NaN: the thrust hardly changes."""
    along, thrust = _along_z(robot, recording)
    return _delay(recording.time_s, along, thrust, thrust > AIRBORNE * robot.mass_kg * GRAVITY[2])


def _delay(time_s: Array, along: Array, thrust: Array, flying: NDArray[np.bool_]) -> float:
    """Delay with which thrusts fit best to the force; NaN: they hardly change."""
    if flying.sum() < 100 or thrust[flying].std() < 0.01 * thrust[flying].mean():
        return float("nan")
    costs, before = [], time_s - 0.5 * float(np.median(np.diff(time_s)))  # forces are means since the last sample
    for delay_s in DELAYS_S:
        later = np.interp(before - delay_s, time_s, thrust)[flying]
        columns = np.stack([later, np.ones_like(later)], axis=1)
        fitted, *_ = np.linalg.lstsq(columns, along[flying], rcond=None)
        costs.append(float(np.mean((along[flying] - columns @ fitted) ** 2)))
    return float(DELAYS_S[int(np.argmin(costs))])


def _of_thrust(report: FlightReport) -> list[Finding]:
    times = report.force_over_thrust
    if not np.isfinite(times):
        return [Finding("fault", "the robot never flies: its thrusts stay below half of its weight")]
    if times < 0.0:
        return [Finding("fault", _UPSIDE_DOWN)]
    if not 1.0 / MOST_TIMES < times < MOST_TIMES:
        text = f"the force is {times:.3g} times the thrusts: another mass, another largest thrust, or other motors?"
        return [Finding("fault", text)]
    if not 1.0 / TOLERATED < times < TOLERATED:
        text = f"the force is {times:.3g} times the thrusts: a weak or strong battery, or another largest thrust"
        return [Finding("warning", text)]
    if report.excitation < EXCITED_M_S2:
        return [Finding("note", "the thrust hardly changes: a payload looks like a weak battery")]
    return []


def _of_timing(report: FlightReport) -> list[Finding]:
    found = []
    if report.rate_hz < FAST_HZ:
        found.append(Finding("warning", f"{report.rate_hz:.3g} Hz: adapters need {FAST_HZ:g} Hz"))
    if report.gaps:
        words = f"{report.gaps} gaps, the longest of {report.longest_gap_s:.3g} s: predictions skip them"
        found.append(Finding("note", words))
    if report.delay_s > 0.05:
        found.append(Finding("warning", f"thrusts act {1e3 * report.delay_s:.3g} ms after their stamp"))
    return found
