# SPDX-License-Identifier: Apache-2.0
"""Adapters from weights."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.adaptation.adapter_spec import ADAPTERS
from metarl_robot.adaptation.factory import make_adapter
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.control.factory import adapter_tuning, controller_of, load_config
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


@pytest.mark.parametrize("name", ["panda", "x500"])
def test_a_controller_configures_every_adapter_that_a_recording_is_evaluated_with(name: str) -> None:
    robot = load_robot(name)
    tunings = {each: adapter_tuning(robot, controller_of(robot, each)) for each in ADAPTERS.names(robot.kind)[1:]}
    assert len(tunings) >= 4 and all(tuning.observer_bandwidth_rad_s > 0.0 for tuning in tunings.values())
    if name == "x500":
        assert (
            tunings["l1"].observer_bandwidth_rad_s
            == load_config(robot, "l1_mpc").model_dump()["filter_bandwidth_rad_s"]
        )
