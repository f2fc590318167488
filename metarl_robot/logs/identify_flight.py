# SPDX-License-Identifier: Apache-2.0
"""Parameters of a quadrotor from recordings: the most probable ones under a prior about the nominal model.

Coordinates z are those of flight_model.py, and a constant wind for each recording. With the errors r(z) of the
accelerations, z minimises

    Σ_rows w r² / (s² a) + Σ ((z - z_0) / σ)²

with the scatter s, the integrated autocorrelation a and Cauchy's weights w as of arms (identify.py). The inverse of the
Hessian is the covariance.

Motion shows ratios of mass, thrust, inertia and drag (m, γ, J, d) alone. The torque ratio c_τ shows beside the inertia
about z only as far as drag at the hubs turns the robot. A mass from a scale and a torque ratio from a thrust stand tell
them apart; without, the prior does, and the standard errors contain this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.logs.flight_model import AS_LOGARITHM, NAMES, WINDS, Errors, FlightModel, nominal_values, values_of
from metarl_robot.logs.most_probable import MOST_ALIKE, TOLERATED, autocorrelation
from metarl_robot.logs.recording import COLLECTIVE, LogError, Recording

Array = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

MASS_STD, THRUST_STD, CURVATURE_STD, INERTIA_STD, TORQUE_STD, LAG_STD = 0.1, 0.25, 0.3, 0.5, 0.3, 0.5
"""Prior standard deviations, of logarithms but for the curvature."""
GIVEN_STD = 1e-3
"""That of a given mass or torque ratio."""
DELAY_STD_S = 0.02
DRAG_SHARE, DRAG_AT_M_S, WIND_STD_M_S = 0.1, 10.0, 5.0
"""Drag, as a share of the weight at this speed, and the wind."""
CENTRE_SHARE, YAW_SHARE = 0.1, 0.2
"""Offset of the centre of mass over the length of an arm, and yaw_offset over the torque ratio."""
MOST_SAMPLES = 120_000
"""Samples of all recordings that are used, from their starts: ten minutes at 200 Hz."""
LEAST_S = 3.0
"""Least time in flight."""
ROUNDS, FOLDS = 4, 5
NO_LAG_S = 1e-4
"""Least motor_time_s of a robot.yaml."""
_INERTIA = np.array([NAMES.index(f"inertia_{axis}") for axis in "xyz"])
_LAG = np.array([NAMES.index(name) for name in ("motor_time_up", "motor_time_down", "delay")])
_APART = 2
"""Windows apart that share no samples."""
_STEPS, _HALVINGS, _CLOSE, _DIFFERENCE, _WIND_STEPS = 8, 8, 1e-2, 1e-3, 2


@dataclass(frozen=True)
class Given:
    """Measured on the ground: mass [kg], torque over thrust of a rotor [m]; None: not measured."""

    mass_kg: float | None = None
    torque_ratio_m: float | None = None


@dataclass(frozen=True, eq=False)
class FlightFold:
    """Held-out data, in a wind of their own that is fitted to them.

    nominal, identified: (2,) root mean square error of accelerations [m/s²], [rad/s²].
    """

    name: str
    nominal: Array
    identified: Array


@dataclass(frozen=True, eq=False)
class IdentifiedFlight:
    """z (p,) with covariance (p, p), prior start and std (p,). flown_s: time in flight that was used.

    given: what was measured on the ground. sources: of the recordings. lag_seen: whether they have commands,
    before the motors' lag.
    """

    robot: Any
    given: Given
    sources: tuple[str, ...]
    start: Array
    std: Array
    z: Array
    covariance: Array
    folds: tuple[FlightFold, ...]
    flown_s: float
    lag_seen: bool

    @property
    def by_z(self) -> Array:
        """Derivatives (p,) of the values of NAMES, then of the winds, with respect to z."""
        made, at = np.ones(len(self.z)), list(AS_LOGARITHM)
        made[at] = self.values[at]
        return made

    @property
    def std_errors(self) -> Array:
        """Standard errors of the values of NAMES."""
        return np.asarray((self.by_z * np.sqrt(np.diagonal(self.covariance)))[: len(NAMES)])

    @property
    def values(self) -> Array:
        """Values of NAMES."""
        return values_of(nominal_values(self.robot), self.z)

    @property
    def over_nominal(self) -> float:
        """Error on held-out data over the nominal model's: mean of those of velocities and of rates."""
        nominal, identified = (
            np.sqrt(np.mean([getattr(fold, name) ** 2 for fold in self.folds], axis=0))
            for name in ("nominal", "identified")
        )
        return float(np.mean(identified / nominal))


def without_lag(robot: Any) -> Any:
    """The robot whose motors follow at once, as which its recordings are read."""
    description = robot.description.model_copy(update={"motor_time_s": (NO_LAG_S, NO_LAG_S)})
    return type(robot)(description, robot.folder)


def identify_flight(
    robot: Any, recordings: Sequence[Recording], given: Given = Given(), progress: Progress | None = None
) -> IdentifiedFlight:
    """Identify a quadrotor from recordings of one condition, read as of `without_lag(robot)`.

    Raises:
        LogError: too little flight, or a collective thrust alone.
    """
    report = progress or (lambda phase, done, total: None)
    _check(recordings)
    most = MOST_SAMPLES // len(recordings)
    models = [FlightModel(robot, _part(each, most)) for each in recordings]
    start, std = _prior(robot, given, len(recordings))
    fit = _Fit(models, start, std)
    nominal = [model.errors(np.zeros(len(start)), np.zeros(WINDS)) for model in models]
    flown_s = sum(float(np.sum(each.usable[0])) * _hop(each) for each in nominal)
    if flown_s < LEAST_S:
        raise LogError(
            f"the quadrotor flies for {flown_s:.3g} s in these recordings, without gaps; at least {LEAST_S:g} s are "
            "needed: record a flight with fast turns and changes of height"
        )
    z = start.copy()
    for done in range(ROUNDS):
        report("fit", done, ROUNDS)
        fit.weigh(z)
        z, hessian = fit.solve(z)
    report("fit", ROUNDS, ROUNDS)
    given_robot, parts, folds = fit.errors(fit.in_wind(np.zeros(len(start)))), _parts(recordings, nominal), []
    for done, (name, held) in enumerate(parts):
        report("held out", done, len(parts))
        fitted, _ = fit.solve(z, [tuple(~each for each in log) for log in held], steps=1)  # near: linear
        folds.append(FlightFold(name, _missed(given_robot, held), _missed(fit.errors(fit.in_wind(fitted)), held)))
    report("held out", len(parts), len(parts))
    covariance = np.asarray(np.linalg.inv(hessian))
    _widen(covariance, fit.fed_back(z), std)
    sources, lag_seen = tuple(each.source for each in recordings), any(model.has_commands for model in models)
    return IdentifiedFlight(robot, given, sources, start, std, z, covariance, tuple(folds), flown_s, lag_seen)


def _widen(covariance: Array, fed_back: Array, std: Array) -> None:
    """Widen variances by those of ln J that are fed back (3,), up to the prior's std (p,).

    Lag and delay show in the same errors as the inertias about x and y: they are widened by as large a factor.
    """
    variance = np.diagonal(covariance).copy()
    factor = float(np.max(1.0 + fed_back[:2] ** 2 / variance[_INERTIA[:2]]))
    variance[_INERTIA] += fed_back**2
    variance[_LAG] *= factor
    np.fill_diagonal(covariance, np.minimum(variance, std**2))


def _check(recordings: Sequence[Recording]) -> None:
    collective = [each.source for each in recordings if each.rotors == COLLECTIVE]
    if collective:
        raise LogError(
            f"{', '.join(collective)}: has a collective thrust alone, which shows no torque; identification needs the "
            "command or the speed of each rotor: name them as rotors in a map"
        )


def _part(recording: Recording, most: int) -> Recording:
    """The first samples."""
    first = {name: getattr(recording, name)[:most] for name in ("time_s", "q", "v", "effort")}
    return replace(recording, **first, specific_force=None)


def _prior(robot: Any, given: Given, logs: int) -> tuple[Array, Array]:
    """z_0 and σ (p,)."""
    nominal, weight = nominal_values(robot), robot.mass_kg * 9.81
    start = dict.fromkeys(NAMES, 0.0)
    drag = dict(zip(NAMES, nominal, strict=True))
    push = DRAG_SHARE * weight / DRAG_AT_M_S
    speeds = float(robot.speeds(robot.hover_thrust).sum())
    arm = float(np.linalg.norm(robot.rotor_positions[:, :2], axis=1).mean())
    std = {
        "mass": MASS_STD,
        "thrust": THRUST_STD,
        "thrust_curvature": CURVATURE_STD,
        **dict.fromkeys(("inertia_x", "inertia_y", "inertia_z"), INERTIA_STD),
        "torque_ratio": TORQUE_STD,
        **dict.fromkeys(("motor_time_up", "motor_time_down"), LAG_STD),
        "delay": DELAY_STD_S,
        **dict.fromkeys(("centre_x", "centre_y"), CENTRE_SHARE * arm),
        "yaw_offset": YAW_SHARE * robot.torque_ratio,
    }
    for name in NAMES:
        if name.startswith("rotor_drag"):
            start[name], std[name] = drag[name], float(np.hypot(push / speeds, drag[name]))
        elif name.startswith("parasitic_drag"):
            start[name], std[name] = drag[name], float(np.hypot(push / DRAG_AT_M_S, drag[name]))
    if given.mass_kg is not None:
        start["mass"], std["mass"] = float(np.log(given.mass_kg / robot.mass_kg)), GIVEN_STD
    if given.torque_ratio_m is not None:
        start["torque_ratio"] = float(np.log(given.torque_ratio_m / robot.torque_ratio))
        std["torque_ratio"] = GIVEN_STD
    winds = WINDS * logs
    return (
        np.array([*(start[name] for name in NAMES), *np.zeros(winds)]),
        np.array([*(std[name] for name in NAMES), *np.full(winds, WIND_STD_M_S)]),
    )


def _hop(errors: Errors) -> float:
    middle = errors.middle_s[0]
    return float(middle[1] - middle[0]) if len(middle) > 1 else 0.0


Held = list[tuple[NDArray[np.bool_], ...]]
"""Windows (W,) of velocities and of rates that are held out, of each recording."""


class _Fit:
    """Rows of all recordings with their weights, and the iteration."""

    def __init__(self, models: Sequence[FlightModel], start: Array, std: Array) -> None:
        self._models, self._start, self._std = models, start, std
        self._roots: list[tuple[Array, Array]] = []
        self._expanded: tuple[Array, Array, Array] | None = None

    def errors(self, z: Array) -> list[Errors]:
        """Errors of each recording."""
        return [model.errors(z, z[self._wind(i)]) for i, model in enumerate(self._models)]

    def _wind(self, i: int) -> slice:
        first = len(NAMES) + WINDS * i
        return slice(first, first + WINDS)

    def weigh(self, z: Array) -> None:
        """Weigh rows by the errors at z: roots of weights (W, 3), 0 where a row is not used."""
        found = self.errors(z)
        made: list[list[Array]] = [[] for _ in found]
        for kind in range(2):
            values, used = [each.value[kind] for each in found], [each.usable[kind] for each in found]
            kept = np.concatenate([value[at] for value, at in zip(values, used, strict=True)])
            scatter = np.maximum(1.4826 * np.median(np.abs(kept), axis=0), 1e-9)
            weights = [1.0 / (1.0 + (value / (TOLERATED * scatter)) ** 2) for value in values]
            alike = np.array(
                [
                    autocorrelation([v[:, j] * np.sqrt(w[:, j]) for v, w in zip(values, weights, strict=True)], used)
                    for j in range(3)
                ]
            )
            scale = 1.0 / (scatter * np.sqrt(np.minimum(alike, MOST_ALIKE)))
            for log, (weight, at) in enumerate(zip(weights, used, strict=True)):
                made[log].append(np.sqrt(weight) * scale * at[:, None])
        self._roots = [(linear, angular) for linear, angular in made]

    def solve(self, z: Array, chosen: Held | None = None, steps: int = _STEPS) -> tuple[Array, Array]:
        """The most probable z (p,) of all rows, or of those chosen, and the Hessian (p, p) of the last step."""
        root = np.concatenate(
            [
                (each * (1.0 if chosen is None else chosen[i][kind][:, None])).ravel()
                for i, pair in enumerate(self._roots)
                for kind, each in enumerate(pair)
            ]
        )

        def cost(at: Array, left: Array) -> float:
            return float(np.sum((root * left) ** 2) + np.sum(((at - self._start) / self._std) ** 2))

        for _ in range(steps):
            left, by_z = self._expansion(z)
            by_z = root[:, None] * by_z
            hessian = by_z.T @ by_z + np.diag(1.0 / self._std**2)
            slope = by_z.T @ (root * left) + (z - self._start) / self._std**2
            step = -self._std * np.linalg.solve(hessian * self._std * self._std[:, None], self._std * slope)
            before = cost(z, left)
            for halving in range(_HALVINGS):
                moved = z + 0.5**halving * step
                if cost(moved, self._rows(moved)) <= before:
                    z = moved
                    break
            if np.max(np.abs(step) * np.sqrt(np.diagonal(hessian))) < _CLOSE:
                break
        return z, hessian

    def in_wind(self, z: Array) -> Array:
        """Coordinates z (p,) with the most probable winds under the others, which stay."""
        root, at = np.concatenate([each.ravel() for pair in self._roots for each in pair]), slice(len(NAMES), None)
        steps = np.diag(_DIFFERENCE * self._std)[at]
        for _ in range(_WIND_STEPS):
            left = self._rows(z)
            by_wind = root[:, None] * np.stack([(self._rows(z + step) - left) / step.sum() for step in steps], axis=1)
            hessian = by_wind.T @ by_wind + np.diag(1.0 / self._std[at] ** 2)
            z = z.copy()
            z[at] -= np.linalg.solve(hessian, by_wind.T @ (root * left) + z[at] / self._std[at] ** 2)
        return z

    def fed_back(self, z: Array) -> Array:
        """Standard deviations (3,) of ln J from torques that last and that control rejects, as of gusts.

        The command follows such a torque with the opposite sign. What it explains is then wrong by a share between 0
        and that of the torque, as of a noise model that is wrong in closed loop (Ljung, System Identification, 1999,
        chapter 13). Noise of the rates does not last: it is not correlated between windows that share no samples.
        """
        lasting, explained, turned = np.zeros(3), np.zeros(3), z.copy()
        turned[_INERTIA] += _DIFFERENCE
        for errors, others in zip(self.errors(z), self.errors(turned), strict=True):
            left, used = errors.value[1], errors.usable[1]
            both = used[_APART:] & used[:-_APART]
            lasting += (left[_APART:] * left[:-_APART])[both].sum(axis=0)
            explained += (((others.value[1] - left)[used] / _DIFFERENCE) ** 2).sum(axis=0)
        return np.asarray(np.sqrt(np.maximum(lasting, 0.0) / np.maximum(3.0 * explained, 1e-12)))

    def _expansion(self, z: Array) -> tuple[Array, Array]:
        """Errors (R,) at z and their derivatives (R, p); those of the last z are kept."""
        if self._expanded is None or not np.array_equal(self._expanded[0], z):
            left = self._rows(z)
            changes = [(self._rows(z + step) - left) / step.sum() for step in np.diag(_DIFFERENCE * self._std)]
            self._expanded = z, left, np.stack(changes, axis=1)
        return self._expanded[1:]

    def _rows(self, z: Array) -> Array:
        return np.concatenate([value.ravel() for each in self.errors(z) for value in each.value])


def _parts(recordings: Sequence[Recording], errors: Sequence[Errors]) -> list[tuple[str, Held]]:
    """Held-out parts: each recording, or each fifth of a single one."""
    counts = [tuple(len(kind) for kind in each.value) for each in errors]
    if len(errors) > 1:
        return [
            (each.source, [tuple(np.full(count, i == k) for count in pair) for k, pair in enumerate(counts)])
            for i, each in enumerate(recordings)
        ]
    folds = [np.arange(count) * FOLDS // count for count in counts[0]]
    source = recordings[0].source
    return [(f"{source}, part {i + 1} of {FOLDS}", [tuple(fold == i for fold in folds)]) for i in range(FOLDS)]


def _missed(errors: Sequence[Errors], held: Held) -> Array:
    """Root mean square (2,) over held-out windows and axes."""
    made = []
    for kind in range(2):
        values = [each.value[kind][each.usable[kind] & at[kind]] for each, at in zip(errors, held, strict=True)]
        kept = np.concatenate(values)
        made.append(float(np.sqrt(np.mean(kept**2))) if len(kept) else 0.0)
    return np.array(made)
