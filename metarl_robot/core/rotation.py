# SPDX-License-Identifier: Apache-2.0
"""Rotations as unit quaternions wxyz [body→world]: v_world = rotate(q, v_body).

Leading axes broadcast: q (..., 4), vectors (..., 3). Products are written out in components. A single quaternion or
vector is computed in Python's floats, several times faster than in numpy and with the same result. Formulas: Solà,
"Quaternion kinematics for the error-state Kalman filter", arXiv 1711.02508, 2017, sections 1-4 (Hamilton's convention,
as in MuJoCo and ROS).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

IDENTITY: Array = np.array([1.0, 0.0, 0.0, 0.0])
IDENTITY.setflags(write=False)
_CONJUGATE: Array = np.array([1.0, -1.0, -1.0, -1.0])

_SMALL = 1e-12  # smaller norms count as zero


def _cross(ax: float, ay: float, az: float, bx: float, by: float, bz: float) -> tuple[float, float, float]:
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


def cross(a: Array, b: Array) -> Array:
    """Vector product a × b, (..., 3)."""
    if a.ndim == b.ndim == 1:
        return np.array(_cross(*a.tolist(), *b.tolist()))
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    x = ay * bz - az * by
    out = np.empty((*x.shape, 3))
    out[..., 0] = x
    out[..., 1] = az * bx - ax * bz
    out[..., 2] = ax * by - ay * bx
    return out


def skew(a: Array) -> Array:
    """[a]× (..., 3, 3): skew(a) @ b = a × b."""
    out = np.zeros((*a.shape[:-1], 3, 3))
    out[..., 2, 1], out[..., 0, 2], out[..., 1, 0] = a[..., 0], a[..., 1], a[..., 2]
    out[..., 1, 2], out[..., 2, 0], out[..., 0, 1] = -a[..., 0], -a[..., 1], -a[..., 2]
    return out


def normalise(q: Array) -> Array:
    """Unit quaternion q / |q|; the identity where q is zero or not finite."""
    if q.ndim == 1:
        return _normalised(*q.tolist())
    norm = np.sqrt((q * q).sum(-1, keepdims=True))
    usable = np.isfinite(norm) & (norm > _SMALL)
    return np.where(usable, q / np.where(usable, norm, 1.0), IDENTITY)


def _normalised(w: float, x: float, y: float, z: float) -> Array:
    norm = sqrt(w * w + x * x + y * y + z * z)
    return np.array([w / norm, x / norm, y / norm, z / norm]) if _SMALL < norm < inf else IDENTITY.copy()


def multiply(p: Array, q: Array) -> Array:
    """Product p ⊗ q: first q, then p."""
    pw, px, py, pz = p[..., 0], p[..., 1], p[..., 2], p[..., 3]
    qw, qx, qy, qz = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    w = pw * qw - px * qx - py * qy - pz * qz
    out = np.empty((*w.shape, 4))
    out[..., 0] = w
    out[..., 1] = pw * qx + px * qw + py * qz - pz * qy
    out[..., 2] = pw * qy - px * qz + py * qw + pz * qx
    out[..., 3] = pw * qz + px * qy - py * qx + pz * qw
    return out


def inverse(q: Array) -> Array:
    """Inverse rotation."""
    return np.asarray(q * _CONJUGATE)


def rotate(q: Array, v: Array) -> Array:
    """Transform body coordinates to world coordinates."""
    if q.ndim == v.ndim == 1:
        return _rotated(*q.tolist(), *v.tolist())
    u = q[..., 1:]
    t = 2.0 * cross(u, v)
    return np.asarray(v + q[..., :1] * t + cross(u, t))


def _rotated(w: float, ux: float, uy: float, uz: float, x: float, y: float, z: float) -> Array:
    tx, ty, tz = _cross(ux, uy, uz, x, y, z)
    tx, ty, tz = 2.0 * tx, 2.0 * ty, 2.0 * tz
    sx, sy, sz = _cross(ux, uy, uz, tx, ty, tz)
    return np.array([x + w * tx + sx, y + w * ty + sy, z + w * tz + sz])


def rotate_back(q: Array, v: Array) -> Array:
    """Transform world coordinates to body coordinates."""
    return rotate(inverse(q), v)


def exp(phi: Array) -> Array:
    """Quaternion of a rotation vector phi [rad]: by |phi| about its direction."""
    half = 0.5 * np.sqrt((phi * phi).sum(-1))
    out = np.empty((*phi.shape[:-1], 4))
    out[..., 0] = np.cos(half)
    out[..., 1:] = phi * (0.5 * np.sinc(half / np.pi))[..., None]
    return out


def log(q: Array) -> Array:
    """Shortest rotation vector [rad] of q, |phi| <= pi; the same for q and -q."""
    w = q[..., :1]
    u = np.where(w < 0.0, -q[..., 1:], q[..., 1:])
    sine = np.sqrt((u * u).sum(-1, keepdims=True))
    angle = 2.0 * np.arctan2(sine, np.abs(w))
    return np.asarray(u * np.where(sine > _SMALL, angle / np.maximum(sine, _SMALL), 2.0))


def error(q: Array, target: Array) -> Array:
    """Shortest rotation vector [rad; body q] from q to target."""
    return log(multiply(inverse(q), target))


def integrate(q: Array, rate: Array, dt: float) -> Array:
    """Rotate q for dt [s] at a constant rate [rad/s; body]; the result is normalised."""
    return normalise(multiply(q, exp(rate * dt)))


def _parts(q: Array) -> Sequence[Any]:
    """w, x, y, z, each (...); of a single quaternion Python's numbers, with which arithmetic is faster."""
    return q.tolist() if q.ndim == 1 else (q[..., 0], q[..., 1], q[..., 2], q[..., 3])


def to_matrix(q: Array) -> Array:
    """Rotation matrix R (..., 3, 3): v_world = R v_body."""
    w, x, y, z = _parts(q)
    out = np.empty((*q.shape[:-1], 3, 3))
    out[..., 0, 0] = 1.0 - 2.0 * (y * y + z * z)
    out[..., 1, 1] = 1.0 - 2.0 * (x * x + z * z)
    out[..., 2, 2] = 1.0 - 2.0 * (x * x + y * y)
    out[..., 0, 1], out[..., 1, 0] = 2.0 * (x * y - w * z), 2.0 * (x * y + w * z)
    out[..., 0, 2], out[..., 2, 0] = 2.0 * (x * z + w * y), 2.0 * (x * z - w * y)
    out[..., 1, 2], out[..., 2, 1] = 2.0 * (y * z - w * x), 2.0 * (y * z + w * x)
    return out


Vector = tuple[float, float, float]


def rows(q: Array) -> tuple[Vector, Vector, Vector]:
    """Rows of the rotation matrix of one quaternion (4,), as numbers: for single vectors faster than arrays."""
    w, x, y, z = q.tolist()
    return (
        (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)),
        (2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)),
        (2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)),
    )


def from_matrix(r: Array) -> Array:
    """Quaternion with w >= 0 of a rotation matrix (..., 3, 3), accurate at every angle.

    Source: Shepperd, J. Guidance 1978.
    """
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    products = np.empty((*r.shape[:-2], 4, 4))  # 4 q qᵀ
    products[..., 0, 0] = 1.0 + xx + yy + zz
    products[..., 1, 1] = 1.0 + xx - yy - zz
    products[..., 2, 2] = 1.0 - xx + yy - zz
    products[..., 3, 3] = 1.0 - xx - yy + zz
    for i, j, value in (
        (0, 1, r[..., 2, 1] - r[..., 1, 2]),
        (0, 2, r[..., 0, 2] - r[..., 2, 0]),
        (0, 3, r[..., 1, 0] - r[..., 0, 1]),
        (1, 2, r[..., 0, 1] + r[..., 1, 0]),
        (1, 3, r[..., 0, 2] + r[..., 2, 0]),
        (2, 3, r[..., 1, 2] + r[..., 2, 1]),
    ):
        products[..., i, j] = products[..., j, i] = value
    largest = np.diagonal(products, axis1=-2, axis2=-1).argmax(-1)
    q = np.take_along_axis(products, largest[..., None, None], axis=-2)[..., 0, :]
    return normalise(np.where(q[..., :1] < 0.0, -q, q))


def from_yaw(yaw: ArrayLike) -> Array:
    """Level attitude with body x at `yaw` [rad], counter-clockwise from world x; yaw (...)."""
    half = 0.5 * np.asarray(yaw, float)
    out = np.zeros((*half.shape, 4))
    out[..., 0], out[..., 3] = np.cos(half), np.sin(half)
    return out


def yaw(q: Array) -> Array:
    """Heading of body x in the world's horizontal plane, (...) [rad], in (-pi, pi]."""
    w, x, y, z = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    return np.asarray(np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)))


def up(q: Array) -> Array:
    """Body z in the world, (..., 3)."""
    w, x, y, z = _parts(q)
    out = np.empty((*q.shape[:-1], 3))
    out[..., 0] = 2.0 * (x * z + w * y)
    out[..., 1] = 2.0 * (y * z - w * x)
    out[..., 2] = 1.0 - 2.0 * (x * x + y * y)
    return out


def upright(q: Array) -> float:
    """Cosine of the tilt of one quaternion (4,): height of body z in the world."""
    _, x, y, _ = q.tolist()
    return float(1.0 - 2.0 * (x * x + y * y))


def tilt(q: Array) -> Array:
    """Angle between body z and world z, (...) [rad], in [0, pi]."""
    z = up(q)
    return np.asarray(np.arctan2(np.sqrt(z[..., 0] ** 2 + z[..., 1] ** 2), z[..., 2]))


def nearest_sign(q: Array, to: Array) -> Array:
    """Return q or -q (the same rotation), the one nearer to `to`."""
    return np.where((q * to).sum(-1, keepdims=True) < 0.0, -q, q)


def continuous(q: Array) -> Array:
    """Choose signs so that consecutive quaternions (N, 4) have a non-negative dot product; the first keeps its sign."""
    flips = np.where((q[1:] * q[:-1]).sum(-1) < 0.0, -1.0, 1.0)
    return np.asarray(q * np.concatenate([[1.0], np.cumprod(flips)])[:, None])
