# SPDX-License-Identifier: Apache-2.0
"""Present states of a quadrotor: slow or late odometry, propagated by the IMU.

Strap-down propagation (Groves, Principles of GNSS, Inertial and Multisensor Integrated Navigation, 2013, chapter 5),
with rate ω and specific force f of the IMU, without their biases:

    R ← R exp(ω dt),    a = R f + g,    p ← p + v dt + a dt²/2,    v ← v + a dt

An odometry message corrects the prediction at its own stamp, with constant gains; later samples are then propagated
again. The corrections that remain are those of the biases (an alpha-beta filter: Bar-Shalom, Li, Kirubarajan,
Estimation with Applications to Tracking and Navigation, 2001, section 6.5).

Predicted states replace the measured ones where these come more slowly than `SLOW_S` or later than `LATE_S`, by the
median of the last `MESSAGES`. They are at most `LONGEST_S` beyond the newest odometry, so that a loss of odometry is
detected. An accelerometer that contradicts the velocities (`MOST_BIAS_M_S2`) is not used for prediction.
A delay that the stamps hide is estimated by odometry_delay.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import cos, isfinite, sin, sqrt
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.robots.quadrotor.odometry_delay import OdometryDelay
from metarl_robot.safety.input_validation import NORM_TOLERANCE

Array = NDArray[np.float64]

SLOW_S, LATE_S = 0.028, 0.028
"""Period and age of odometry beyond which states are predicted."""
FAST_SHARE = 0.7
"""Share of SLOW_S and LATE_S below which measured states are used again."""
IDLE_SHARE = 0.5
"""Share of SLOW_S and LATE_S below which nothing is learned: odometry is neither slow nor late."""
LONGEST_S = 0.3
MESSAGES, FEWEST = 15, 8
LONGEST_SAMPLE_S = 0.05
"""IMU samples farther apart leave a gap that is not predicted."""
SAMPLES, KEPT_S = 500, 0.25
"""Number of IMU samples kept, and time before the newest odometry: a detected delay starts earlier."""
DUE = 0.9
"""Predicted states are at least this share of the control period apart."""
GAINS = (0.5, 0.3, 0.4)
"""Shares by which odometry corrects position, attitude and velocity."""
BIAS_MEMORY_S = 1.0
MOST_BIAS_M_S2, MOST_BIAS_RAD_S = 4.0, 0.2
KNOWN_S = 1.0
"""Odometry is needed for this long before the first predicted state, to estimate the biases."""
LEAP = (0.3, 0.3, 1.0)
"""A correction beyond this [m, rad, m/s] is a new pose, not an error of the prediction."""


class Sample(NamedTuple):
    """An IMU sample that holds since the one before: end [s], specific force and rate (lists of 3)."""

    at_s: float
    force: list[float]
    rate: list[float]


class _Pose(NamedTuple):
    """Time [s], position (3,), attitude (4,), velocity (3,) [world]."""

    at_s: float
    position: Array
    attitude: Array
    velocity: Array


class StatePredictor:
    """See the module's docstring.

    active: whether predicted states replace the measured ones.
    words: rate and age of odometry that is slow or late, and the consequence; else empty.
    """

    def __init__(self, robot: Quadrotor) -> None:
        self._period_s = robot.control_period_s
        self._delay = OdometryDelay()
        self.restart()

    def restart(self) -> None:
        """Forget everything: a new time base."""
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)
        self._corrected: _Pose | None = None  # at the newest odometry,
        self._present: _Pose | None = None  # and at the newest IMU sample
        self._intervals: deque[float] = deque(maxlen=MESSAGES)
        self._ages: deque[float] = deque(maxlen=MESSAGES)
        self._bias, self._drift = np.zeros(3), np.zeros(3)  # of specific force and rate
        self._known_s, self._given_s = 0.0, -np.inf
        self._newest: State | None = None
        self._pending: deque[Array] = deque(maxlen=SAMPLES)  # specific forces since the last predicted state
        self.active, self.words = False, ""
        self._delay.restart()

    @property
    def delay_s(self) -> float:
        """Delay of the odometry that its stamps hide [s]."""
        return self._delay.delay_s

    def inertial(self, stamp_s: float, measured: Inertial) -> State | None:
        """Take an IMU sample; returns the state at its stamp if a predicted one is due."""
        last_s = self._samples[-1].at_s if self._samples else -np.inf
        if stamp_s <= last_s:
            if last_s - stamp_s > LONGEST_S:
                self.restart()
            return None
        self._samples.append(Sample(stamp_s, measured.specific_force.tolist(), measured.rate.tolist()))
        self._delay.inertial(stamp_s, measured.specific_force, measured.rate)
        if not self.active:
            return None
        self._pending.append(measured.specific_force)
        if self._present is not None:
            self._present = self._propagated(self._present, stamp_s, [self._samples[-1]])
        return self._given(stamp_s, measured.rate)

    def _given(self, now_s: float, rate: Array) -> State | None:
        present = self._present
        if present is None or not self._fresh(now_s) or now_s - self._given_s < DUE * self._period_s:
            return None
        self._given_s = now_s
        force = np.mean(self._pending, axis=0)
        self._pending.clear()
        q, v = np.concatenate([present.position, present.attitude]), np.concatenate([present.velocity, rate])
        return State(q, v, force)

    def measured(self, stamp_s: float, state: State) -> bool:
        """Take an odometry's state; returns whether predicted states replace it."""
        repeated = self._repeated(state)
        if not self._samples or not isfinite(stamp_s) or abs(np.linalg.norm(state.q[3:]) - 1.0) > NORM_TOLERANCE:
            self.active = False
        elif repeated:  # a driver that sends its last sample again: soon there is nothing to predict from
            self.active = self.active and self._fresh(self._samples[-1].at_s)
        else:
            self._take(stamp_s, _Pose(stamp_s, state.q[:3], rotation.normalise(state.q[3:]), state.v[:3]))
        return self.active or stamp_s <= self._given_s

    def _repeated(self, state: State) -> bool:
        last, self._newest = self._newest, state
        return last is not None and np.array_equal(state.q, last.q) and np.array_equal(state.v[:3], last.v[:3])

    def _fresh(self, now_s: float) -> bool:
        """Whether the newest odometry is recent enough to predict from."""
        return self._corrected is not None and now_s - self._corrected.at_s <= LONGEST_S

    def _take(self, stamp_s: float, given: _Pose) -> None:
        """Process an odometry's pose; its time is its stamp."""
        changed = self._delay.odometry(stamp_s, given.attitude, given.velocity)
        here, last = given._replace(at_s=stamp_s - self._delay.delay_s), self._corrected
        if last is not None and not changed and here.at_s <= last.at_s:
            if last.at_s - here.at_s > LONGEST_S:
                self.restart()
            return
        if last is not None and not changed:
            self._intervals.append(here.at_s - last.at_s)
        age_s = self._samples[-1].at_s - here.at_s
        self._ages.append(age_s)
        self._correct(None if changed else last, here)
        self._decide(age_s)

    def _correct(self, last: _Pose | None, here: _Pose) -> None:
        """Correct the prediction at the odometry's time, and propagate it to the newest sample."""
        near = last is not None and here.at_s - last.at_s <= LONGEST_S and self._lag() > IDLE_SHARE
        there = self._propagated(last, here.at_s) if last is not None and near else None
        if last is not None and there is not None:
            here = self._blend(there, here, here.at_s - last.at_s)
        self._corrected = here
        while len(self._samples) > 1 and self._samples[0].at_s < here.at_s - KEPT_S:
            self._samples.popleft()
        if self.active:
            self._present = self._propagated(here, self._samples[-1].at_s)

    def _blend(self, there: _Pose, here: _Pose, dt: float) -> _Pose:
        """The predicted pose `there` with a share of the measured one; learns the biases, dt [s] after the last."""
        moved, turned = here.position - there.position, rotation.error(there.attitude, here.attitude)
        faster = here.velocity - there.velocity
        if any(float(np.linalg.norm(x)) > most for x, most in zip((moved, turned, faster), LEAP, strict=True)):
            self._known_s = 0.0 if self._known_s < KNOWN_S else self._known_s
            return here
        share = dt / BIAS_MEMORY_S * GAINS[2] if self._known_s >= KNOWN_S else dt / max(self._known_s, dt)
        self._known_s += dt
        self._bias = self._bias - share * rotation.rotate_back(here.attitude, faster) / dt
        self._drift = np.clip(self._drift - share * turned / dt, -MOST_BIAS_RAD_S, MOST_BIAS_RAD_S)
        return _Pose(
            here.at_s,
            there.position + GAINS[0] * moved,
            rotation.integrate(there.attitude, turned, GAINS[1]),
            there.velocity + GAINS[2] * faster,
        )

    def _decide(self, age_s: float) -> None:
        """Decide whether states are predicted from now on."""
        if not self._intervals:
            return
        wanted = self._lag() > (FAST_SHARE if self.active else 1.0) and len(self._intervals) >= FEWEST
        problem = self._obstacle(age_s) if wanted else ""
        was, self.active = self.active, wanted and not problem and self._known_s >= KNOWN_S
        if self.active and not was and self._corrected is not None:
            self._present = self._propagated(self._corrected, self._samples[-1].at_s)
        if problem or self.active != was:
            self.words = problem or (self._described() if self.active else "")

    def _lag(self) -> float:
        """Period or age of the odometry, as shares of SLOW_S and LATE_S: the larger one."""
        return max(median(self._intervals or [np.inf]) / SLOW_S, median(self._ages) / LATE_S)

    def _described(self) -> str:
        period_s, late_s = median(self._intervals), median(self._ages)
        hidden = f", {1e3 * self.delay_s:.0f} ms of them not in its stamps" if self.delay_s > 0.0 else ""
        come = f"odometry comes at {1.0 / period_s:.0f} Hz, {1e3 * max(late_s, 0.0):.0f} ms late{hidden}"
        return f"{come}: present states are predicted with the IMU"

    def _obstacle(self, age_s: float) -> str:
        if not -LONGEST_SAMPLE_S <= age_s <= LONGEST_S:
            return (
                f"odometry is not predicted: {1e3 * age_s:.0f} ms behind the IMU by their stamps (allowed: "
                f"{-1e3 * LONGEST_SAMPLE_S:.0f} to {1e3 * LONGEST_S:.0f} ms): does one clock set both stamps?"
            )
        if float(np.linalg.norm(self._bias)) > MOST_BIAS_M_S2:
            return "odometry is slow or late, and not predicted: the accelerometer contradicts its velocities"
        return ""

    def _propagated(self, pose: _Pose, until_s: float, samples: Iterable[Sample] | None = None) -> _Pose | None:
        """The pose at a later time by these samples, or by all; None over a gap of samples."""
        at_s, q = pose.at_s, pose.attitude.tolist()
        place: list[float] = [*pose.position.tolist(), *pose.velocity.tolist()]
        bias, drift = self._bias.tolist(), self._drift.tolist()
        for sample in self._samples if samples is None else samples:
            if sample.at_s <= at_s or at_s >= until_s:
                continue
            if sample.at_s - at_s > LONGEST_SAMPLE_S:
                return None
            dt = min(sample.at_s, until_s) - at_s
            q = _moved(
                place,
                q,
                [f - b for f, b in zip(sample.force, bias, strict=True)],
                [w - d for w, d in zip(sample.rate, drift, strict=True)],
                dt,
            )
            at_s += dt
        return _Pose(at_s, np.array(place[:3]), rotation.normalise(np.array(q)), np.array(place[3:]))


def _moved(place: list[float], q: list[float], force: list[float], rate: list[float], dt: float) -> list[float]:
    """Move position and velocity (6) for dt [s]; returns the new attitude (4). Scalars take a sixth of arrays' time."""
    fx, fy, fz = force
    half = _turned(q, rate, 0.5 * dt)
    w, x, y, z = half
    tx, ty, tz = 2.0 * (y * fz - z * fy), 2.0 * (z * fx - x * fz), 2.0 * (x * fy - y * fx)
    acceleration = (
        fx + w * tx + y * tz - z * ty,
        fy + w * ty + z * tx - x * tz,
        fz + w * tz + x * ty - y * tx - GRAVITY_M_S2,
    )
    for i, a in enumerate(acceleration):
        place[i] += dt * place[3 + i] + 0.5 * dt * dt * a
        place[3 + i] += dt * a
    return _turned(half, rate, 0.5 * dt)


def _turned(q: list[float], rate: list[float], dt: float) -> list[float]:
    """The quaternion q exp(rate dt)."""
    (w, x, y, z), (rx, ry, rz) = q, rate
    size = sqrt(rx * rx + ry * ry + rz * rz)
    c, s = cos(0.5 * size * dt), sin(0.5 * size * dt) / size if size > 0.0 else 0.0
    a, b, e = s * rx, s * ry, s * rz
    return [
        w * c - x * a - y * b - z * e,
        w * a + x * c + y * e - z * b,
        w * b + y * c + z * a - x * e,
        w * e + z * c + x * b - y * a,
    ]
