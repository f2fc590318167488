# SPDX-License-Identifier: Apache-2.0
"""Quaternions against scipy's rotations, and the properties that rotations have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from metarl_robot.core import rotation

TOLERANCE = 1e-12  # a few hundred roundings


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def random_quaternions(rng: np.random.Generator, *shape: int) -> rotation.Array:
    return rotation.normalise(rng.standard_normal((*shape, 4)))


def scipy_rotation(q: rotation.Array) -> Rotation:
    return Rotation.from_quat(q, scalar_first=True)


def same_rotation(p: rotation.Array, q: rotation.Array) -> bool:
    return bool(np.allclose(np.abs((p * q).sum(-1)), 1.0, atol=TOLERANCE))


def test_products_rotations_and_matrices_agree_with_scipy(rng: np.random.Generator) -> None:
    p, q, v = random_quaternions(rng, 50), random_quaternions(rng, 50), rng.standard_normal((50, 3))
    assert same_rotation(rotation.multiply(p, q), (scipy_rotation(p) * scipy_rotation(q)).as_quat(scalar_first=True))
    assert np.allclose(rotation.rotate(q, v), scipy_rotation(q).apply(v), atol=TOLERANCE)
    assert np.allclose(rotation.rotate_back(q, v), scipy_rotation(q).inv().apply(v), atol=TOLERANCE)
    assert np.allclose(rotation.to_matrix(q), scipy_rotation(q).as_matrix(), atol=TOLERANCE)
    assert np.allclose(rotation.up(q), scipy_rotation(q).apply([0.0, 0.0, 1.0]), atol=TOLERANCE)
    # Euler angles lose digits near the pole
    assert np.allclose(rotation.yaw(q), scipy_rotation(q).as_euler("ZYX")[:, 0], atol=1e-9)
    assert np.allclose(rotation.cross(v, v[::-1]), np.cross(v, v[::-1]), atol=TOLERANCE)
    assert np.allclose((rotation.skew(v) @ v[::-1, :, None])[..., 0], np.cross(v, v[::-1]), atol=TOLERANCE)


def test_exponential_and_logarithm_agree_with_scipy_and_undo_each_other(rng: np.random.Generator) -> None:
    phi = rng.standard_normal((50, 3))
    phi *= rng.uniform(0.0, np.pi - 1e-6, (50, 1)) / np.linalg.norm(phi, axis=1, keepdims=True)
    assert same_rotation(rotation.exp(phi), Rotation.from_rotvec(phi).as_quat(scalar_first=True))
    assert np.allclose(rotation.log(rotation.exp(phi)), phi, atol=1e-9)
    assert np.allclose(rotation.log(-rotation.exp(phi)), phi, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-300, 1e-13, 1e-9, 1e-4, np.pi - 1e-7, np.pi])
def test_exponential_and_logarithm_at_the_ends_of_their_range(angle: float) -> None:
    phi = angle * np.array([0.6, 0.0, 0.8])
    q = rotation.exp(phi)
    assert np.isclose(np.linalg.norm(q), 1.0, atol=TOLERANCE)
    assert np.isclose(np.linalg.norm(rotation.log(q)), angle, rtol=1e-7, atol=1e-15)


def test_a_matrix_gives_its_quaternion_also_at_half_turns(rng: np.random.Generator) -> None:
    half_turns = np.concatenate([np.eye(4)[1:], rotation.exp(np.pi * np.array([[0.6, 0.8, 0.0], [0.0, 0.6, -0.8]]))])
    q = np.concatenate([random_quaternions(rng, 50), half_turns, rotation.IDENTITY[None]])
    found = rotation.from_matrix(rotation.to_matrix(q))
    assert same_rotation(found, q)
    assert np.all(found[:, 0] >= 0.0)


def test_the_error_takes_one_attitude_to_the_other_the_short_way(rng: np.random.Generator) -> None:
    q, target = random_quaternions(rng, 50), random_quaternions(rng, 50)
    phi = rotation.error(q, target)
    assert same_rotation(rotation.multiply(q, rotation.exp(phi)), target)
    assert np.all(np.linalg.norm(phi, axis=1) <= np.pi + TOLERANCE)
    assert np.allclose(phi, rotation.error(q, -target), atol=1e-9)


def test_integration_turns_at_the_rate_and_keeps_the_norm() -> None:
    rate, q = np.array([0.0, 0.0, 2.0]), rotation.IDENTITY
    for _ in range(10_000):
        q = rotation.integrate(q, rate, 1e-3)
    assert np.isclose(np.linalg.norm(q), 1.0, atol=1e-15)
    assert np.isclose(np.angle(np.exp(1j * (rotation.yaw(q) - 20.0))), 0.0, atol=1e-10)


def test_tilt_and_yaw_of_known_attitudes() -> None:
    nose_east_of_north = rotation.from_yaw(np.array([0.0, 1.0, -3.0]))
    assert np.allclose(rotation.yaw(nose_east_of_north), [0.0, 1.0, -3.0])
    assert np.allclose(rotation.tilt(nose_east_of_north), 0.0)
    assert np.allclose(
        rotation.tilt(rotation.exp(np.array([[0.4, 0.0, 0.0], [0.0, -2.0, 0.0], [np.pi, 0.0, 0.0]]))), [0.4, 2.0, np.pi]
    )


def test_signs(rng: np.random.Generator) -> None:
    turning = rotation.exp(np.linspace(0.0, 6.0 * np.pi, 400)[:, None] * np.array([0.0, 0.6, 0.8]))
    scrambled = turning * rng.choice([-1.0, 1.0], (400, 1))
    smooth = rotation.continuous(scrambled)
    assert np.all((smooth[1:] * smooth[:-1]).sum(-1) > 0.0)
    assert np.array_equal(smooth[0], scrambled[0])
    assert np.array_equal(rotation.nearest_sign(-turning, turning), turning)


def test_a_quaternion_of_no_use_becomes_the_identity() -> None:
    q = np.array([[0.0, 0.0, 0.0, 0.0], [np.nan, 0.0, 0.0, 1.0], [np.inf, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, -2.0]])
    assert np.array_equal(rotation.normalise(q), [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1]])


@pytest.mark.parametrize(
    ("function", "sizes"),
    [
        (rotation.multiply, (4, 4)),
        (rotation.rotate, (4, 3)),
        (rotation.rotate_back, (4, 3)),
        (rotation.error, (4, 4)),
        (rotation.cross, (3, 3)),
    ],
)
def test_leading_axes_broadcast(
    rng: np.random.Generator, function: Callable[..., rotation.Array], sizes: tuple[int, int]
) -> None:
    one, many = rng.standard_normal(sizes[0]), rng.standard_normal((2, 5, sizes[1]))
    expected = np.stack([[function(one, x) for x in row] for row in many])
    assert np.allclose(function(one, many), expected, atol=TOLERANCE)


def test_rows_and_upright_are_those_of_the_matrix(rng: np.random.Generator) -> None:
    for q in random_quaternions(rng, 5):
        matrix = rotation.to_matrix(q)
        assert np.array_equal(np.array(rotation.rows(q)), matrix)
        assert rotation.upright(q) == matrix[2, 2] == rotation.up(q)[2]


def test_single_quaternions_and_vectors_give_the_same_bits_as_many(rng: np.random.Generator) -> None:
    for q, a, b in zip(rng.normal(size=(200, 4)), *rng.normal(size=(2, 200, 3)), strict=True):
        assert np.array_equal(rotation.normalise(q), rotation.normalise(q[None])[0])
        assert np.array_equal(rotation.cross(a, b), rotation.cross(a[None], b[None])[0])
        assert np.array_equal(rotation.rotate(q, a), rotation.rotate(q[None], a[None])[0])


@pytest.mark.parametrize("value", [0.0, 1e-13, np.nan, np.inf])
def test_a_single_quaternion_without_direction_becomes_the_identity(value: float) -> None:
    assert np.array_equal(rotation.normalise(np.full(4, value)), rotation.IDENTITY)
