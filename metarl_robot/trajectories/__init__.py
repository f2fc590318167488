# SPDX-License-Identifier: Apache-2.0
"""Flat outputs, polynomials, compiled trajectories and the reference manager."""
