# SPDX-License-Identifier: Apache-2.0
"""One curve from speeds or signals to thrust, and back, for bridges, recordings and PX4's parameters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.thrust_polynomial import ThrustPolynomial
from metarl_robot.logs.flight_map import RotorMap
from metarl_robot.logs.flight_thrusts import mapped_thrusts
from metarl_robot.logs.motor_thrusts import pulse_shares
from metarl_robot.robots.quadrotor.autopilot.thrust_curve import ThrustCurve

ROBOT = load_robot("x500", check_model=False)
FACTORS = st.floats(0.0, 1.0)
SHARES = np.linspace(0.0, 1.0, 21)


def px4_signal(thrust: np.ndarray, factor: float) -> np.ndarray:
    """PX4's own words: FunctionMotors::updateValues, of positive controls."""
    if factor <= np.finfo(np.float32).eps:
        return thrust
    b = 1.0 - factor
    return -b / (2.0 * factor) + np.sqrt(b * b / (4.0 * factor * factor) + thrust / factor)


@given(st.floats(-0.5, 0.5), st.floats(-1e-3, 1e-2), st.floats(1e-6, 1e-4))
def test_a_speed_comes_back_from_its_thrust_where_the_thrust_rises(
    constant: float, linear: float, square: float
) -> None:
    curve = ThrustPolynomial(constant, linear, square)
    speeds = max(-linear / square, 0.0) + np.linspace(1.0, 1000.0, 50)
    assert np.all(np.diff(curve.thrust(speeds)) > 0.0)
    np.testing.assert_allclose(curve.inverse(curve.thrust(speeds)), speeds, rtol=1e-6)
    assert float(curve.inverse(constant - 1.0)) == 0.0


@given(FACTORS)
def test_a_factor_of_px4_gives_the_signals_of_its_mixer(factor: float) -> None:
    curve = ThrustPolynomial.of_factor(factor)
    np.testing.assert_allclose(curve.thrust(curve.inverse(SHARES)), SHARES, atol=1e-12)
    if factor == 0.0 or factor > 1e-3:  # PX4's form loses digits below
        np.testing.assert_allclose(curve.inverse(SHARES), px4_signal(SHARES, factor), atol=1e-9)
    pulses = 1075.0 + 875.0 * curve.inverse(SHARES)
    np.testing.assert_allclose(pulse_shares(pulses, (1075.0, 1950.0), factor), SHARES, atol=1e-12)


@given(st.floats(0.1, 0.95))
def test_the_learned_curve_of_an_autopilot_gives_back_its_thrust(hover: float) -> None:
    curve = ThrustCurve(ROBOT, hover)
    assert curve.hover_thrust == pytest.approx(hover, rel=1e-9)
    for share in SHARES:
        assert curve.normalised(curve.collective_n(share)) == pytest.approx(share, abs=1e-9)


def test_speeds_of_a_recording_become_thrusts_by_the_polynomial_of_its_map() -> None:
    place = RotorMap(quantity="speed", unit="rpm", polynomial=(-0.1, 1e-4, 9e-6))
    speeds = np.array([[0.0, 200.0, 500.0, 800.0]])
    thrusts, words = mapped_thrusts(ROBOT, place, speeds * 30.0 / np.pi)
    np.testing.assert_allclose(thrusts, [[0.0, *(-0.1 + 1e-4 * x + 9e-6 * x**2 for x in speeds[0, 1:])]])
    assert "polynomial" in words
    plain, _ = mapped_thrusts(ROBOT, RotorMap(quantity="speed"), speeds)
    np.testing.assert_allclose(plain, ROBOT.thrust_coefficient * speeds**2)


@pytest.mark.parametrize(("quantity", "polynomial"), [("thrust", (0.0, 0.0, 1e-5)), ("speed", (0.0, 0.0, -1e-5))])
def test_a_polynomial_that_cannot_be_is_refused(quantity: str, polynomial: tuple[float, float, float]) -> None:
    with pytest.raises((ValueError, MetaRLError), match="thrust that rises with the speed"):
        RotorMap(quantity=quantity, polynomial=polynomial)
