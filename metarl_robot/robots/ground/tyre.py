# SPDX-License-Identifier: Apache-2.0
"""Tyre forces by slip, smooth at standstill, as CasADi expressions.

The magnitude follows Pacejka's magic formula without curvature ("Tyre and Vehicle Dynamics", 2012, section 4.3). The
directions of combined slip follow the similarity method (section 4.2): longitudinal and lateral slip, each times its
stiffness, form one vector σ, and the force acts along it.

    σ = (c_x s_x, c_y s_y) / μ,    F = μ F_z sin(C atan(|σ| / C)) σ / |σ|,    |F| <= μ F_z

c are stiffnesses per unit load F_z. Slips relate sliding velocities to the speed of the wheel's centre,

    s_x = (ω r - w_x) / |w_x|_0,    s_y = -w_y / |w_x|_0,    |w|_0 = √(w² + v_0²)

with w the velocity of the wheel's centre in the wheel's frame. Below v_0 a tyre acts as a damper.
"""

from __future__ import annotations

import math

import casadi as ca

SHAPE = 1.3
"""C of the magic formula for lateral slip; the force falls by some per cent beyond its peak."""
PEAK_SLIP = SHAPE * math.tan(0.5 * math.pi / SHAPE)
"""|σ| of the largest force."""
CREEP_M_S = 0.5
"""v_0."""
_TINY = 1e-9
LEAST_LATERAL_SHARE = 0.05
"""Least share of the lateral force that a drive force leaves; it keeps derivatives finite at the limit."""


def speed_of(along: ca.SX) -> ca.SX:
    """|w|_0, the regularised speed [m/s]."""
    return ca.sqrt(along**2 + CREEP_M_S**2)


def slip_force(load: ca.SX, friction: ca.SX, along: ca.SX, across: ca.SX) -> tuple[ca.SX, ca.SX]:
    """Force (F_x, F_y) [N] by slips times stiffness c_x s_x, c_y s_y."""
    share = _reduction(ca.sqrt(along**2 + across**2 + _TINY) / friction)
    return load * share * along, load * share * across


def lateral_force(load: ca.SX, friction: ca.SX, across: ca.SX, drive: ca.SX) -> ca.SX:
    """F_y [N] by lateral slip times stiffness, beside a longitudinal force `drive` [N]: the friction ellipse."""
    used = drive / (friction * load)
    left = ca.sqrt(ca.fmax(1.0 - used**2, LEAST_LATERAL_SHARE**2))
    return load * _reduction(ca.sqrt(across**2 + _TINY) / friction) * across * left


def _reduction(slip: ca.SX) -> ca.SX:
    """Force relative to that of the linear tyre, by |σ|."""
    return ca.sin(SHAPE * ca.atan(slip / SHAPE)) / slip
