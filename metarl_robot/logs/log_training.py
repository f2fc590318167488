# SPDX-License-Identifier: Apache-2.0
"""Weights of a robot from its recordings: the prior of the context and the noise levels; features stay as they are.

The weight of the simulated tasks beside the recordings is the one under which held-out recordings are most likely.
Each recording is then predicted by adapters with weights that the others gave (their weight chosen without it, too),
beside the simulated weights and the rivals of replay.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.adapter_spec import ADAPTERS
from metarl_robot.adaptation.factory import marginal_prior, stated_mean, weights_of
from metarl_robot.adaptation.feature_spec import feature_map
from metarl_robot.adaptation.features import FeatureMap
from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.adaptation.force_scale import force_scale
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.core.errors import CheckpointError, shortened
from metarl_robot.core.robot import Robot
from metarl_robot.logs.empirical_prior import EmpiricalBayes, Learned, Task
from metarl_robot.logs.recording import LogError, Recording
from metarl_robot.logs.replay import Evaluation, Measured, evaluate, measured
from metarl_robot.logs.scores import summary

Array = NDArray[np.float64]

ADAPTER = "last_layer"
WEIGHTS = (np.inf, 100.0, 30.0, 10.0, 3.0, 1.0)
"""Recordings as many as which the simulated tasks may count; infinite: the recordings change nothing."""
FIRST_WEIGHT = 10.0
"""The weight where too few recordings are left to choose it."""
LEAST_LOGS = 2
LABEL = "logs"
_ERROR = "error_percent_of_limit"
_OF_FILE = ("format", "robot", "joint_names", "adapter", "sha256")
_OF_SIMULATION = ("command", "scores")
"""Entries of a record that are written anew, and those that tell of the simulated training."""
LEAST_SLOW = 0.1
"""Least slow and fast part of the residual, as a share of it."""
_RENEWED_S = 20.0
"""Time in which the slow part changes by as much as it is large."""
_FAST_SHARE = 0.7358
"""Variance of the mean over one memory of a force with this memory, over its own: 2 / e."""


@dataclass(frozen=True, eq=False)
class LogTraining:
    """weights: from all recordings. weight: of the simulated tasks. evidence: log-evidence of held-out recordings by
    weight, over that of the simulated prior. evaluations: of each recording, with weights from the others.
    """

    weights: Checkpoint
    weight: float
    evidence: dict[float, float]
    evaluations: tuple[Evaluation, ...]
    document: dict[str, Any]

    @property
    def over_simulated(self) -> float:
        """Error of `last_layer` on held-out recordings over that with the simulated weights, mean over the times."""
        rows = self.document["rows"]
        pairs = zip(rows[f"{ADAPTER} ({LABEL})"]["after"], rows[ADAPTER]["after"], strict=True)
        return float(np.mean([a[_ERROR] / b[_ERROR] for a, b in pairs if a is not None and b is not None]))

    @property
    def helps(self) -> bool:
        """Whether held-out recordings are likelier than under the simulated prior, and predicted better."""
        return bool(np.isfinite(self.weight)) and self.over_simulated < 1.0


def train_on_logs(
    robot: Robot,
    recordings: Sequence[Recording],
    base: Checkpoint | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> LogTraining:
    """Learn the prior and noise levels from recordings.

    base: weights to start from; None: those that the robot has by default.

    Raises:
        LogError: there are fewer than LEAST_LOGS, or one is too short.
        CheckpointError: the robot has no weights, and its description states no prior.
    """
    if len(recordings) < LEAST_LOGS:
        raise LogError(
            f"{len(recordings)} recording was given; learning needs at least {LEAST_LOGS}: each is predicted by what "
            "the others taught. One recording is one condition, such as one day or one payload"
        )
    say = progress or _silent
    start = simulated(base if base is not None else weights_of(ADAPTER, robot, None))
    cut = []
    for i, recording in enumerate(recordings):
        say("cells", i, len(recordings))
        cut.append(measured(robot, recording))
    learner = _Learner(robot, start, cut)
    everything = tuple(range(len(recordings)))
    weight, evidence = learner.best_weight(everything)
    evaluations = []
    for i, recording in enumerate(recordings):
        others = [t for t in everything if t != i]
        held_out = learner.checkpoint(others, learner.best_weight(others)[0])
        names = tuple(name for name in ADAPTERS.names(robot.kind) if ADAPTERS.get(robot.kind, name).weights == ADAPTER)
        evaluations.append(evaluate(robot, recording, names, _named(say, i, len(recordings)), {LABEL: held_out}))
    made = learner.checkpoint(everything, weight)
    document = {
        **summary(robot, evaluations),
        "weight_of_simulated_tasks": weight if np.isfinite(weight) else None,
        "log_evidence_over_simulated": {f"{key:g}": value for key, value in evidence.items()},
    }
    return LogTraining(made, weight, evidence, tuple(evaluations), document)


def _silent(phase: str, done: int, total: int) -> None:
    pass


def _named(say: Callable[[str, int, int], None], i: int, count: int) -> Callable[[str, int, int], None]:
    return lambda phase, done, total: say(f"log {i + 1} of {count}, {phase}", done, total)


def simulated(weights: Checkpoint | None) -> Checkpoint:
    """The weights with the prior of simulated tasks: recordings that taught them before do not count twice."""
    if weights is None:
        raise CheckpointError(f"the adapter '{ADAPTER}' has no weights to start from")
    if "simulated" not in weights.meta:
        return weights
    kept = {name: np.array(values) for name, values in weights.meta["simulated"].items()}
    meta = {key: value for key, value in weights.meta.items() if key not in ("simulated", "logs")}
    return Checkpoint({**weights.tensors, **kept}, meta)


class _Learner:
    """Priors from some of the recordings, as weights."""

    def __init__(self, robot: Robot, start: Checkpoint, cut: Sequence[Measured]) -> None:
        self._robot, self._start, self._cut = robot, start, cut
        groups = list(start.meta["features"])
        self._features = feature_map(robot, cut[0].dynamics, groups, start)
        prior = marginal_prior(start, self._features)
        stated = stated_mean(robot, groups, self._features)
        self._base = Prior(np.where(np.isnan(stated), prior.mean, stated), prior.covariance)
        tasks = [_task(self._features, each) for each in cut]
        removable = np.array([entry.removable for entry in self._features.entries])
        self._bayes = EmpiricalBayes(tasks, self._base, removable, force_scale(robot))
        self._known: dict[tuple[tuple[int, ...], float], Learned] = {}

    def best_weight(self, chosen: Sequence[int]) -> tuple[float, dict[float, float]]:
        """The weight of simulated tasks under which each of these recordings is likeliest after the others."""
        if len(chosen) < LEAST_LOGS:
            return FIRST_WEIGHT, {}
        found = {weight: self._held_out(chosen, weight) for weight in WEIGHTS}
        evidence = {weight: value - found[np.inf] for weight, value in found.items()}
        return max(evidence, key=lambda weight: evidence[weight]), evidence

    def _held_out(self, chosen: Sequence[int], weight: float) -> float:
        total = 0.0
        for t in chosen:
            others = [other for other in chosen if other != t]
            total += self._bayes.evidence(t, self._fit(others, weight).prior, self._fit(others, np.inf))
        return total

    def _fit(self, chosen: Sequence[int], weight: float) -> Learned:
        key = (tuple(chosen), weight)
        if key not in self._known:
            self._known[key] = self._bayes.fit(chosen, weight)
        return self._known[key]

    def checkpoint(self, chosen: Sequence[int], weight: float) -> Checkpoint:
        """Weights with the prior and noise levels that these recordings give."""
        learned, scale = self._fit(chosen, weight), self._features.scale
        made = {
            "prior_mean": learned.prior.mean / scale,
            "prior_covariance": learned.prior.covariance / np.outer(scale, scale),
        }
        if self._robot.attitude is None:  # those of a multirotor are dimensionless; the record has them in N and Nm
            made |= _levels(learned)
        tensors = self._start.tensors
        kept = {name: tensors[name].tolist() for name in made if name in tensors}
        meta = self._start.meta
        before = meta.get("before_logs") or {key: meta[key] for key in _OF_SIMULATION if key in meta}
        record = {key: value for key, value in meta.items() if key not in (*_OF_FILE, *_OF_SIMULATION)}
        record |= {"before_logs": before, "simulated": kept, "logs": self._record(chosen, weight, learned)}
        return Checkpoint({**tensors, **made}, {**record, "adapter": ADAPTER})

    def _record(self, chosen: Sequence[int], weight: float, learned: Learned) -> dict[str, Any]:
        """The origin of the weights: recordings with the hash of their signals, weight, and noise in N and Nm."""
        return {
            "recordings": [_origin(self._cut[t].recording) for t in chosen],
            "weight_of_simulated_tasks": weight if np.isfinite(weight) else None,
            "residual_nm": learned.noise.tolist(),
            "slow_residual_nm": learned.slow.tolist(),
        }


def _levels(learned: Learned) -> dict[str, Array]:
    """Levels of the fast and the slow disturbance (learning/models/last_layer.py), from residuals of cells."""
    slow = np.maximum(learned.slow, LEAST_SLOW * learned.noise)
    fast = np.sqrt(np.maximum(learned.noise**2 - learned.slow**2, (LEAST_SLOW * learned.noise) ** 2) / _FAST_SHARE)
    return {"error_nm": fast, "disturbance_nm": slow, "drift_nm": slow / np.sqrt(_RENEWED_S)}


def _task(features: FeatureMap, cut: Measured) -> Task:
    used = cut.cells.usable
    counted = np.broadcast_to(cut.counted, cut.cells.residual.shape)[used]
    return Task(cut.cells.regressors(features)[used], cut.cells.residual[used], counted)


def _origin(recording: Recording) -> dict[str, Any]:
    digest = sha256()
    for values in (recording.time_s, recording.q, recording.v, recording.effort):
        digest.update(np.ascontiguousarray(values).tobytes())
    return {"source": shortened(recording.source), "duration_s": recording.duration_s, "sha256": digest.hexdigest()}
