# SPDX-License-Identifier: Apache-2.0
"""Learned feature group of an arm, with a narrower prior on machines unlike the training machines."""

from __future__ import annotations

from dataclasses import replace

from metarl_robot.adaptation import learned_features

UNFAMILIAR = 0.3
"""Standard deviation on machines unlike the training machines, as a share of that in training."""

SPEC = replace(learned_features.SPEC, unfamiliar_std=lambda robot, std: UNFAMILIAR * std)
