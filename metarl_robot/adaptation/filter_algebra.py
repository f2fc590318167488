# SPDX-License-Identifier: Apache-2.0
"""Dense algebra of the momentum filter: one prediction and one correction of mean and covariance.

It runs in C if there is a compiler (momentum_filter.c), else in numpy; results agree to rounding. The state is
ordered (q, v, d, e, z).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from math import exp, isnan
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.kernel import Kernel, address, kernel

Array = NDArray[np.float64]

STICTION_VELOCITY_RAD_S = 0.05
"""A joint slower than this may stick, with any friction up to Coulomb's."""


@dataclass(frozen=True)
class ProcessNoise:
    """Process noise of d, e and z.

    drift: (n,) random walk of d [Nm/√s].
    model_error: (n,) standard deviation of e [Nm]; memory_s: its time constant.
    stiction_factor: increase of the model error where a joint may stick.
    prior: (k, k) covariance P_0 of z. z is forgotten towards it with time constants T (k,), at first forgetting_s:
        P_zz ← A P_zz A + R P_0 R with the diagonal matrices A = exp(-dt / T) and R = (1 - A²)^½.
    """

    drift: Array
    model_error: Array
    memory_s: float
    stiction_factor: float
    prior: Array
    forgetting_s: float

    def kept(self, dt: float) -> float:
        """Share of e that is left after dt."""
        return exp(-dt / self.memory_s)

    @property
    def time_constants(self) -> Array:
        """T (k,) [s]."""
        return np.full(len(self.prior), float(self.forgetting_s))


class Motion(NamedTuple):
    """Momentum balance up to the next sample, at a guess v_1 (n,) of its velocity.

    mass, added: (n, n) inertia of the robot and of the features there.
    deficit: (n,) momentum missing there without effort and disturbance.
    impulse: (n, k) ∫Φ' dt.
    input_map: (n, nu).
    acting, effort_std: (nu,) effort and its standard deviation.
    smooth: (nu,) smoothed effort, from which motor strength is learned.
    gain: (nu,) strength beyond 1 in the context `about` (k,), the point of linearisation.
    """

    v_1: Array
    mass: Array
    added: Array
    deficit: Array
    impulse: Array
    input_map: Array
    acting: Array
    effort_std: Array
    smooth: Array
    gain: Array
    about: Array


class Innovation(NamedTuple):
    """Measured minus expected (2n,), and the variance of its noise.

    by_acceleration: None without an accelerometer. With one there are three more values, the specific force less that
        at rest; the rows by_acceleration (3, n) map v̇ to it.
    """

    value: Array
    variance: Array
    by_acceleration: Array | None
    common: Array


class Belief:
    """Position (nq,), and mean (m,) and covariance (m, m) of the state about it."""

    __slots__ = ("address", "covariance", "mean", "position")

    def __init__(self, position: Array, size: int) -> None:
        both = np.empty(size + size * size)
        self.position, self.mean, self.covariance = position, both[:size], both[size:].reshape(size, size)
        self.address = address(both)

    def copy(self) -> Belief:
        other = Belief(self.position, len(self.mean))
        other.mean[:], other.covariance[:] = self.mean, self.covariance
        return other


class Algebra(Protocol):
    """Prediction to the next sample, then correction with its measurement. n = dof."""

    white: Array
    """Whitened innovation of the last correction, (2n,) or (2n + 3,). Overwritten by the next."""
    model_error: Array
    """Variance of e (n,); may be set. Its increase at rest stays as it was built."""
    prior: Array
    """Covariance (k, k) towards which z is forgotten; may be set."""
    forgetting_s: Array
    """Time constants (k,) of forgetting; may be set."""
    response: Array
    """Decrease of `white` per unit of each effort (·, nu). Overwritten by the next correction."""

    def predict(self, before: Belief, motion: Motion, dt: float) -> Belief:
        """Mean and covariance after dt, about the position before: the mean of q is the displacement."""
        ...

    def correct(self, before: Belief, predicted: Belief, innovation: Innovation, dt: float) -> float:
        """Correct the last prediction with a measurement; returns the log-likelihood up to a constant.

        Raises:
            LinAlgError: the innovation's covariance is not positive definite.
        """
        ...


def algebra(dof: int, nu: int, process_noise: ProcessNoise, compiled: bool = True) -> Algebra:
    """Build the algebra for `dof` velocities and `nu` actuators. compiled: in C if there is a compiler."""
    library = kernel("adaptation", "momentum_filter") if compiled else None
    return NumpyAlgebra(dof, process_noise) if library is None else CompiledAlgebra(dof, nu, process_noise, library)


class NumpyAlgebra:
    """See Algebra."""

    def __init__(self, dof: int, process_noise: ProcessNoise) -> None:
        self._n, self._noise = dof, process_noise
        self.model_error, self.prior = process_noise.model_error**2, process_noise.prior.copy()
        self.forgetting_s = process_noise.time_constants
        self._sticking = process_noise.stiction_factor**2 * self.model_error
        self._q, self._v, self._d, self._e = (slice(i * dof, (i + 1) * dof) for i in range(4))
        self._z = slice(4 * dof, 4 * dof + len(process_noise.prior))

    def predict(self, before: Belief, motion: Motion, dt: float) -> Belief:
        after, mean = before.copy(), before.mean
        mobility = _mobility(motion.mass, motion.added)
        self._by_d, self._by_z = by_d, by_z = dt * mobility, mobility @ motion.impulse
        by_command = by_d @ motion.input_map
        self._by_effort = by_command * (1.0 + motion.gain)
        command = motion.acting + motion.gain * (motion.acting - motion.smooth)
        force = motion.input_map @ command + mean[self._d] + mean[self._e]
        missing = motion.deficit + dt * force + motion.impulse @ motion.about
        after.mean[self._v] = motion.v_1 + mobility @ missing + by_z @ (mean[self._z] - motion.about)
        after.mean[self._q] += 0.5 * dt * (mean[self._v] + after.mean[self._v])
        self._add_process_noise(after, mean[self._v], dt)
        self._propagate(after.covariance, dt)
        moved = np.vstack([0.5 * dt * by_command, by_command]) * motion.effort_std
        after.covariance[: 2 * self._n, : 2 * self._n] += moved @ moved.T
        return after

    def _add_process_noise(self, belief: Belief, v: Array, dt: float) -> None:
        """Add process noise: d drifts, e decays, z is forgotten."""
        p, noise = belief.covariance, self._noise
        fade = noise.kept(dt)
        keep = np.ones(len(p))
        keep[self._e], keep[self._z] = fade, np.exp(-dt / self.forgetting_s)
        belief.mean[self._e] *= fade
        p *= keep
        p *= keep[:, None]
        sticking = np.exp(-((v / STICTION_VELOCITY_RAD_S) ** 2))
        added = np.concatenate(
            [
                noise.drift**2 * dt,
                (1.0 - fade**2) * (self.model_error + self._sticking * sticking),
            ]
        )
        disturbance = np.arange(self._d.start, self._e.stop)
        p[disturbance, disturbance] += added
        renewed = np.sqrt(-np.expm1(-2.0 * dt / self.forgetting_s))
        p[self._z, self._z] += renewed * self.prior * renewed[:, None]

    def _propagate(self, p: Array, dt: float) -> None:
        """Propagate P ← F P Fᵀ.

        δq_1 = δq_0 + dt/2 (δv_0 + δv_1), δv_1 = δv_0 + by_d (δd + δe) + by_z δz.
        """
        for side in (p, p.T):
            v_1 = side[self._v] + self._by_d @ (side[self._d] + side[self._e]) + self._by_z @ side[self._z]
            side[self._q] += 0.5 * dt * (side[self._v] + v_1)
            side[self._v] = v_1

    def correct(self, before: Belief, predicted: Belief, innovation: Innovation, dt: float) -> float:
        p, mean, n = predicted.covariance, predicted.mean, self._n
        value, reach = innovation.value, p[: 2 * n]
        spread = reach[:, : 2 * n]
        by_effort = np.vstack([0.5 * dt * self._by_effort, self._by_effort])
        if innovation.by_acceleration is not None:
            by_v = innovation.by_acceleration / dt
            value = value - np.concatenate([np.zeros(2 * n), by_v @ (mean[self._v] - before.mean[self._v])])
            by_d, by_z = by_v @ self._by_d, by_v @ self._by_z
            reach = np.vstack([reach, by_d @ (p[self._d] + p[self._e]) + by_z @ p[self._z]])
            across = (reach[:, self._d] + reach[:, self._e]) @ by_d.T + reach[:, self._z] @ by_z.T
            spread = np.hstack([reach[:, : 2 * n], across])
            by_effort = np.vstack([by_effort, by_v @ self._by_effort])
        factor = np.linalg.cholesky(
            spread + np.diag(innovation.variance) + np.outer(innovation.common, innovation.common)
        )
        whitener = np.linalg.inv(factor)
        self.white, self.response, reach = whitener @ value, whitener @ by_effort, whitener @ reach
        mean += self.white @ reach
        p -= reach.T @ reach
        return -0.5 * float(self.white @ self.white) - float(np.log(np.diagonal(factor)).sum())


def _mobility(mass: Array, added: Array) -> Array:
    """Mobility (M + M_z)⁻¹, or M⁻¹ while the estimate of M_z is not physical."""
    total = mass + added
    try:
        np.linalg.cholesky(total)
    except np.linalg.LinAlgError:
        total = mass
    return np.asarray(np.linalg.inv(total), dtype=np.float64)


class CompiledAlgebra:
    """Algebra in C (momentum_filter.c), on arrays that it owns."""

    def __init__(self, dof: int, nu: int, process_noise: ProcessNoise, library: Kernel) -> None:
        n, k, most = dof, len(process_noise.prior), 2 * dof + 3
        m = 4 * n + k
        self._m, self._noise, self.forgetting_s = m, process_noise, process_noise.time_constants
        self._constant = process_noise.drift**2, process_noise.model_error**2, np.array(process_noise.prior, order="C")
        self._motion = Motion(*(np.zeros(s) for s in (n, (n, n), (n, n), n, (n, k), (n, nu), nu, nu, nu, nu, k)))
        self._innovation, self._variance, self._by_acceleration = np.zeros(most), np.zeros(most), np.zeros((3, n))
        self._common = np.zeros(most)
        self._by_d, self._by_z, self._by_effort = np.zeros((n, n)), np.zeros((n, k)), np.zeros((n, nu))
        self._white, self._response = np.zeros(most), np.zeros((most, nu))
        self._scratch = np.zeros(most * (m + nu + 17 + most) + 2 * n * m)
        self.model_error, self.prior = self._constant[1:]
        self._sticking = process_noise.stiction_factor**2 * self.model_error
        own = self._motion
        self._struct = library.struct(
            "Filter",
            n=n, nu=nu, k=k, stiction_velocity=STICTION_VELOCITY_RAD_S, sticking=self._sticking,
            drift=self._constant[0], model_error=self._constant[1], prior=self._constant[2],
            forgetting=self.forgetting_s,
            mass=own.mass, added=own.added, deficit=own.deficit, input_map=own.input_map, impulse=own.impulse,
            guess=own.v_1,
            acting=own.acting, smooth=own.smooth, effort_std=own.effort_std, gain=own.gain, about=own.about,
            innovation=self._innovation, variance=self._variance, common=self._common,
            by_acceleration=self._by_acceleration,
            by_d=self._by_d, by_z=self._by_z, by_effort=self._by_effort, white=self._white, response=self._response,
            scratch=self._scratch,
        )  # fmt: skip
        self._self, pointer = ctypes.byref(self._struct), ctypes.c_void_p
        self._predict = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, *2 * (ctypes.c_double,))(("predict", library))
        signature = ctypes.CFUNCTYPE(ctypes.c_double, pointer, pointer, pointer, ctypes.c_double, ctypes.c_long)
        self._correct = signature(("correct", library))

    def predict(self, before: Belief, motion: Motion, dt: float) -> Belief:
        for own, given in zip(self._motion, motion, strict=True):
            own[...] = given
        after = Belief(before.position, self._m)
        self._predict(self._self, before.address, after.address, dt, self._noise.kept(dt))
        return after

    def correct(self, before: Belief, predicted: Belief, innovation: Innovation, dt: float) -> float:
        size, accelerometer = len(innovation.value), innovation.by_acceleration is not None
        self._innovation[:size], self._variance[:size] = innovation.value, innovation.variance
        self._common[:size] = innovation.common
        if innovation.by_acceleration is not None:
            self._by_acceleration[...] = innovation.by_acceleration
        likelihood: float = self._correct(self._self, before.address, predicted.address, dt, accelerometer)
        if isnan(likelihood):
            raise np.linalg.LinAlgError("the innovation's covariance is not positive definite")
        self.white, self.response = self._white[:size], self._response[:size]
        return likelihood
