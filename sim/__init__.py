# SPDX-License-Identifier: Apache-2.0
"""MuJoCo plants, randomised tasks, data sets and closed-loop evaluation; no other package steps physics."""
