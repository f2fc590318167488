# SPDX-License-Identifier: Apache-2.0
"""Feature groups and adapters of other packages: one file and one entry point each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.adaptation.feature_spec import FEATURES, feature_map, raw_groups
from metarl_robot.control.factory import ConfigError, load_config, make_adapter, make_controller
from metarl_robot.core.errors import CheckpointError, MetaRLError, UnknownNameError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import State
from metarl_robot.learning.models.config import TrainConfig
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.training import train

Install = Callable[[str, str], None]

FEATURE = '''
import numpy as np

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup


class Sag(BaseGroup):
    """A constant effort on the first joint."""

    sudden = True

    def __init__(self, dynamics):
        super().__init__(dynamics.dof, ("sag_nm",))

    def design(self, xi):
        return np.tile(np.eye(self._dof)[:, :1], (len(xi.v), 1, 1))


SAG = FeatureSpec(
    build=lambda robot, dynamics, checkpoint: Sag(dynamics),
    truth=lambda robot, task: task.coulomb_nm[:1],
    kinds=("arm",),
)
NO_DESIGN = FeatureSpec(lambda robot, dynamics, checkpoint: BaseGroup(dynamics.dof, ("half",)))
NO_GROUP = FeatureSpec(lambda robot, dynamics, checkpoint: object())
LONG = FeatureSpec(lambda robot, dynamics, checkpoint: Sag(dynamics), lambda robot, task: np.zeros(3))
'''
ADAPTER = """
import numpy as np

from metarl_robot.adaptation.adapter_spec import AdapterSpec
from metarl_robot.adaptation.base import NoAdaptation
from metarl_robot.sim.learners import Trained

MINE = AdapterSpec(lambda robot, dynamics, tuning, checkpoint: NoAdaptation(dynamics), kinds=("arm",))


def learn(robot, config, data, loop):
    return Trained({"gain": np.full(robot.dof, float(len(data.tasks)))}, {}, {})


class Gained(NoAdaptation):
    def __init__(self, dynamics, checkpoint):
        super().__init__(dynamics)
        self.gain = checkpoint.tensors["gain"]


LEARNED = AdapterSpec(
    lambda robot, dynamics, tuning, checkpoint: Gained(dynamics, checkpoint), "mine", "other_package:learn"
)
"""


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("planar2")


@pytest.mark.slow
def test_a_feature_group_is_one_file_and_one_entry_point(install: Install, robot: Robot, tmp_path: Path) -> None:
    install(FEATURE, "[metarl_robot.features]\nsag = other_package:SAG\n")
    assert "sag" in raw_groups("arm") and "sag" not in raw_groups("quadrotor")
    config = TrainConfig(tasks=20, duration_s=1.2, steps=3, batch=4, learned=1, hidden=(4,), groups=("payload", "sag"))
    report = train(robot, config, tmp_path / "out", score_tasks=2)
    assert report.checkpoint.meta["features"] == ["payload", "sag", "learned"]
    adapter = make_adapter(robot, "last_layer", report.path)
    for k in range(5):
        context = adapter.update(State(robot.home + 1e-3 * k, np.zeros(2)), np.ones(2), robot.control_period_s)
    assert "sag_nm" in context.names and context["sag_nm"][1] > 0.0


def test_all_groups_include_those_of_other_packages(install: Install, robot: Robot) -> None:
    install(FEATURE, "[metarl_robot.features]\nsag = other_package:SAG\n")
    features = feature_map(robot, ArmDynamics(robot), raw_groups("arm"))
    assert features.names[-1] == "sag_nm" and len(features.jumps) == 4  # payload, friction, sag; payload removed


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("NO_DESIGN", "'odd': its BaseGroup is incomplete; missing: design"),
        ("NO_GROUP", "'odd': its object is incomplete; missing: .*jacobian.*names"),
        ("Sag", "feature group 'odd': its entry point must be a FeatureSpec"),
        ("ABSENT", r"feature group 'odd' \(metarl_robot.features\) cannot be loaded: AttributeError"),
    ],
)
def test_an_incomplete_group_names_what_is_missing(install: Install, robot: Robot, spec: str, reason: str) -> None:
    install(FEATURE, f"[metarl_robot.features]\nodd = other_package:{spec}\n")
    with pytest.raises(MetaRLError, match=reason):
        feature_map(robot, ArmDynamics(robot), ("odd",))


def test_a_true_value_of_the_wrong_size_names_the_group(install: Install, robot: Robot, tmp_path: Path) -> None:
    install(FEATURE, "[metarl_robot.features]\nodd = other_package:LONG\n")
    with pytest.raises(MetaRLError, match=r"'odd': its truth must have the shape \(1,\) of its names; given \(3,\)"):
        train(robot, TrainConfig(tasks=20, duration_s=1.2, groups=("odd",)), tmp_path)


def test_a_group_without_a_true_value_is_not_trained(install: Install, robot: Robot, tmp_path: Path) -> None:
    install(FEATURE, "[metarl_robot.features]\nodd = other_package:NO_DESIGN\n")
    with pytest.raises(UnknownNameError, match="feature group 'odd'.*friction.*payload"):
        train(robot, TrainConfig(groups=("odd",)), tmp_path)


def test_no_other_package_replaces_a_group_of_ours(install: Install) -> None:
    install(FEATURE, "[metarl_robot.features]\npayload = other_package:SAG\n")
    assert FEATURES.get("arm", "payload").build.__module__ == "metarl_robot.robots.arm.features.payload"


def test_an_adapter_can_be_named_in_a_configuration(install: Install, robot: Robot) -> None:
    install(ADAPTER, "[metarl_robot.adapters]\nmine = other_package:MINE\n")
    controller = make_controller(robot, "meta_mpc", load_config(robot, "meta_mpc", {"adapter": "mine"}))
    assert type(controller.adapter).__name__ == "NoAdaptation"
    assert type(make_adapter(robot, "mine").inner).__name__ == "NoAdaptation"


def test_an_adapter_has_weights_from_a_learner_of_its_own(install: Install, robot: Robot, tmp_path: Path) -> None:
    install(ADAPTER, "[metarl_robot.adapters]\nmine = other_package:LEARNED\n")
    config = TrainConfig(adapter="mine", tasks=20, duration_s=1.2)
    report = train(robot, config, tmp_path / "out", score_tasks=2)
    assert (
        report.path.name == "dynamics_mine.safetensors"
        and "mine" in report.checkpoint.meta["scores"]["prediction"]["rows"]
    )
    assert make_adapter(robot, "mine", report.path).gain.tolist() == [20.0, 20.0]
    with pytest.raises(CheckpointError, match="adapter 'last_layer' needs weights trained for 'last_layer'.*'mine'"):
        make_adapter(robot, "last_layer", report.path)


@pytest.mark.parametrize(("name", "adapter"), [("x500", "mine"), ("x500", "maml"), ("planar2", "l1")])
def test_an_adapter_for_another_kind_is_refused_with_the_valid_names(install: Install, name: str, adapter: str) -> None:
    install(ADAPTER, "[metarl_robot.adapters]\nmine = other_package:MINE\n")
    with pytest.raises(ConfigError, match=f"adapter: .*'{adapter}'.*Valid: .*inertial, last_layer"):
        load_config(load_robot(name), "meta_mpc", {"adapter": adapter})
    with pytest.raises(UnknownNameError, match=f"'{adapter}'"):
        make_adapter(load_robot(name), adapter)


def test_an_adapter_of_another_controller_is_refused(robot: Robot) -> None:
    with pytest.raises(ConfigError, match="'none' is used by nominal_mpc. Valid: .*last_layer"):
        load_config(robot, "meta_mpc", {"adapter": "none"})
