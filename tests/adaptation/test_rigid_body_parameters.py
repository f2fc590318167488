# SPDX-License-Identifier: Apache-2.0
"""A body that control uses and that is published can exist: its pseudo-inertia is positive semidefinite."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import metarl_robot as mr
from metarl_robot.robots.rigid_body_parameters import FARTHEST_M, _nearest, existing_body, nearest_body
from metarl_robot.sim.payload.body import draw_box

Array = NDArray[np.float64]


def _pseudo_inertia(parameters: Array) -> Array:
    mass, moment, (xx, yy, zz, xy, xz, yz) = parameters[0], parameters[1:4], parameters[4:]
    inertia = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    second = 0.5 * np.trace(inertia) * np.eye(3) - inertia
    return np.block([[second, moment[:, None]], [moment[None], np.array([[mass]])]])


@pytest.mark.parametrize("size_kg", [1.0, 0.01])
def test_any_parameters_become_those_of_a_body(size_kg: float) -> None:
    rng = np.random.default_rng(0)
    scale = np.array([2.0, *3 * (0.3,), *3 * (0.05,), *3 * (0.02,)])
    for given in size_kg * rng.normal(size=(500, 10)) * scale:
        made = existing_body(given, least_kg=1e-3 * size_kg)
        assert np.linalg.eigvalsh(_pseudo_inertia(made)).min() > -1e-9
        assert np.linalg.norm(made[1:4]) <= FARTHEST_M * made[0] * (1.0 + 1e-9)
        np.testing.assert_allclose(existing_body(made, least_kg=1e-3 * size_kg), made, atol=1e-3 * size_kg)
        if given[0] > 0.1 * size_kg:
            assert abs(made[0] - given[0]) < 1e-4 * size_kg, "mass stays"


@pytest.mark.parametrize("robot", ["panda", "x500"])
def test_a_controller_compiles_it_before_its_first_step(robot: str) -> None:
    nearest_body.cache_clear()
    mr.make_controller(mr.load_robot(robot), "meta_mpc")
    assert nearest_body.cache_info().currsize == 1


@pytest.mark.parametrize("size_kg", [1.0, 0.01])
def test_compiled_and_numpy_code_agree(size_kg: float) -> None:
    rng = np.random.default_rng(2)
    scale = np.array([2.0, *3 * (0.3,), *3 * (0.05,), *3 * (0.02,)])
    symmetric = np.array([1.0, 0.0, 0.0, 0.1, 0.02, 0.02, 0.01, 0.0, 0.0, 0.0])
    for given in size_kg * np.array([np.zeros(10), symmetric, *rng.normal(size=(500, 10)) * scale]):
        expected = _nearest(given, FARTHEST_M, 1e-3 * size_kg)
        made = nearest_body()(given, FARTHEST_M, 1e-3 * size_kg)
        np.testing.assert_allclose(made, expected, rtol=1e-12, atol=1e-14 * size_kg)


def test_a_body_that_exists_stays_as_it_is() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        box = draw_box(rng, rng.uniform(0.2, 5.0), (0.0, 0.2), (0.03, 0.15), np.array([0.0, 0.0, 1.0]))
        given = box.inertial_parameters()
        np.testing.assert_allclose(existing_body(given), given, atol=1e-6)


def test_parameters_that_change_steadily_give_bodies_that_do() -> None:
    line = np.linspace(-1.0, 1.0, 2001)[:, None] * np.array([1.0, 0.1, 0.0, 0.05, *3 * (0.01,), *3 * (0.0,)])
    made = np.array([existing_body(given) for given in line])
    assert np.abs(np.diff(made[:, 0])).max() < 2.1e-3
    assert np.abs(np.diff(made, axis=0)).max() < 0.01
