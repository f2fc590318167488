# SPDX-License-Identifier: Apache-2.0
"""ROS parameters made from pydantic models, on a node that does nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
import rclpy
from pydantic import BaseModel, ConfigDict, Field
from rclpy.node import Node
from rclpy.parameter import Parameter

from metarl_robot.core.errors import MetaRLError
from metarl_robot.ros_nodes.parameters import ParameterError, Parameters, fixed


class Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    renamed: ClassVar[Mapping[str, str]] = {"push": "gain"}

    gain: float = Field(2.0, ge=0.0, le=10.0, description="a gain")
    count: int = Field(3, ge=1, le=5, description="a count")
    mode: Literal["slow", "fast"] = Field("slow", description="a mode")
    gains: tuple[Annotated[float, Field(ge=0.0)], ...] = Field((1.0, 2.0), description="gains")
    name: str = fixed("x", description="a name")


@pytest.fixture
def make() -> Iterator[Callable[..., Node]]:
    """Makes a node with parameter values given at its start."""
    context = rclpy.Context()
    context.init()
    nodes: list[Node] = []

    def make(**given: object) -> Node:
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in given.items()]
        nodes.append(rclpy.create_node("bare", context=context, parameter_overrides=overrides))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_values_come_from_the_model_then_the_defaults_then_the_start(make: Callable) -> None:
    node = make(tune__gain=4.5)
    values = Parameters(node).declare(Wanted, "tune.", {"gain": 1.0, "count": 5})
    assert (values.gain, values.count, values.mode) == (4.5, 5, "slow")
    assert node.get_parameter("tune.gain").value == 4.5 and list(node.get_parameter("tune.gains").value) == [1.0, 2.0]


def test_a_former_name_given_at_the_start_sets_the_present_one(
    make: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    node = make(tune__push=4.5)
    values = Parameters(node).declare(Wanted, "tune.")
    assert values.gain == 4.5 and not node.has_parameter("tune.push")
    assert capsys.readouterr().err.count("'push' is now named 'gain'") == 1


def test_a_whole_number_is_a_float_too(make: Callable) -> None:
    assert Parameters(make(gain=4, gains=[1, 2, 3])).declare(Wanted) == Wanted(gain=4.0, gains=(1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"gain": 11.0}, r"parameter 'gain'.*given: 11\.0.*allowed: \[0\.0, 10\.0\]"),
        ({"gain": "much"}, "parameter 'gain'.*given: 'much'"),
        ({"mode": "medium"}, "parameter 'mode'.*allowed: one of slow, fast"),
        ({"gains": [1.0, -1.0]}, r"parameter 'gains'.*allowed: \[0\.0, inf\] each"),
    ],
)
def test_a_wrong_value_at_the_start_is_refused_with_name_and_range(make: Callable, given: dict, why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        Parameters(make(**given)).declare(Wanted)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("gain", 11.0, "Max: 10.0"),
        ("count", 9, "Max: 5"),
        ("mode", "medium", "one of slow, fast"),
        ("gains", [-1.0], "[0.0, inf] each"),
        ("name", "y", "read-only"),
    ],
)
def test_a_wrong_value_later_is_refused_and_nothing_changes(make: Callable, name: str, value: object, why: str) -> None:
    node = make()
    Parameters(node).declare(Wanted)
    before = node.get_parameter(name).value
    (result,) = node.set_parameters([Parameter(name, value=value)])
    assert not result.successful and why in result.reason
    assert node.get_parameter(name).value == before


def test_changes_are_told_and_may_be_refused(make: Callable) -> None:
    node, told = make(), []

    def on_change(new: Wanted) -> None:
        if new.gain == 5.0:
            raise MetaRLError("five is taken")
        told.append(new)

    Parameters(node).declare(Wanted, on_change=on_change)
    assert node.set_parameters([Parameter("gain", value=6.0)])[0].successful
    refused = node.set_parameters([Parameter("gain", value=5.0)])[0]
    assert not refused.successful and refused.reason == "five is taken"
    assert [new.gain for new in told] == [6.0] and node.get_parameter("gain").value == 6.0


def test_every_parameter_says_what_it_is_and_may_be(make: Callable) -> None:
    node = make()
    Parameters(node).declare(Wanted)
    gain, mode, name = (node.describe_parameter(key) for key in ("gain", "mode", "name"))
    assert gain.description == "a gain"
    assert (gain.floating_point_range[0].from_value, gain.floating_point_range[0].to_value) == (0.0, 10.0)
    assert mode.additional_constraints == "one of slow, fast" and name.read_only


def test_a_group_can_be_exchanged_for_another(make: Callable) -> None:
    class One(BaseModel):
        gain: float = Field(1.0, ge=0.0, le=10.0, description="a gain")

    class Other(BaseModel):
        depth: float = Field(1.0, ge=0.0, le=2.0, description="a depth")

    node = make(tune__gain=4.5)
    parameters = Parameters(node)
    parameters.declare(One, "tune.")
    parameters.undeclare("tune.")
    parameters.declare(Other, "tune.", use_overrides=False)
    assert node.has_parameter("tune.depth") and not node.has_parameter("tune.gain")
    assert not node.set_parameters([Parameter("tune.depth", value=3.0)])[0].successful


def test_two_groups_of_one_prefix_are_both_changed(make: Callable) -> None:
    class Other(BaseModel):
        speed: float = Field(1.0, ge=0.0, le=2.0, description="a speed")

    node, told = make(), []
    parameters = Parameters(node)
    parameters.declare(Wanted, on_change=told.append)
    parameters.declare(Other, on_change=told.append)
    assert node.set_parameters([Parameter("gain", value=5.0), Parameter("speed", value=0.5)])[0].successful
    assert any(isinstance(new, Wanted) and new.gain == 5.0 for new in told)
    node.set_parameters([Parameter("speed", value=1.5)])
    assert isinstance(told[-1], Other) and told[-1].speed == 1.5


@pytest.mark.parametrize("namespace", ["", "robot_1"])
@pytest.mark.parametrize("kind", ["quad", "ground"])
def test_the_settings_of_a_launch_file_reach_its_nodes_in_any_namespace(root: Path, kind: str, namespace: str) -> None:
    context = rclpy.Context()
    context.init(args=["--ros-args", "--params-file", str(root / "launch" / f"{kind}.params.yaml")])
    node = rclpy.create_node(
        "reference", namespace=namespace, context=context, automatically_declare_parameters_from_overrides=True
    )
    assert node.get_parameter("spacing_s").value == 0.05
    node.destroy_node()
    context.try_shutdown()
