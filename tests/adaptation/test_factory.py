# SPDX-License-Identifier: Apache-2.0
"""Adapters from weights."""

from __future__ import annotations

import numpy as np

from metarl_robot.adaptation.factory import make_adapter
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics


def test_weights_without_any_feature_group_make_an_observer() -> None:
    robot = load_robot("x500")
    nothing = {"prior_mean": np.zeros(0), "prior_covariance": np.zeros((0, 0))}
    weights = Checkpoint(nothing, {"adapter": "last_layer", "features": [], "context_names": []})
    adapter = make_adapter("inertial", robot, QuadrotorDynamics(robot), AdapterTuning(8.0), weights)
    assert adapter.update(State(robot.home, np.zeros(6)), robot.hover_thrust, 0.005).names == ()
