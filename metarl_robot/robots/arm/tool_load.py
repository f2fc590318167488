# SPDX-License-Identifier: Apache-2.0
"""A load as drivers of arms take it: mass, centre of mass and inertia about it, in the flange's frame.

Ten inertial parameters π of a body are about the origin of the payload's site, in its axes. With the pose R, p of that
site in the flange's frame, centre c = h / m and inertia I_c = I - m (cᵀc 1 - c cᵀ),

    c_F = R c + p,      I_F = R I_c Rᵀ
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NOTHING: Array = np.zeros(10)
"""The parameters of no load."""
REACH_M = 0.3
"""Farthest centre of mass of an object that is carried, from the payload's site."""
BEYOND_RATING = 1.05
"""Largest load, as a multiple of the rating: the estimate of a rated payload has an error."""


class Load(NamedTuple):
    """mass_kg; com_m (3,) [m]; inertia_kg_m2 (3, 3) about the centre of mass. All in one frame."""

    mass_kg: float
    com_m: Array
    inertia_kg_m2: Array


class Pose(NamedTuple):
    """Pose of a frame in another one: rotation (3, 3), position (3,) [m]."""

    rotation: Array
    position: Array


def load_of(parameters: Array) -> Load:
    """The load in the frame of its parameters (10,) [kg, kg m, kg m²]: m, h, I_xx yy zz xy xz yz."""
    m, h, (xx, yy, zz, xy, xz, yz) = float(parameters[0]), parameters[1:4], parameters[4:]
    if m <= 0.0:
        return Load(0.0, np.zeros(3), np.zeros((3, 3)))
    com = h / m
    about_origin = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return Load(m, com, about_origin - m * (com @ com * np.eye(3) - np.outer(com, com)))


def parameters_of(load: Load) -> Array:
    """The parameters (10,) of a load, about the origin of its frame. The inverse of `load_of`."""
    m, com = load.mass_kg, load.com_m
    inertia = load.inertia_kg_m2 + m * (com @ com * np.eye(3) - np.outer(com, com))
    return np.array([m, *(m * com), *np.diagonal(inertia), inertia[0, 1], inertia[0, 2], inertia[1, 2]])


def moved(load: Load, pose: Pose) -> Load:
    """A load in another frame, in which its own frame has this pose."""
    if load.mass_kg == 0.0:
        return load
    turn = pose.rotation
    return Load(load.mass_kg, turn @ load.com_m + pose.position, turn @ load.inertia_kg_m2 @ turn.T)
