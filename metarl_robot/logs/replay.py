# SPDX-License-Identifier: Apache-2.0
"""Adapters run over a recording as if live, and predict what follows; simple rivals (rivals.py) beside them.

Every `EVERY` cells (cells.py), each predictor has seen the recording up to now. It predicts the force that the nominal
model misses over the next half second, along the motion and the efforts that were then recorded, and the velocity of
the next sample. An adapter gets samples at about the robot's control rate (or another one that is asked for), each with
the mean effort since the last.
Control compensates what an adapter feels now. Half a second ahead, an adapter predicts by several models that compete
(adaptation/forecast.py). In the prediction of another, the part that its own model expects to pass decays
(MomentumFilter.passing).

The missed force is measured with efforts at the times at which they act, by the delay that fits best (known.py).
Errors are of efforts, or of accelerations of multirotors (adaptation/prediction_error.py). Cells in which a joint may
have been at rest do not count for this joint, unless it never moves: friction at rest is any force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import length_hint
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.adapter_spec import ADAPTERS
from metarl_robot.adaptation.base import Adapter, expect_measured_efforts
from metarl_robot.adaptation.factory import bare_adapter, forecasting, weights_of
from metarl_robot.adaptation.feature_spec import feature_map, regressed_groups
from metarl_robot.adaptation.features import FeatureMap
from metarl_robot.adaptation.force_scale import force_scale
from metarl_robot.adaptation.forecasting_adapter import ForecastingAdapter
from metarl_robot.adaptation.prediction_error import prediction_error
from metarl_robot.adaptation.regression_adapter import RegressionAdapter
from metarl_robot.adaptation.stream_cells import STEPS
from metarl_robot.control.factory import adapter_tuning, controller_of
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.core.robot import Robot, named
from metarl_robot.core.signals import EMPTY_CONTEXT, Context
from metarl_robot.logs.cells import Cells, measure
from metarl_robot.logs.flight_cells import measure_flight
from metarl_robot.logs.flight_check import thrust_delay_s
from metarl_robot.logs.known import Known
from metarl_robot.logs.recording import LogError, Recording
from metarl_robot.logs.rivals import MEASUREMENT_SHARE, Hold, LeastSquares, Nominal, Ridge, Rival
from metarl_robot.logs.sample_cells import SampleCells, acting_efforts
from metarl_robot.logs.samples import Samples, Taken, passed, samples_of
from metarl_robot.parallel.reporting import run_reporting
from metarl_robot.parallel.stored_arrays import loaded, stored

Array = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

HORIZON_S = 0.5
EVERY = 2
PASSES_S = 0.05
"""Time constant of the force that passes: that of the momentum filter's fast disturbance."""
NOMINAL = "nominal"
RIVALS = (NOMINAL, "hold", "least_squares", "ridge")
_PROGRESS_EVERY = 500
NO_WEIGHTS: Mapping[str, Checkpoint] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Estimates:
    """A report's estimates at the windows: mean, std (W, k)."""

    mean: Array
    std: Array


@dataclass(frozen=True, eq=False)
class Row:
    """One predictor's errors: W windows, n joints.

    force: (W, n) root mean square over the next half second, of means over cells [Nm]; NaN: no cell counts.
    next_velocity: (W, n) of the next sample [rad/s]. estimates: by report's name.
    """

    force: Array
    next_velocity: Array
    estimates: Mapping[str, Estimates] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """time_s: (W,) of each window's begin. rows: by predictor. period_s: between two samples of the adapters."""

    source: str
    time_s: Array
    rows: Mapping[str, Row]
    period_s: float


class _Prepared(NamedTuple):
    """What all predictors of a recording share, as plain data.

    taken: the samples that pass the guard of the factory's adapters; `usable` (K,) tells which these are.
    """

    source: str
    samples: Samples
    usable: NDArray[np.bool_]
    taken: Taken
    cells: Cells
    windows: NDArray[np.intp]
    counted: NDArray[np.bool_]
    delayed: bool


class _Job(NamedTuple):
    """A predictor that is run over a recording. adapter: its name; None: the rivals.

    prepared: with arrays in files. label: of the recording, beside a predictor's name.
    """

    robot: Robot
    prepared: _Prepared
    label: str
    name: str = "rivals"
    adapter: str | None = None
    weights: Checkpoint | None = None


class Measured(NamedTuple):
    """A recording with efforts at the times at which they act, and its cells.

    counted: (C, n) cells that count for a joint. delayed: whether the delay of efforts is known.
    """

    dynamics: Any
    recording: Recording
    cells: Cells
    counted: NDArray[np.bool_]
    delayed: bool


def measured(robot: Robot, recording: Recording) -> Measured:
    """Measure the delay of efforts, and cut a recording into cells. Raises LogError if it is too short."""
    dynamics, flies = named(robot.dynamics)(robot), robot.attitude is not None
    cut = measure_flight if flies else measure
    cells: Cells = cut(dynamics, recording)
    delay_s = _delay_s(robot, dynamics, recording, cells)
    if delay_s is not None:
        recording = recording.acting(delay_s)
        cells = cut(dynamics, recording)
    return Measured(dynamics, recording, cells, cells.moving | ~cells.moving.any(axis=0) | flies, delay_s is not None)


def _delay_s(robot: Robot, dynamics: Any, recording: Recording, cells: Cells) -> float | None:
    """From efforts to their effect; None: the recording does not show it."""
    if robot.attitude is not None:
        delay_s = thrust_delay_s(robot, recording)
        return delay_s if np.isfinite(delay_s) else None
    return Known(robot, dynamics, cells).delay_s() if cells.moving.any() else None


def _prepared(robot: Robot, recording: Recording, rate_hz: float | None) -> _Prepared:
    """Raises LogError if the recording is too short."""
    dynamics, acting, cells, counted, delayed = measured(robot, recording)
    period_s = robot.control_period_s if rate_hz is None else 1.0 / rate_hz if rate_hz > 0.0 else 0.0
    samples = samples_of(acting, period_s)
    usable, taken = passed(robot.at_period(samples.period_s), dynamics, samples)
    windows = _windows(recording.source, cells)
    return _Prepared(recording.source, samples, usable, taken, cells, windows, counted, delayed)


def _windows(source: str, cells: Cells) -> NDArray[np.intp]:
    """First cells (W,) of the windows. Raises LogError if there is none."""
    horizon = _horizon(cells)
    first = np.arange(1, len(cells) - horizon + 1, EVERY)
    gaps = np.concatenate([[0], np.cumsum(~cells.usable)])
    windows = first[gaps[first + horizon] == gaps[first - 1]]
    if not len(windows):
        raise LogError(f"{source}: no second without a gap; an evaluation needs {HORIZON_S:g} s after the present")
    return np.asarray(windows)


def _horizon(cells: Cells) -> int:
    """Number of cells of a window."""
    return max(1, round(HORIZON_S / cells.cell_s))


class _Problem:
    """Data of a predictor: cells, windows and the truth in them."""

    def __init__(self, robot: Robot, prepared: _Prepared) -> None:
        self.cells, self.counted, self.samples = prepared.cells, prepared.counted, prepared.samples
        self.usable, self.taken = prepared.usable, prepared.taken
        self.robot, self.flies = robot, robot.attitude is not None
        self.latency_s = 0.0 if prepared.delayed else None
        self.horizon = _horizon(self.cells)
        dynamics = named(robot.dynamics)
        self.dynamics = dynamics(robot) if self.flies else dynamics(robot, self.horizon * STEPS)
        self.error = prediction_error(robot, self.dynamics)
        self.windows = prepared.windows
        self.time_s = self.cells.time_s[self.windows]
        ends = np.exp(-self.cells.cell_s / PASSES_S * np.arange(self.horizon + 1))
        self.passed = 1.0 + np.diff(ends) * PASSES_S / self.cells.cell_s  # share, (horizon,) means over the cells
        self.latest = np.searchsorted(self.samples.time_s, self.time_s, side="right") - 1
        self.latest = np.minimum(self.latest, len(self.samples.time_s) - 2)

    def truth(self, window: int) -> Array:
        """Mean Δ (horizon, n) in the cells of a window."""
        return self.cells.residual[window : window + self.horizon]

    def squares(self, window: int, predicted: Array, gain: Array, attached: Array) -> Array:
        """Mean square error (n,) of Δ (horizon, n) in the cells that count for a joint; NaN: none does.

        gain, attached: motor strengths and attached body that the predictor estimates (prediction_error.py).
        """
        counted = self.counted[window : window + self.horizon]
        q, count = self.cells.q[window * STEPS], counted.sum(axis=0)
        error = self.error(predicted - self.truth(window), q, gain, attached)
        return np.where(count > 0, (counted * error**2).sum(axis=0) / np.maximum(count, 1), np.nan)

    def row(self, predicted: Array, first: Array, estimates: Mapping[str, Estimates]) -> Row:
        """predicted: (W, n) mean squares of the errors. first: (W, n) Δ in the first cell."""
        return Row(np.sqrt(predicted), self._next_velocity(first), estimates)

    def _next_velocity(self, force: Array) -> Array:
        at, after, samples = self.latest, self.latest + 1, self.samples
        dt = (samples.time_s[after] - samples.time_s[at])[:, None]
        _, before, beta_0 = self.dynamics.momenta(samples.q[at], samples.v[at])
        mass, then, beta_1 = self.dynamics.momenta(samples.q[after], samples.v[after])
        acting = self.dynamics.input_forces(0.5 * (samples.q[at] + samples.q[after]), samples.effort[at])
        missing = before - then + dt * (acting + 0.5 * (beta_0 + beta_1) + force)
        return np.asarray(np.linalg.solve(mass, missing[..., None])[..., 0])


def evaluate(
    robot: Robot,
    recording: Recording,
    adapters: Sequence[str],
    progress: Progress | None = None,
    weights: Mapping[str, Checkpoint] = NO_WEIGHTS,
) -> Evaluation:
    """Run the rivals and the named adapters over one recording; see `evaluate_all`."""
    return evaluate_all(robot, [recording], adapters, progress, weights)[0]


def evaluate_all(
    robot: Robot,
    recordings: Iterable[Recording],
    adapters: Sequence[str],
    progress: Progress | None = None,
    weights: Mapping[str, Checkpoint] = NO_WEIGHTS,
    processes: int = 1,
    rate_hz: float | None = None,
) -> list[Evaluation]:
    """Run the rivals and the named adapters over each recording.

    recordings: taken one at a time, and not kept; the data that the predictors need are in temporary files.
    weights: further weights by name; each adapter that they serve runs with them too, as `adapter (name)`.
    processes: their number; 0: one for each processor. The results are the same.
    rate_hz: of the samples that adapters get; None: the control rate; 0: the recording's.

    Raises:
        LogError: a recording is too short.
        UnknownNameError, CheckpointError: see adaptation/factory.py.
    """
    report, predictors = progress or _silent, _predictors(robot, adapters, weights)
    with TemporaryDirectory(prefix="metarl-log-") as folder:
        each: list[_Prepared] = []
        for recording in recordings:
            report("measure", len(each), max(length_hint(recordings), len(each) + 1))
            own = Path(folder, f"{len(each)}")
            own.mkdir()
            each.append(stored(_prepared(robot, recording, rate_hz), own))
            del recording  # before the next one is read, and before predictors run
        report("measure", len(each), len(each))
        labels = [f" {i + 1}/{len(each)}" if len(each) > 1 else "" for i in range(len(each))]
        labelled = list(zip(each, labels, strict=True))
        work = [_Job(robot, one, label, *of) for one, label in labelled for of in predictors]
        # The longest work comes first: adapters with weights estimate most, the rivals take least.
        work.sort(key=lambda job: job.weights is None)
        work += [_Job(robot, one, label) for one, label in labelled]
        rows = run_reporting(_rows, work, processes, report)
        names = (*RIVALS, *(name for name, *_ in predictors))
        return [_evaluation(loaded(one), _joined(work, rows, one, names)) for one in each]


def _evaluation(prepared: _Prepared, rows: Mapping[str, Row]) -> Evaluation:
    times = prepared.cells.time_s[prepared.windows]
    return Evaluation(prepared.source, times, rows, prepared.samples.period_s)


def _predictors(
    robot: Robot, adapters: Sequence[str], weights: Mapping[str, Checkpoint]
) -> list[tuple[str, str, Checkpoint | None]]:
    """Name of the row, adapter and weights of each predictor. Raises if one has none."""
    made = [(name, name, weights_of(name, robot, None)) for name in adapters if name != "none"]
    for label, checkpoint in weights.items():
        served = [name for name in adapters if ADAPTERS.get(robot.kind, name).weights == checkpoint.adapter]
        made += [(f"{name} ({label})", name, checkpoint) for name in served]
    return made


def _rows(job: _Job, progress: Progress) -> dict[str, Row]:
    """Rows of one job."""
    problem = _Problem(job.robot, loaded(job.prepared))

    def report(phase: str, done: int, total: int) -> None:
        progress(f"{phase}{job.label}", done, total)

    if job.adapter is None:
        return _rivals(problem, report)
    at_rate = job.robot.at_period(problem.samples.period_s)
    return {job.name: _replay(problem, job.name, _adapter(at_rate, job.adapter, problem, job.weights), report)}


def _joined(
    work: Sequence[_Job], rows: Sequence[dict[str, Row]], of: _Prepared, names: Sequence[str]
) -> dict[str, Row]:
    """All rows of a recording, in the order of these names."""
    own = [made for job, made in zip(work, rows, strict=True) if job.prepared is of]
    found = {name: row for made in own for name, row in made.items()}
    return {name: found[name] for name in names}


def _silent(phase: str, done: int, total: int) -> None:
    pass


def _adapter(robot: Robot, name: str, problem: _Problem, weights: Checkpoint | None) -> Adapter:
    tuning = replace(adapter_tuning(robot, controller_of(robot, name)), latency_s=problem.latency_s)
    adapter = bare_adapter(name, robot, problem.dynamics, tuning, weights)
    made = forecasting(robot, problem.dynamics, name, adapter, weights)
    if not problem.flies:  # recordings of flights hold commanded thrusts
        expect_measured_efforts(made)
    if problem.latency_s is not None and isinstance(made, ForecastingAdapter | RegressionAdapter):
        made.take_cells_from(lambda features: _sample_cells(robot, features, problem))
    return made


def _sample_cells(robot: Robot, features: FeatureMap, problem: _Problem) -> SampleCells:
    """Cells of the samples, with efforts at the times at which they act."""
    period_s, taken = robot.control_period_s, problem.taken
    effort = acting_efforts(taken.effort, taken.dt, period_s, problem.latency_s or 0.0)
    return SampleCells(problem.dynamics, features, taken._replace(effort=effort), period_s, robot.attitude)


def _replay(problem: _Problem, name: str, adapter: Adapter, progress: Progress) -> Row:
    windows, taken = problem.windows, problem.taken
    squares, first = (np.zeros((len(windows), problem.robot.dof)) for _ in range(2))
    contexts: list[Context] = []
    adapter.reset()
    take_in = getattr(adapter, "advance", adapter.update)  # without a context: windows are fewer than samples
    count, w, at = len(problem.usable), 0, 0
    dt, usable, latest = taken.dt.tolist(), problem.usable.tolist(), [*problem.latest.tolist(), -1]
    for k in range(count):
        if usable[k]:
            take_in(taken.state(at), taken.effort[at], dt[at])
            at += 1
        while latest[w] == k:
            predicted = _predicted(problem, adapter, int(windows[w]))
            squares[w] = problem.squares(int(windows[w]), predicted, *_estimated(adapter))
            first[w] = predicted[0]
            contexts.append(getattr(adapter, "context", EMPTY_CONTEXT))
            w += 1
        if k % _PROGRESS_EVERY == 0:
            progress(name, k, count)
    progress(name, count, count)
    return problem.row(squares, first, _estimates(problem.robot, contexts))


def _estimated(adapter: Adapter) -> tuple[Array, Array]:
    """Motor strengths ε and attached body (k,) of a prediction."""
    gain, attached = (getattr(adapter, name, None) for name in ("forecast_gain", "forecast_attached"))
    if gain is None or attached is None:
        return adapter.effort_gain(), adapter.attached_body()
    return gain(), attached()


def _predicted(problem: _Problem, adapter: Adapter, window: int) -> Array:
    """Mean Δ (horizon, n) that an adapter predicts in the cells of a window, an attached body's force included."""
    xi, n = problem.cells.points(window, window + problem.horizon), problem.robot.dof
    forecast = getattr(adapter, "forecast", None)
    if forecast is not None:
        return np.asarray(forecast(xi).reshape(problem.horizon, STEPS, n).mean(axis=1))
    value, attached = np.broadcast_to(adapter.evaluate(xi), xi.v.shape), adapter.attached_body()
    if np.any(attached):
        value = value + problem.dynamics.attached_forces(xi.q, xi.v, xi.a, xi.effort, attached)
    means = value.reshape(problem.horizon, STEPS, n).mean(axis=1)
    return np.asarray(means - problem.passed[:, None] * getattr(adapter, "passing", 0.0))


def _estimates(robot: Robot, contexts: Sequence[Context]) -> dict[str, Estimates]:
    """Estimates of each report that the contexts hold."""
    made = {}
    for report in robot.reports:
        found = [report.estimate(context) for context in contexts]
        size = len(report.quantities)
        if any(found):
            pairs = [(np.full(size, np.nan),) * 2 if each is None else each for each in found]
            made[report.name] = Estimates(*(np.array(part) for part in zip(*pairs, strict=True)))
    return made


def _rivals(problem: _Problem, progress: Progress) -> dict[str, Row]:
    robot, cells, windows, horizon = problem.robot, problem.cells, problem.windows, problem.horizon
    # None of the groups scales the efforts: with weak rotors and no mass, nothing would be missing.
    features = feature_map(robot, problem.dynamics, regressed_groups(robot, problem.dynamics))
    unit = MEASUREMENT_SHARE * force_scale(robot)
    n = robot.dof
    needed = np.zeros((len(cells), n, 0)) if problem.flies else cells.required[:, :, None] * np.eye(n)
    least_squares = LeastSquares(features.size, unit, cells.cell_s)
    made = (
        Nominal(features.size),
        Hold(robot.dof, features.size),
        least_squares,
        Ridge(features.size + needed.shape[2], unit),
    )
    rivals: dict[str, Rival] = dict(zip(RIVALS, made, strict=True))
    squares = {name: np.zeros((len(windows), robot.dof)) for name in rivals}
    first = {name: np.zeros((len(windows), robot.dof)) for name in rivals}
    contexts: list[Context] = []
    still = np.zeros(robot.nu)
    regressors, at = np.concatenate([cells.regressors(features), needed], axis=2), 0
    for w, window in enumerate(windows):
        for cell in range(at, window):
            if cells.usable[cell]:
                for rival in rivals.values():
                    rival.learn(regressors[cell], cells.residual[cell])
        at = int(window)
        for name, rival in rivals.items():
            predicted = rival.predict(regressors[window : window + horizon])
            attached = features.attached(rival.context[: features.size])
            squares[name][w] = problem.squares(int(window), predicted, still, attached)
            first[name][w] = predicted[0]
        contexts.append(Context(features.names, *least_squares.estimate))
        if w % _PROGRESS_EVERY == 0:
            progress("rivals", w, len(windows))
    progress("rivals", len(windows), len(windows))
    seen = {"least_squares": _estimates(robot, contexts)}
    return {name: problem.row(squares[name], first[name], seen.get(name, {})) for name in rivals}
