# SPDX-License-Identifier: Apache-2.0
"""Quality of a recording: timing, noise, consistency, signs, and how well the motion shows the robot's parameters.

Efforts are compared with those that the nominal model needs for the recorded motion, τ = -β + ṗ (cells.py). For each
joint they are fitted by least squares,

    τ_recorded = s_g g(q) + s_i (τ_nominal - g(q)) + c tanh(v / v_s) + b v + o

with g the nominal gravity. s_g and s_i are 1 if signs, units, joints and gravity are right; both are -1 where efforts
have the other sign, s_g alone where gravity points up, and s_g is 0 where a driver compensates gravity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.stream_cells import SMOOTHED_STEPS
from metarl_robot.core.robot import Robot, named
from metarl_robot.logs.cells import Cells, measure
from metarl_robot.logs.known import DELAYS_S, LEAST_SHARE, Known
from metarl_robot.logs.plausible import exchanged, velocity_slope
from metarl_robot.logs.recording import FROZEN, LogError, Recording, Repair

Array = NDArray[np.float64]

GAP_PERIODS = 2.5
OUTLIER_SIGMAS = 10.0
"""A sample is an outlier where its second difference is as many robust standard deviations."""
SLOW_RAD_S = 0.02
TOLERATED = 0.35
"""Slopes further from 1, or from 0, are said. A payload of rated mass makes about as much."""
MOST_TIMES = 2.0
"""With efforts that are as many times those that gravity needs, or less than the inverse, a unit is wrong."""
SURE = 4.0
"""A slope counts where its size is this many standard errors."""
SAME_SCALE = 1.5
"""Scales of joints that differ by less have one reason."""
FAST_HZ = 60.0
"""Slower recordings are too slow for adapters that learn."""
MOST_REPAIRED = 0.05
MOVING_RAD_S = 0.02
_ALL_TURNED = "have the sign opposite to the nominal model's"


@dataclass(frozen=True)
class Finding:
    """level: "fault" (the recording misleads), "warning" or "note". text: what was found, and the remedy."""

    level: str
    text: str


class Judged:
    """A report whose verdict follows from its findings."""

    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        return not any(finding.level == "fault" for finding in self.findings)

    @property
    def verdict(self) -> str:
        levels = [finding.level for finding in self.findings]
        if "fault" in levels:
            return "not usable as it is"
        return "usable, with reservations" if "warning" in levels else "usable"


@dataclass(frozen=True, eq=False)
class Report(Judged):
    """Findings in one recording. Arrays are (n,), one value for each joint.

    samples, duration_s, rate_hz. jitter_s: standard deviation of the time between samples, without gaps. gaps,
    longest_gap_s. outliers: samples. position_noise, velocity_noise, effort_noise: white noise [rad, rad/s, Nm].
    inconsistency: root mean square of Δq - v Δt over that of Δq. velocity_slope: of velocities over Δq / Δt; NaN: no
    motion. delay_s: from an effort to its effect. gravity_slope, motion_slope: s_g and s_i, with standard errors; NaN:
    not excited. coulomb, viscous: c, b. missed: root mean square force that the nominal model misses. reach: range of
    positions [rad]. speed: root mean square velocity. parameters: names, and standard deviation that this recording
    allows. exchanged: joints whose velocity is that of another one.
    """

    source: str
    samples: int
    duration_s: float
    rate_hz: float
    jitter_s: float
    gaps: int
    longest_gap_s: float
    outliers: int
    position_noise: Array
    velocity_noise: Array
    effort_noise: Array
    inconsistency: Array
    velocity_slope: float
    delay_s: float
    gravity_slope: Array
    gravity_slope_std: Array
    motion_slope: Array
    motion_slope_std: Array
    coulomb: Array
    viscous: Array
    missed: Array
    reach: Array
    speed: Array
    parameters: tuple[str, ...]
    parameter_std: Array
    exchanged: tuple[str, ...]
    repairs: tuple[Repair, ...]
    findings: tuple[Finding, ...] = ()


class Fit:
    """Recorded efforts on the nominal model's; see the module's docstring. τ: (N, n) at the steps of cells."""

    def __init__(self, robot: Robot, dynamics: Any, cells: Cells) -> None:
        self._least = LEAST_SHARE * robot.effort_limit
        _, momentum, beta = dynamics.momenta(cells.q, cells.v)
        gravity = -dynamics.momenta(cells.q, np.zeros_like(cells.q))[2]
        self.time_s = cells.time_s[0] + cells.step_s * (np.arange(len(cells.q) - 1) + 0.5)
        self.gravity, self.v = (0.5 * (each[1:] + each[:-1]) for each in (gravity, cells.v))
        self.nominal = np.diff(momentum, axis=0) / cells.step_s - 0.5 * (beta[1:] + beta[:-1])
        self.recorded = 0.5 * (cells.effort[1:] + cells.effort[:-1])
        self.usable = np.repeat(cells.usable, len(self.nominal) // len(cells))

    def joint(self, j: int, recorded: Array) -> tuple[Array, Array, float]:
        """Coefficients (5,) of one joint with standard errors (5,), and the root mean square residual."""
        v, used = self.v[:, j], self.usable
        columns = (self.gravity[:, j], (self.nominal - self.gravity)[:, j], np.tanh(v / SLOW_RAD_S), v, np.ones_like(v))
        phi = np.stack(columns, axis=1)[used]
        gram = phi.T @ phi + 1e-9 * np.eye(5)
        fitted = np.linalg.solve(gram, phi.T @ recorded[used])
        left = recorded[used] - phi @ fitted
        variance = SMOOTHED_STEPS * max(np.mean(left**2), self._least[j] ** 2)  # smoothed steps are correlated
        return fitted, np.sqrt(variance * np.diagonal(np.linalg.inv(gram))), float(np.sqrt(np.mean(left**2)))


def check(robot: Robot, recording: Recording) -> Report:
    """Examine a recording. Raises LogError if it is too short."""
    dynamics = named(robot.dynamics)(robot)
    cells = measure(dynamics, recording)
    if not cells.usable.any():
        raise LogError(f"{recording.source}: no {cells.cell_s:g} s without a gap; a check needs some")
    fit = Fit(robot, dynamics, cells)
    fitted, errors = (
        np.array(each) for each in zip(*(fit.joint(j, fit.recorded[:, j])[:2] for j in range(robot.dof)), strict=True)
    )
    steps = np.diff(recording.time_s)
    regular = steps[steps < GAP_PERIODS * recording.period_s]
    gaps = steps[steps >= GAP_PERIODS * recording.period_s]
    slope = velocity_slope(recording)
    slope, known = float("nan") if slope is None else slope, Known(robot, dynamics, cells)
    made = Report(
        source=recording.source,
        samples=len(recording.time_s),
        duration_s=recording.duration_s,
        rate_hz=1.0 / recording.period_s,
        jitter_s=float(regular.std()),
        gaps=len(gaps),
        longest_gap_s=float(gaps.max(initial=0.0)),
        outliers=_outliers(recording),
        position_noise=white_noise(recording.q),
        velocity_noise=white_noise(recording.v),
        effort_noise=white_noise(recording.effort),
        inconsistency=_inconsistency(recording),
        velocity_slope=slope,
        delay_s=known.delay_s() if np.isfinite(slope) else float("nan"),
        gravity_slope=_if_sure(fitted[:, 0], errors[:, 0]),
        gravity_slope_std=errors[:, 0],
        motion_slope=_if_sure(fitted[:, 1], errors[:, 1]),
        motion_slope_std=errors[:, 1],
        coulomb=fitted[:, 2],
        viscous=fitted[:, 3],
        missed=np.sqrt(np.mean(cells.residual[cells.usable] ** 2, axis=0)),
        reach=np.ptp(recording.q, axis=0),
        speed=np.sqrt(np.mean(cells.v**2, axis=0)),
        parameters=known.names,
        parameter_std=known.std,
        exchanged=tuple(
            f"that of {robot.channel_names[j]} follows the position of {robot.channel_names[other]}"
            for j, other in exchanged(recording)
        ),
        repairs=recording.repairs,
    )
    return Report(**{**vars(made), "findings": tuple(_findings(robot, made))})


def _if_sure(slope: Array, error: Array) -> Array:
    """Slopes that were excited: known to better than a half of 1."""
    return np.where(error < 0.5 / np.sqrt(SURE), slope, np.nan)


def white_noise(values: Array) -> Array:
    """Standard deviation (n,) of the white noise in samples (K, n): third differences have 20 times its variance."""
    third = np.diff(values, n=3, axis=0)
    return np.asarray(1.4826 * np.median(np.abs(third), axis=0) / np.sqrt(20.0))


def _outliers(recording: Recording) -> int:
    """Number of samples that leap away from both neighbours in some signal."""
    away = np.zeros(len(recording.time_s) - 2, dtype=bool)
    for values in (recording.q, recording.v, recording.effort):
        second = np.abs(np.diff(values, n=2, axis=0))
        usual = 1.4826 * np.median(second, axis=0) + 1e-3 * np.ptp(values, axis=0) + 1e-12
        away |= (second > OUTLIER_SIGMAS * usual).any(axis=1)
    starts = np.flatnonzero(away)
    return int(np.count_nonzero(np.diff(starts, prepend=-10) > 2))


def _inconsistency(recording: Recording) -> Array:
    steps = np.diff(recording.time_s)[:, None]
    moved = np.diff(recording.q, axis=0)
    missed = moved - steps * 0.5 * (recording.v[1:] + recording.v[:-1])
    return np.asarray(np.sqrt(np.mean(missed**2, axis=0)) / np.maximum(np.sqrt(np.mean(moved**2, axis=0)), 1e-12))


def _findings(robot: Robot, report: Report) -> list[Finding]:
    velocity = _of_velocity(report)
    wrong = any(each.level == "fault" for each in velocity)  # then nothing can be said about efforts in motion
    signs = [] if wrong else _of_signs(robot, report)
    found = [*_of_timing(report), *velocity, *signs, *_of_excitation(robot, report)]
    if not wrong and not any(each.level == "fault" for each in signs):
        found += _of_delay(report)
    return sorted(found, key=lambda finding: ("fault", "warning", "note").index(finding.level))


def _of_timing(report: Report) -> list[Finding]:
    found = []
    left_out = _rows_left_out(report.repairs)
    if left_out > MOST_REPAIRED * report.samples:
        found.append(Finding("warning", f"{left_out} rows were left out beside {report.samples} good ones"))
    frozen = sum(repair.count for repair in report.repairs if repair.what == FROZEN)
    if frozen:
        text = f"states were frozen in {frozen} rows while the robot moved (left out): does the driver repeat its last?"
        found.append(Finding("warning", text))
    if report.rate_hz < FAST_HZ:
        found.append(Finding("warning", f"{report.rate_hz:.3g} Hz: adapters that learn need {FAST_HZ:g} Hz"))
    if report.jitter_s > 0.2 / report.rate_hz:
        text = f"stamps jitter by {1e3 * report.jitter_s:.2g} ms: record the time of measurement, not of reception"
        found.append(Finding("warning", text))
    if report.gaps:
        found.append(
            Finding("note", f"{report.gaps} gaps, the longest of {report.longest_gap_s:.3g} s: predictions skip them")
        )
    if report.outliers > MOST_REPAIRED * report.samples:
        found.append(Finding("warning", f"{report.outliers} samples leap away from both neighbours"))
    return found


def _rows_left_out(repairs: Sequence[Repair]) -> int:
    """Rows that were left out; those of a message with several signals count once."""
    each: dict[str, int] = {}
    for repair in repairs:
        if "left out" in repair.what:
            reason = repair.what.split(" that are ")[-1]
            each[reason] = max(each.get(reason, 0), repair.count)
    return sum(each.values())


def _of_delay(report: Report) -> list[Finding]:
    """Of efforts that are right."""
    if report.delay_s < DELAYS_S[1]:
        text = f"efforts act {-1e3 * DELAYS_S[0]:.3g} ms or more before their stamps: filtered, or stamped late?"
        return [Finding("warning", text)]
    if not abs(report.delay_s) > 0.025:
        return []
    text = f"efforts act {1e3 * report.delay_s:.3g} ms after their stamp: commands through a queue, or two clocks"
    return [Finding("warning", text)]


def _of_velocity(report: Report) -> list[Finding]:
    slope = report.velocity_slope
    if not np.isfinite(slope):
        return [Finding("warning", "the robot hardly moves: neither signs nor friction can be checked")]
    if report.exchanged:
        text = (
            f"velocities are of other joints than positions: {'; '.join(report.exchanged)}: name the columns in a map"
        )
        return [Finding("fault", text)]
    if slope < 0.0:
        return [
            Finding(
                "fault", "velocities have the sign opposite to the change of positions: set velocity: sign in a map"
            )
        ]
    if abs(slope - 1.0) > 0.2:
        return [Finding("fault", f"velocities are {slope:.3g} times the change of positions: another unit?")]
    if abs(slope - 1.0) > 0.03:
        return [Finding("warning", f"velocities are {slope:.3g} times the change of positions: filtered, or clipped?")]
    return []


def _of_signs(robot: Robot, report: Report) -> list[Finding]:
    gravity, motion = report.gravity_slope, report.motion_slope
    known = np.isfinite(gravity)
    joints = _of_scales(robot, report) or _of_turned(robot, report)
    if joints or not known.any():
        return joints
    weight = np.where(known, 1.0 / report.gravity_slope_std**2, 0.0)
    whole = float((weight * np.nan_to_num(gravity)).sum() / weight.sum())
    sure = np.isfinite(motion)
    moved = float(np.median(motion[sure])) if sure.any() else float("nan")
    if abs(whole) < TOLERATED and not moved < TOLERATED:
        text = "efforts hold no gravity: set effort: gravity_compensated: true in a map"
        return [Finding("fault", text)]
    if whole < 0.0 and moved > 0.0:
        return [Finding("fault", "gravity acts upside down: is the robot mounted as its robot.xml says?")]
    if not 1.0 / MOST_TIMES < whole < MOST_TIMES:
        text = (
            f"efforts are {whole:.3g} times those that gravity needs: currents without a gain, efforts of the motors' "
            f"side, or another unit? Set effort: gain, effort: gear (about {1.0 / whole:.3g}) or effort: unit in a map"
        )
        return [Finding("fault", text)]
    odd = [
        f"{robot.channel_names[j]} ({gravity[j]:.2f})"
        for j in np.flatnonzero(known)
        if abs(gravity[j] - 1.0) > TOLERATED
    ]
    if odd:
        text = f"efforts over gravity are not near 1 at {', '.join(odd)}: a payload, another gain, or wrong links"
        return [Finding("warning", text)]
    return []


def _of_turned(robot: Robot, report: Report) -> list[Finding]:
    """Joints whose efforts have the other sign: by gravity or by motion, and neither has the right one.

    Each joint is judged by itself: gravity is much larger at some joints, and would decide for all.
    """
    slopes = np.stack([report.gravity_slope, report.motion_slope])
    away = np.maximum(SURE * np.stack([report.gravity_slope_std, report.motion_slope_std]), TOLERATED)
    turned: NDArray[np.bool_] = np.any(slopes < -away, axis=0) & ~np.any(slopes > TOLERATED, axis=0)
    if not turned.any():
        return []
    names = ", ".join(np.array(robot.channel_names)[turned])
    which = f"of {names} have the opposite sign" if (slopes[:, ~turned] > TOLERATED).any() else _ALL_TURNED
    entry = ", ".join("-1" if each else "1" for each in turned)
    return [Finding("fault", f"efforts {which}: set effort: sign to [{entry}] in a map, times its present entries")]


def _of_scales(robot: Robot, report: Report) -> list[Finding]:
    """Joints whose efforts are far from those that the motion needs, each by a factor of its own."""
    scale, error = scales(report)
    sure = np.isfinite(scale) & (np.abs(scale) > SURE * error)
    size = np.where(sure, np.abs(scale), np.nan)
    far = sure & ((size < 1.0 / MOST_TIMES) | (size > MOST_TIMES))
    if far.sum() < 2 or 2 * far.sum() < sure.sum() or np.nanmax(size) < SAME_SCALE * np.nanmin(size):
        return []
    listed = ", ".join(f"{name} {times:.3g}" for name, times in zip(robot.channel_names, scale, strict=True))
    inverse = ", ".join("?" if np.isnan(each) else f"{1.0 / each:.3g}" for each in size)
    negative = [robot.channel_names[j] for j in np.flatnonzero(sure & (scale < 0.0))]
    sign = f", and effort: sign of {', '.join(negative)}" if negative else ""
    text = (
        f"efforts over those that the motion needs differ from joint to joint ({listed}): efforts of the motors' side "
        f"of gears, or currents with a gain of the motors? Set effort: gear to the data sheet's (about [{inverse}])"
        f"{sign} in a map"
    )
    return [Finding("fault", text)]


def scales(report: Report) -> tuple[Array, Array]:
    """Recorded efforts over the nominal model's (n,), and standard errors: the mean of s_g and s_i where they agree.

    NaN: not excited, or they disagree, as with a payload or where a driver compensates gravity.
    """
    slopes = np.stack([report.gravity_slope, report.motion_slope])
    errors = np.where(np.isfinite(slopes), np.stack([report.gravity_slope_std, report.motion_slope_std]), np.inf)
    weights = 1.0 / errors**2
    total = np.maximum(weights.sum(axis=0), 1e-300)
    mean = (weights * np.nan_to_num(slopes)).sum(axis=0) / total
    differ = np.abs(slopes[0] - slopes[1]) > TOLERATED * np.abs(mean) + SURE * np.hypot(*errors)
    return np.where(differ | ~np.isfinite(slopes).any(axis=0), np.nan, mean), 1.0 / np.sqrt(total)


def _of_excitation(robot: Robot, report: Report) -> list[Finding]:
    still = [name for name, speed in zip(robot.channel_names, report.speed, strict=True) if speed < MOVING_RAD_S]
    if still and len(still) < robot.dof:
        return [Finding("note", f"{', '.join(still)} hardly moves: its friction is not seen")]
    return []
