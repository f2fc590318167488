# SPDX-License-Identifier: Apache-2.0
"""Quadrotors: description, dynamics, adaptation, trajectories, controllers, fallback law."""
