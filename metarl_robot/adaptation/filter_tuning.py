# SPDX-License-Identifier: Apache-2.0
"""Prior and noise model of the momentum filter."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Jump

Array = NDArray[np.float64]

SLOWER = 1.2
"""Samples are slow if their period is longer than the robot's own by this ratio; a smaller one is an inexact clock."""


@dataclass(frozen=True)
class Prior:
    """z ~ N(mean, covariance): (n_z,), (n_z, n_z)."""

    mean: Array
    covariance: Array


@dataclass(frozen=True)
class FilterTuning:
    """Noise model of the momentum filter.

    period_s: usual time between samples [s].
    position_noise: (n,) standard deviation of the measured position [rad, m].
    velocity_noise: initial standard deviation of the measured velocity, for each group of `noise_groups` [rad/s,
        m/s]; estimated online.
    noise_groups: number of consecutive velocities that share one noise level, for each group.
    force_noise: standard deviation of the measured specific force [m/s²].
    drift: (n,) random walk of the slow disturbance d [Nm/√s].
    drift_initial: (n,) standard deviation of d at the start and after a detected change [Nm].
    model_error: (n,) standard deviation of the fast disturbance e [Nm]; zero: none.
    model_error_memory_s: T [s].
    stiction_factor: increase of the model error where a joint may stick.
    forgetting_s: time constant T_f of forgetting [s].
    change_detection: false-alarm probability of the change detection; 0: no detection.
    jumps: possible changes; after a detection each becomes a hypothesis.
    noise_online: whether noise of positions, stamps and efforts and the model error are estimated online. The levels
        above are then the least.
    missed_force_bandwidth_rad_s: ω of the observer of missed force; 0: none.
    start_s: time constant with which control passes from the nominal model to the estimate after the start; 0: at once.
    usual_force: (n,) unit of the unexplained force that scales the reported standard deviations [Nm]; None: they are
        STD_CALIBRATION times the filter's. See unexplained_force.py.
    settling_s: age of a model above which it is forgotten more slowly; infinite: never.
    earlier_effort_std: (nu,) standard deviation of the effort that acted before the first command took effect [Nm, N];
        None: that of the first command acted.
    latency_s: from a command to its effect, where it is known [s]; None: it is learned.
    own_period_s: see CommandHistory.
    measured_efforts: whether efforts are measured, with noise that has not acted; else they are commanded.
    stops: (2, n) least and largest position, where a stop may act [rad, m]; None: no stops.
    """

    period_s: float
    position_noise: Array
    velocity_noise: tuple[float, ...]
    noise_groups: tuple[int, ...]
    drift: Array
    drift_initial: Array
    model_error: Array
    force_noise: float = 1.0
    model_error_memory_s: float = 0.05
    stiction_factor: float = 0.0
    forgetting_s: float = 60.0
    change_detection: float = 0.0
    jumps: tuple[Jump, ...] = ()
    noise_online: bool = False
    missed_force_bandwidth_rad_s: float = 0.0
    start_s: float = 0.0
    usual_force: Array | None = None
    settling_s: float = inf
    latency_s: float | None = None
    stops: Array | None = None
    earlier_effort_std: Array | None = None
    own_period_s: float | None = None
    measured_efforts: bool = False

    @property
    def slow_states(self) -> bool:
        """Whether the samples come more slowly than the robot's own control loop runs."""
        return self.own_period_s is not None and self.period_s > SLOWER * self.own_period_s
