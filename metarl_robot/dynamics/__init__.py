# SPDX-License-Identifier: Apache-2.0
"""Rigid-body dynamics in CasADi, built from an MJCF."""
