# SPDX-License-Identifier: Apache-2.0
"""A third kind of robot, from outside the package: a point mass on a plane, pushed by two forces.

    m v̇ = u + Δ,    Δ = -d v - m g s

The ground has a drag coefficient d [N s/m] and a small slope s (2,) [rad]. They are unknown: they are the context.
"""
