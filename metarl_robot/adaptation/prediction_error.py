# SPDX-License-Identifier: Apache-2.0
"""The error of a predicted residual force, for a model that also estimates motor strengths and inertias.

A model predicts Δ along the motion and the efforts that followed. The error depends on which of the two is
known better.

    joints       Positions are precise, efforts are not. The error of Δ over the strength 1 + ε of each motor is that of
                 the effort which the motion needs. Without it, a model of very weak motors would always be right.
    multirotors  Thrusts are known, velocities are noisy. With the inertia M of the nominal model and M_π of an attached
                 body, M (M + M_π)⁻¹ times the error of Δ is M times the error of the acceleration that the thrusts
                 cause. Without it, a model of a body as light as -M would always be right: its force is the noise.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]

LEAST_STRENGTH, LEAST_INERTIA = 0.1, 0.01
"""Smallest motor strength, and smallest share of the nominal inertia, that is used."""


class PredictionError(Protocol):
    """The error that counts."""

    def __call__(self, error: Array, q: Array, gain: Array, attached: Array) -> Array:
        """Of errors (..., n) of Δ near a position q, of models with ε (..., nu) and an attached body (..., k)."""
        ...


class EffortError:
    """Errors of efforts, of joints with a motor each."""

    def __call__(self, error: Array, q: Array, gain: Array, attached: Array) -> Array:
        return np.asarray(error / np.maximum(1.0 + gain, LEAST_STRENGTH))


class AccelerationError:
    """Errors of accelerations times the nominal inertia.

    Arguments:
        dynamics: with a momentum that takes an attached body.
    """

    def __init__(self, dynamics: Any) -> None:
        self._dynamics = dynamics

    def __call__(self, error: Array, q: Array, gain: Array, attached: Array) -> Array:
        if attached.ndim == 1:
            return self._of_one(error, q, attached) if attached.any() else error
        made = error.copy()
        for at in np.argwhere(attached.any(axis=-1)):
            made[tuple(at)] = self._of_one(error[tuple(at)], q, attached[tuple(at)])
        return made

    def _of_one(self, error: Array, q: Array, attached: Array) -> Array:
        still = np.zeros(self._dynamics.dof)
        nominal = self._dynamics.momentum(q, still)[0].copy()
        shares, axes = scipy.linalg.eigh(self._dynamics.momentum(q, still, attached)[0], nominal)
        limited = np.where(np.abs(shares) < LEAST_INERTIA, LEAST_INERTIA, shares)
        return np.asarray(((error @ axes) / limited) @ (nominal @ axes).T)


EFFORT_ERROR = EffortError()


def prediction_error(robot: Robot, dynamics: Any) -> PredictionError:
    """The error that counts for a robot."""
    return EFFORT_ERROR if robot.attitude is None else AccelerationError(dynamics)
