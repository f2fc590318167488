# SPDX-License-Identifier: Apache-2.0
"""Quadrotors in MuJoCo: tasks, wind and aerodynamics, plants, suites of flights, training rollouts."""
