# SPDX-License-Identifier: Apache-2.0
"""Adapters of ground vehicles: those of every kind, with disturbances that turn with the body (body_filter.py)."""

from __future__ import annotations

from typing import Any

import numpy as np

from metarl_robot.adaptation.adapter_spec import AdapterSpec
from metarl_robot.adaptation.factory import filter_tuning, marginal_prior
from metarl_robot.adaptation.feature_spec import feature_map
from metarl_robot.adaptation.features import FeatureMap
from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.robots.ground.body_filter import BodyFilter
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import GroundDynamics


def _observer(robot: Ground, dynamics: GroundDynamics, tuning: AdapterTuning, checkpoint: Any) -> BodyFilter:
    nothing = Prior(np.zeros(0), np.zeros((0, 0)))
    return BodyFilter(dynamics, FeatureMap(dynamics, ()), nothing, filter_tuning(robot, dynamics, tuning))


def _last_layer(robot: Ground, dynamics: GroundDynamics, tuning: AdapterTuning, checkpoint: Checkpoint) -> BodyFilter:
    features = feature_map(robot, dynamics, checkpoint.meta["features"], checkpoint)
    noise = filter_tuning(robot, dynamics, tuning, features.jumps)
    return BodyFilter(dynamics, features, marginal_prior(checkpoint, features), noise)


DISTURBANCE_OBSERVER = AdapterSpec(_observer, controller="offset_free_mpc")
LAST_LAYER = AdapterSpec(_last_layer, "last_layer", "metarl_robot.sim.learners:train_last_layer")
