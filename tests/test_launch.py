# SPDX-License-Identifier: Apache-2.0
"""The launch-file runner: files that it reads and refuses, and the processes that it starts."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from metarl_robot.cli.launch import Launch, LaunchError, run_launch, show_args
from metarl_robot.cli.launch_file import NodeSpec, declared_arguments, evaluate, find_launch_file, find_share
from metarl_robot.cli.launch_process import executable_of, is_patient
from metarl_robot.core.errors import MetaRLError, MissingPackageError, UnknownNameError
from metarl_robot.core.robot import MODELS_DIR
from metarl_robot.ros_nodes.unique_name import NameTakenError, check_name, claim_name

WAIT_S = 60.0  # how long a test waits for a process before it gives up

Writer = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Writes a launch file from the text of its actions."""

    def write(actions: str, name: str = "test.launch.yaml") -> Path:
        path = tmp_path / "a läunch folder" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("launch:\n" + actions)
        return path

    return write


NODE = "- node: {pkg: metarl_robot, exec: gate, name: gate, param: [{name: x, value: '%s'}]}\n"


def value(write: Writer, text: str, actions: str = "", **arguments: str) -> object:
    """Value of a parameter's text."""
    return evaluate(write(actions + NODE % text), arguments)[0].parameters["x"]


# Arguments.

ARGUMENTS = """
- arg: {name: robot, default: panda, description: Which robot}
- arg: {name: mode, default: slow, choice: [{value: slow}, {value: fast}]}
- arg: {name: must}
"""


def test_controllers_are_looked_up_once_a_file(write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with a hundred arguments `controller` took three seconds."""
    looked_up: list[Path] = []

    def offered(path: Path) -> tuple[str, ...]:
        looked_up.append(path)
        return ("pid",)

    monkeypatch.setattr("metarl_robot.cli.launch.offered_controllers", offered)
    said = show_args(write("\n".join(["- arg: {name: controller}"] * 100)))
    assert len(looked_up) == 1 and said.count("Valid choices are: ['pid']") >= 1


def test_show_args_prints_what_ros2_launch_prints(write: Writer) -> None:
    assert show_args(write(ARGUMENTS)) == (
        "Arguments (pass arguments as '<name>:=<value>'):\n"
        "\n    'robot':\n        Which robot\n        (default: 'panda')\n"
        "\n    'mode':\n        no description given. Valid choices are: ['slow', 'fast']\n        (default: 'slow')\n"
        "\n    'must':\n        no description given"
    )


def test_an_unknown_argument_is_refused_with_the_valid_names(write: Writer) -> None:
    with pytest.raises(
        UnknownNameError, match="unknown launch argument 'robt'. Did you mean 'robot'.* Valid: mode, must, robot"
    ):
        evaluate(write(ARGUMENTS), {"must": "1", "robt": "x"})


def test_a_value_outside_its_choice_is_refused_in_the_words_of_ros(write: Writer) -> None:
    with pytest.raises(
        LaunchError, match=r"'mode' provided value 'quick' is not valid. Valid options are: \['slow', 'fast'\]"
    ):
        evaluate(write(ARGUMENTS), {"must": "1", "mode": "quick"})


def test_a_required_argument_must_be_given(write: Writer) -> None:
    with pytest.raises(LaunchError, match="required launch argument 'must' was not provided"):
        evaluate(write(ARGUMENTS), {})


def test_an_unknown_launch_file_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="unknown launch file 'amr'. Did you mean 'arm'"):
        find_launch_file("amr")


# Outside the subset.


@pytest.mark.parametrize(
    ("actions", "named"),
    [
        ("- executable: {cmd: ls}\n", "action 'executable' is not supported"),
        ("- node: {pkg: a, exec: b, respawn: 'true'}\n", "attribute 'respawn' of 'node' is not supported"),
        ("- arg: {name: a, default: false}\n", "attribute 'default' of 'arg' must be a string"),
        ("- node: {pkg: metarl_robot}\n", "can not find attribute 'exec' in 'node'"),
        ("- let: {name: a, value: $(eval '1 + 1')}\n", r"substitution \$\(eval …\) is not supported"),
        ("- let: {name: a, value: $(command ls)}\n", r"substitution \$\(command …\) is not supported"),
        ("- let: {name: a, value: $(var missing)}\n", "unknown launch configuration"),
        ("- let: {name: a, value: '$(var'}\n", "unfinished substitution"),
        ("- let: {name: a, value: x, if: maybe}\n", "expected a truth value"),
        ("- include: {file: other.launch.py}\n", "only YAML launch files"),
        ("- node: {pkg: a, exec: b, param: [{from: nowhere.yaml}]}\n", "parameter file nowhere.yaml does not exist"),
        ("- group: 3\n", "'group' needs attributes; given: 3"),
        ("- group: {children: 3}\n", "actions are a list.*given: 3"),
        ("- node: {pkg: a, exec: b, args: 'say \"hello'}\n", "'args' of 'node': No closing quotation"),
        ("- node: {pkg: a, exec: b, param: [{name: x, value: '[1'}]}\n", "parameter 'x': not valid YAML: line [12]"),
        ("- node: {pkg: a, exec: b, param: [{name: x, value: '!!int x'}]}\n", "parameter 'x': not valid YAML"),
        ("- node: {pkg: a, exec: b, param: [{name: x, value: '%s'}]}\n" % ("9" * 5000), "a number of 5000 characters"),
        ("- node: {pkg: a, exec: b, param: [{name: x, value: '1', type: [1]}]}\n", r"type \[1\] is not supported"),
        ("- node: {pkg: a, exec: b, param: [{name: x, value: [[1]]}]}\n", "a list of one of these"),
        ("- node: {pkg: a, exec: b, env: [{name: 'A=B', value: c}]}\n", "cannot name an environment variable"),
        ('- let: {name: a, value: "\\0"}\n', "NUL character"),
        ("- let: {name: a, value: $(find-pkg-share ../../etc)}\n", "cannot name a ROS package"),
        ("- let: {name: a, value: '%s'}\n" % ("$(not " * 300), "nested more than 20"),
        (
            "- let: {name: a, value: x}\n" + "- let: {name: a, value: $(var a)$(var a)}\n" * 60,
            "at most 10000 are allowed",
        ),
    ],
)
def test_what_is_outside_the_subset_is_refused_by_name(write: Writer, actions: str, named: str) -> None:
    with pytest.raises(MetaRLError, match=named) as caught:
        evaluate(write(actions), {})
    assert len(str(caught.value)) < 1000
    if actions.startswith("- group"):
        with pytest.raises(LaunchError, match=named):
            show_args(write(actions))


def test_files_that_include_each_other_twice_are_not_read_for_ever(write: Writer) -> None:
    for number in range(15):
        write(f"- include: {{file: $(dirname)/n{number + 1}.launch.yaml}}\n" * 2, f"n{number}.launch.yaml")
    with pytest.raises(LaunchError, match="more than 100 files"):
        evaluate(write("  []\n", "n15.launch.yaml").with_name("n0.launch.yaml"), {})


def test_a_date_is_text(write: Writer) -> None:
    assert value(write, "2026-99-99") == "2026-99-99"


def test_a_file_that_includes_itself_is_refused(write: Writer) -> None:
    with pytest.raises(LaunchError, match="includes are nested"):
        evaluate(write("- include: {file: $(dirname)/test.launch.yaml}\n"), {})


# Substitutions and conditions.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(equals a a)", True),
        ("$(equals 1.0 1)", True),
        ("$(equals true 1)", True),
        ("$(not-equals $(var mode) slow)", False),
        ("$(and $(equals a a) $(not false))", True),
        ("$(or false 0)", False),
        ("$(env METARL_TEST_UNSET fallback)", "fallback"),
        ('pre-$(var mode)-"post"', 'pre-slow-"post"'),
        ("$(equals 'two words' \"two words\")", True),
        (r"\$(var mode)", "$(var mode)"),
        ("3", 3),
        ("3.5", 3.5),
        ("[1.0, 2.0]", [1.0, 2.0]),
    ],
)
def test_substitutions_and_types(write: Writer, text: str, expected: object) -> None:
    assert value(write, text.replace("'", "''"), "- arg: {name: mode, default: slow}\n") == expected


def test_a_type_decides_where_yaml_would_guess(write: Writer) -> None:
    node = (
        "- node: {pkg: metarl_robot, exec: gate, param: [{name: s, value: '3', type: str}, {name: f, value: '3', type: "
        "float}]}\n"
    )
    assert evaluate(write(node), {})[0].parameters == {"s": "3", "f": 3.0}
    with pytest.raises(LaunchError, match="parameter 'i' must be of type int; given: 'x'"):
        evaluate(write("- node: {pkg: metarl_robot, exec: gate, param: [{name: i, value: x, type: int}]}\n"), {})


def test_an_argument_that_an_include_sets_itself_is_unknown_from_outside(write: Writer) -> None:
    """`metarl launch several_robots namespace:=x` was accepted and changed nothing."""
    write(
        "- arg: {name: who, default: a}\n- arg: {name: how, default: b}\n" + NODE % "$(var who) $(var how)",
        "in.launch.yaml",
    )
    path = write("- include: {file: $(dirname)/in.launch.yaml, arg: [{name: who, value: me}]}\n")
    assert evaluate(path, {"how": "so"})[0].parameters["x"] == "me so"
    with pytest.raises(UnknownNameError, match="unknown launch argument 'who'.* Valid: how"):
        evaluate(path, {"who": "you"})
    with pytest.raises(UnknownNameError, match="'namespace'"):
        Launch("several_robots", {"namespace": "x"})


def test_conditions_groups_and_includes(write: Writer) -> None:
    write(
        "- arg: {name: who}\n- node: {if: $(equals $(var who) me), pkg: metarl_robot, exec: plant, name: $(var who)}\n",
        "inner.launch.yaml",
    )
    path = write(
        """
- let: {name: a, value: outside}
- group:
  - let: {name: a, value: inside}
  - node: {pkg: metarl_robot, exec: gate, name: $(var a)}
- group: {if: 'false', children: [{node: {pkg: metarl_robot, exec: gate}}]}
- node: {unless: 'true', pkg: metarl_robot, exec: gate}
- node: {pkg: metarl_robot, exec: gate, name: $(var a)}
- include: {file: $(dirname)/inner.launch.yaml, arg: [{name: who, value: me}]}
"""
    )
    assert [(n.executable, n.name) for n in evaluate(path, {})] == [
        ("gate", "inside"),
        ("gate", "outside"),
        ("plant", "me"),
    ]


# The launch file that is shipped.


def arm(**arguments: str) -> dict[str, NodeSpec]:
    return {str(node.name): node for node in evaluate(find_launch_file("arm"), arguments)}


@pytest.mark.parametrize("robot", ["panda", "planar2"])
@pytest.mark.parametrize("controller", ["pid", "computed_torque", "nominal_mpc", "offset_free_mpc", "meta_mpc"])
def test_every_choice_of_the_arm_launch_file_has_what_it_needs(robot: str, controller: str) -> None:
    nodes = arm(robot=robot, controller=controller)
    assert set(nodes) == {"gate", "mpc", "reference", "plant"}
    assert nodes["mpc"].parameters["controller"] == controller
    assert (MODELS_DIR / robot / "config" / f"{controller}.yaml").is_file()  # the mpc node reads it


@pytest.mark.parametrize("name", ["arm", "quad"])
def test_a_robot_may_be_a_folder(name: str, tmp_path: Path) -> None:
    nodes = evaluate(find_launch_file(name), {"robot": str(tmp_path)})
    assert all(node.parameters["robot"] == str(tmp_path) for node in nodes)
    assert all(file.is_file() for node in nodes for file in node.parameter_files)


@pytest.mark.parametrize("robot", ["x500", "hummingbird", "crazyflie"])
@pytest.mark.parametrize("controller", ["pid", "se3", "indi", "nominal_mpc", "l1_mpc", "offset_free_mpc", "meta_mpc"])
def test_every_choice_of_the_quadrotors_launch_file_is_passed_on(robot: str, controller: str) -> None:
    nodes = {
        str(node.name): node for node in evaluate(find_launch_file("quad"), {"robot": robot, "controller": controller})
    }
    assert set(nodes) == {"gate", "mpc", "reference", "plant"}
    assert nodes["mpc"].parameters["controller"] == controller
    assert all(node.parameters["robot"] == robot for node in nodes.values())


@pytest.mark.parametrize("name", ["arm", "quad", "ground"])
def test_a_gate_inside_replaces_two_processes_by_one_with_the_parameters_of_both(name: str) -> None:
    separate, inside = (
        {node.executable: node for node in evaluate(find_launch_file(name), {"gate": gate, "lockstep": "true"})}
        for gate in ("separate", "inside")
    )
    assert separate.keys() - inside.keys() == {"gate", "mpc"} and inside.keys() - separate.keys() == {"mpc_with_gate"}
    one = inside["mpc_with_gate"]
    assert one.name is None and is_patient(one)  # a name would be that of both nodes
    assert one.parameter_files == separate["mpc"].parameter_files
    assert one.parameters == {**separate["gate"].parameters, **separate["mpc"].parameters}
    assert executable_of("metarl_robot", "mpc_with_gate")[-1] == "metarl_robot.ros_nodes.mpc_with_gate"
    assert "mpc_with_gate" not in {
        n.executable for n in evaluate(find_launch_file(name), {"gate": "inside", "shadow": "true"})
    }


def test_quadrotors_and_arms_are_launched_with_the_same_arguments() -> None:
    arguments = [{argument.name for argument in declared_arguments(find_launch_file(name))} for name in ("arm", "quad")]
    assert arguments[0] - arguments[1] == {"effort_includes_gravity", "efforts", "dynamic_joint_states", "plan_hz"}
    assert arguments[1] <= arguments[0]


@pytest.mark.parametrize("commands", ["speed_steering", "twist", "ackermann"])
def test_a_driver_that_takes_speeds_gets_them_from_a_bridge(commands: str) -> None:
    def ground(**arguments: str) -> dict[str, NodeSpec]:
        return {str(node.name): node for node in evaluate(find_launch_file("ground"), arguments)}

    assert set(ground()) == {"gate", "mpc", "reference", "plant"}
    assert ground()["plant"].remaps == (("drive_controller/commands", "drive_controller/commands"),)
    nodes = ground(commands=commands)
    assert set(nodes) == {"gate", "drive_bridge", "driver", "mpc", "reference", "plant"}
    assert nodes["plant"].remaps == (("drive_controller/commands", "driver/efforts"),)
    assert {nodes[name].parameters["commands"] for name in ("drive_bridge", "driver")} == {commands}
    assert [name for name, node in nodes.items() if is_patient(node)] == ["gate", "drive_bridge", "driver", "plant"]
    assert set(ground(commands=commands, plant="none")) == {"gate", "drive_bridge", "mpc", "reference"}
    assert executable_of("metarl_robot", "drive_bridge")[-1] == "metarl_robot.ros_nodes.ground.drive_bridge"


@pytest.mark.parametrize("bridge", ["mavlink", "px4", "crazyflie", "crazyswarm"])
def test_an_autopilot_is_commanded_by_its_bridge_behind_the_gate(bridge: str) -> None:
    def autopilot(**arguments: str) -> dict[str, NodeSpec]:
        return {str(node.name): node for node in evaluate(find_launch_file("autopilot"), arguments)}

    nodes = autopilot(bridge=bridge, hover_thrust="0.6")
    assert set(nodes) == {"gate", "mpc", f"{bridge}_bridge"}  # no plant, and no motion unless asked for
    assert set(autopilot(bridge=bridge, reference="circle")) == {*nodes, "reference"}
    node = nodes[f"{bridge}_bridge"]
    assert (node.parameters["auto_arm"], node.parameters["hover_thrust"]) == (False, 0.6)
    assert node.parameters["setpoints"] == "rates"
    assert not any(node.parameters.get("use_sim_time") for node in nodes.values())
    assert executable_of("metarl_robot", f"{bridge}_bridge")[-1] == f"metarl_robot.ros_nodes.bridges.{bridge}_bridge"


def test_an_effort_controller_of_ros2_control_is_commanded_by_its_bridge_behind_the_gate() -> None:
    arguments = {"robot": "planar2", "effort_controller": "my_efforts"}
    nodes = {str(node.name): node for node in evaluate(find_launch_file("ros2_control"), arguments)}
    assert set(nodes) == {"gate", "mpc", "ros2_control_bridge"}
    bridge = nodes["ros2_control_bridge"]
    assert (bridge.parameters["effort_controller"], bridge.parameters["robot"]) == ("my_efforts", "planar2")
    assert is_patient(bridge) and not any(node.parameters.get("use_sim_time") for node in nodes.values())
    assert executable_of("metarl_robot", "ros2_control_bridge")[-1].endswith("bridges.ros2_control_bridge")


def test_payloads_are_shared_only_when_asked_for_and_only_where_efforts_are_sent() -> None:
    given = {"robot": "panda", "share_payload": "true", "payload_driver": "ur", "effort_includes_gravity": "false"}
    nodes = {str(node.name): node for node in evaluate(find_launch_file("ros2_control"), given)}
    sharer = nodes["payload_sharer"].parameters
    assert (sharer["payload_driver"], sharer["effort_includes_gravity"]) == ("ur", False)
    assert executable_of("metarl_robot", "payload_sharer")[-1].endswith("bridges.payload_sharer")
    for other in ({"share_payload": "false"}, {"commands": "positions"}):
        launched = evaluate(find_launch_file("ros2_control"), {**given, **other})
        assert "payload_sharer" not in {str(node.name) for node in launched}


def test_a_trajectory_controller_of_ros2_control_gets_plans_instead() -> None:
    def launched(**arguments: str) -> dict[str, NodeSpec]:
        given = {"robot": "planar2", "commands": "positions", "limit_scale": "0.2", **arguments}
        return {str(node.name): node for node in evaluate(find_launch_file("ros2_control"), given)}

    nodes = launched(trajectory_controller="my_joints", dynamic_joint_states="true")
    assert set(nodes) == {"gate", "mpc", "joint_trajectory_bridge"}
    bridge, mpc = nodes["joint_trajectory_bridge"].parameters, nodes["mpc"].parameters
    assert (bridge["trajectory_controller"], bridge["limit_scale"]) == ("my_joints", 0.2)
    assert (mpc["efforts"], mpc["plan_hz"], mpc["dynamic_joint_states"]) == ("states", 50.0, True)
    assert nodes["gate"].parameters["dynamic_joint_states"] is True
    assert launched(efforts="commands")["mpc"].parameters["efforts"] == "commands"
    assert launched(commands="efforts")["mpc"].parameters["efforts"] == "commands"
    name = "joint_trajectory_bridge"
    assert executable_of("metarl_robot", name)[-1].endswith(f"bridges.{name}")


@pytest.mark.parametrize("plant", ["none", "betaflight"])
def test_betaflight_is_commanded_through_a_bridge(plant: str) -> None:
    arguments = {"plant": plant, "lockstep": "true", "url": "/dev/ttyACM0"}
    nodes = {str(node.name): node for node in evaluate(find_launch_file("betaflight"), arguments)}
    simulated = plant == "betaflight"
    assert set(nodes) == {"gate", "mpc", "reference", "betaflight_bridge", *(["plant"] if simulated else [])}
    bridge = nodes["betaflight_bridge"].parameters
    assert (bridge["url"], bridge["auto_arm"], bridge["baud"]) == ("/dev/ttyACM0", False, 115200)
    assert all(node.parameters["use_sim_time"] is simulated for node in nodes.values())
    if simulated:
        assert nodes["plant"].remaps == (("thrust_controller/commands", "thrust_controller/acting"),)


def test_without_a_simulation_nothing_is_simulated() -> None:
    nodes = arm(controller="pid", plant="none", lockstep="true", record="true", reference="none")
    assert set(nodes) == {"gate", "mpc", "recorder"}
    assert all(node.parameters["use_sim_time"] is False for node in nodes.values())
    assert nodes["gate"].parameters["lockstep"] is False
    assert nodes["mpc"].parameters["wait_for_reference"] is False


@pytest.mark.parametrize("name", ["arm", "quad", "ground"])
def test_shadow_mode_starts_nothing_that_commands_or_simulates(name: str) -> None:
    arguments = {"shadow": "true", "record": "true", "reference": "hold", "lockstep": "true"}
    nodes = {str(node.name): node for node in evaluate(find_launch_file(name), arguments)}
    assert set(nodes) == {"shadow", "recorder"}
    assert nodes["shadow"].parameters["lockstep"] is True
    assert "shadow" not in {str(node.name) for node in evaluate(find_launch_file(name), {})}


@pytest.mark.parametrize(
    "name", ["arm", "quad", "ground", "several_robots", "betaflight", "autopilot", "ros2_control", "view"]
)
def test_our_launch_files_keep_to_what_ros_reads(name: str) -> None:
    """Strings where ROS wants strings, and one key an action: ROS's YAML frontend takes nothing else."""
    content = yaml.safe_load(find_launch_file(name).read_text())
    assert list(content) == ["launch"]
    grouped = [child for action in content["launch"] for child in action.get("group", [])]
    for action in [action for action in content["launch"] if "group" not in action] + grouped:
        (body,) = action.values()
        texts = [body.get(key) for key in ("name", "default", "value", "if", "unless", "pkg", "exec", "description")]
        assert all(text is None or isinstance(text, str) for text in texts)
        assert all(isinstance(choice["value"], str) for choice in body.get("choice", []))


@pytest.mark.parametrize(
    ("pushed", "own", "namespace"),
    [
        ((), "", None),
        ((), "left", "/left"),
        (("left",), "", "/left"),
        (("left",), "arm", "/left/arm"),
        (("left", "inner"), "arm", "/left/inner/arm"),
        (("left", "/other"), "arm", "/other/arm"),
        (("left",), "/arm", "/arm"),
        (("",), "", None),
        (("left", ""), "", "/left"),
        (("left/",), "", "/left"),
    ],
)
def test_namespaces_are_joined_as_in_ros(
    write: Writer, pushed: tuple[str, ...], own: str, namespace: str | None
) -> None:
    """launch_ros: prefix_namespace and make_namespace_absolute, in PushRosNamespace and Node."""
    pushes = "".join(f"    - push_ros_namespace: {{namespace: '{each}'}}\n" for each in pushed)
    node = f"    - node: {{pkg: a, exec: b, namespace: '{own}'}}\n"
    outside = "- node: {pkg: a, exec: b}\n"
    inside, after = evaluate(write("- group:\n" + pushes + node + outside), {})
    assert (inside.namespace, after.namespace) == (namespace, None)


def test_a_namespace_reaches_included_files_and_ends_with_its_group(write: Writer) -> None:
    write("- node: {pkg: a, exec: b, namespace: inner}\n", "other.launch.yaml")
    included = "- include: {file: $(dirname)/other.launch.yaml}\n"
    path = write("- group:\n    - push-ros-namespace: {namespace: left}\n    " + included + included)
    assert [spec.namespace for spec in evaluate(path, {})] == ["/left/inner", "/inner"]


@pytest.mark.parametrize("namespace", ["1left", "le ft", "left//inner", "left-arm", "~", "{x}"])
def test_a_namespace_that_ros_does_not_allow_is_refused(write: Writer, namespace: str) -> None:
    path = write(f"- push_ros_namespace: {{namespace: '{namespace}'}}\n" + NODE % "1")
    with pytest.raises(LaunchError, match="cannot be a namespace; allowed: letters, digits and _"):
        evaluate(path, {})


@pytest.mark.parametrize("name", ["arm", "quad", "ground"])
def test_our_launch_files_put_every_node_into_the_namespace(name: str) -> None:
    for arguments in ({"record": "true"}, {"shadow": "true"}):
        specs = evaluate(find_launch_file(name), {"namespace": "left", **arguments})
        assert specs and {spec.namespace for spec in specs} == {"/left"}
        assert {spec.namespace for spec in evaluate(find_launch_file(name), arguments)} == {None}


def test_several_robots_have_a_namespace_each() -> None:
    specs = evaluate(find_launch_file("several_robots"), {"record": "true", "payload_mass_kg": "0.5"})
    nodes = {(spec.namespace, spec.name): spec.parameters for spec in specs}
    assert len(nodes) == len(specs) == 15
    assert {namespace for namespace, _ in nodes} == {"/left", "/right", "/drone"}
    assert len({nodes[robot, "recorder"]["path"] for robot in ("/left", "/right", "/drone")}) == 3
    assert {nodes[robot, "plant"]["task.payload_mass_kg"] for robot in ("/left", "/right", "/drone")} == {0.5}


def test_our_share_folder_holds_launch_files_and_robots() -> None:
    share = find_share("metarl_robot")
    assert (share / "launch" / "arm.launch.yaml").is_file() and (share / "models" / "panda" / "robot.yaml").is_file()


# Checks before anything is started.


@pytest.mark.parametrize(
    ("name", "robot", "remedy"),
    [
        (
            "quad",
            "panda",
            "is for robots of kind 'quadrotor'; 'panda' is of kind 'arm'. Use: metarl launch arm robot:=panda",
        ),
        ("arm", "x500", "'x500' is of kind 'quadrotor'. Use: metarl launch quad robot:=x500"),
        ("arm", "pandda", "unknown robot 'pandda'. Did you mean 'panda'"),
    ],
)
def test_a_robot_of_another_kind_is_refused_before_anything_starts(name: str, robot: str, remedy: str) -> None:
    with pytest.raises(MetaRLError, match=remedy):
        Launch(name, {"robot": robot})


def test_every_node_of_ours_is_told_the_kind_of_robot_it_is_for() -> None:
    for name, kind in (("arm", "arm"), ("quad", "quadrotor")):
        for node in evaluate(find_launch_file(name), {"record": "true"}):
            assert node.parameters["robot_kind"] == kind


def test_without_ros_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"rclpy.*pip install 'metarl_robot\[ros\]'"):
        Launch("arm")


# Processes. A little ROS package of our own, with executables that do as the test wants.

_SCRIPTS = {
    "talker": "print('hello', flush=True)\nimport time\nwhile True: time.sleep(0.05)",
    "quitter": "print('done')",
    "crasher": "raise SystemExit(3)",
    "reach": "import os\nprint(os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE', ''))",
    "slow": (
        "import signal, time\nasked = []\nsignal.signal(signal.SIGINT, lambda *_: asked.append(1))\n"
        "print('there', flush=True)\nwhile not asked: time.sleep(0.05)\ntime.sleep(1.0)"
    ),
    "stubborn": (
        "import signal, time\nfor s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\nwhile True: time.sleep(0.05)"
    ),
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    prefix = tmp_path / "wörk späce" / "install"  # a path as a user may have it
    marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / "little"
    marker.parent.mkdir(parents=True)
    marker.touch()
    folder = prefix / "lib" / "little"
    folder.mkdir(parents=True)
    for name, text in _SCRIPTS.items():
        (folder / f"{name}.py").write_text(text)
        (folder / name).write_text(
            f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(folder / name))}.py\n"
        )
        (folder / name).chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(prefix))
    return "little"


class Output:
    """Collects lines, and can wait for one."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self._condition = threading.Condition()

    def __call__(self, process: str, line: str) -> None:
        with self._condition:
            self.lines.append((process, line))
            self._condition.notify_all()

    def wait_for(self, process: str, text: str) -> bool:
        with self._condition:
            return self._condition.wait_for(
                lambda: any(p == process and text in line for p, line in self.lines), WAIT_S
            )

    def said(self, text: str) -> bool:
        return any(text in line for _, line in self.lines)


def little(*executables: str) -> str:
    return "".join(f"- node: {{pkg: little, exec: {name}, name: {name}}}\n" for name in executables)


def test_output_is_prefixed_and_a_clean_stop_is_a_success(write: Writer, package: str) -> None:
    output = Output()
    with Launch(write(little("talker", "talker")), on_output=output) as launch:
        assert output.wait_for("talker-1", "hello") and output.wait_for("talker-2", "hello")
        assert launch.stop() == 0
    assert output.said("[INFO] [talker-1]: sending signal 'SIGINT'")


def test_who_dies_is_reported_and_the_others_go_on(write: Writer, package: str) -> None:
    output = Output()
    with Launch(write(little("talker", "talker", "crasher")), on_output=output) as launch:
        victim, other, crasher = launch.processes
        assert output.wait_for("talker-1", "hello")
        victim.popen.send_signal(signal.SIGKILL)
        victim.popen.wait(WAIT_S)
        crasher.popen.wait(WAIT_S)
        assert launch.poll() and other.returncode is None
        assert launch.stop() == 1
    assert output.said(f"process has died [pid {victim.popen.pid}, exit code -9, cmd")
    assert output.said(f"process has died [pid {crasher.popen.pid}, exit code 3, cmd")


def test_who_does_not_listen_is_killed(write: Writer, package: str) -> None:
    output = Output()
    with Launch(write(little("stubborn")), on_output=output) as launch:
        assert output.wait_for("stubborn-1", "deaf")
        launch.stop(grace_s=0.3)
        assert launch.processes[0].returncode == -signal.SIGKILL
    assert output.said("sending signal 'SIGTERM'") and output.said("sending signal 'SIGKILL'")


def test_run_launch_ends_with_its_processes(write: Writer, package: str) -> None:
    output = Output()
    assert run_launch(write(little("quitter", "quitter")), on_output=output) == 0
    assert output.said("process has finished cleanly")
    assert run_launch(write(little("quitter", "crasher")), on_output=output) == 1


def test_nodes_end_when_nobody_reads_the_output_any_more(write: Writer, package: str) -> None:
    """`metarl launch arm | head`."""

    def closed_pipe(process: str, line: str) -> None:
        raise BrokenPipeError

    assert run_launch(write(little("talker")), on_output=closed_pipe) == 0


def test_an_executable_that_is_not_there_is_an_error_before_anything_starts(write: Writer, package: str) -> None:
    launch = Launch(write(little("talker", "walker")), on_output=Output())
    with pytest.raises(LaunchError, match="executable 'walker' not found"):
        launch.start()
    assert launch.processes == []
    with pytest.raises(LaunchError, match="executable 'mcp' not found in package 'metarl_robot'"):
        Launch(write("- node: {pkg: metarl_robot, exec: mcp}\n"), on_output=Output()).start()
    with pytest.raises(LaunchError, match="package 'tiny' not found"):
        Launch(write("- node: {pkg: tiny, exec: a}\n"), on_output=Output()).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_command_ends_the_nodes(write: Writer, package: str, number: signal.Signals) -> None:
    path = write(little("talker"))
    command = [sys.executable, "-m", "metarl_robot", "launch", str(path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "[talker-1] hello" in line:
            process.send_signal(number)
            break
    lines += process.stdout.readlines()
    assert process.wait(WAIT_S) == 0
    assert any("[INFO] [talker-1]: process has finished cleanly" in line for line in lines)


def test_a_signal_while_a_node_is_being_started_ends_that_node_too(
    write: Writer, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that was started but not yet known to the launcher was left running."""
    launch = Launch(write(little("talker")), on_output=Output())
    spawn, started = launch._spawn, []

    def interrupted(*arguments: Any) -> Any:
        started.append(spawn(*arguments))
        launch.interrupt()
        return started[-1]

    monkeypatch.setattr(launch, "_spawn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch.start()
    launch.stop()
    assert started[0].popen.poll() is not None


def test_a_launch_under_nohup_outlives_its_terminal(write: Writer, package: str) -> None:
    command = ["nohup", sys.executable, "-m", "metarl_robot", "launch", str(write(little("talker")))]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "[talker-1] hello" in line:
            break
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.7)
    process.send_signal(signal.SIGTERM)
    said = process.stdout.read()
    assert process.wait(WAIT_S) == 0 and "sending signal 'SIGINT'" in said


# Where nodes meet others.


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing of how far ROS nodes look for others."""
    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "ROS_DOMAIN_ID"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_nodes_look_for_others_on_this_machine_only_and_the_launch_says_so(
    write: Writer, package: str, untold: pytest.MonkeyPatch
) -> None:
    output = Output()
    run_launch(write(little("reach")), on_output=output)
    assert ("reach-1", "LOCALHOST") in output.lines
    assert output.said(
        "ROS domain 0, this machine only (to reach other machines: ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET)"
    )


@pytest.mark.parametrize(
    ("name", "given"),
    [("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET"), ("ROS_LOCALHOST_ONLY", "0"), ("ROS_STATIC_PEERS", "10.0.0.2")],
)
def test_how_far_nodes_look_is_left_to_a_user_who_decides_it(
    write: Writer, package: str, untold: pytest.MonkeyPatch, name: str, given: str
) -> None:
    untold.setenv(name, given)
    output = Output()
    run_launch(write(little("reach")), on_output=output)
    assert ("reach-1", given if "RANGE" in name else "") in output.lines and output.said(f"{name}={given}")


def test_a_second_launch_of_the_same_nodes_in_one_domain_is_refused_before_anything_starts(
    untold: pytest.MonkeyPatch,
) -> None:
    untold.setenv("ROS_DOMAIN_ID", "99")
    output = Output()
    with claim_name(99, "/gate"):
        with pytest.raises(
            NameTakenError, match=rf"a node /gate runs already in ROS domain 99 .*process {os.getpid()}.*ROS_DOMAIN_ID"
        ):
            Launch("arm", {"robot": "planar2"}, output).start()
        with pytest.raises(NameTakenError):
            claim_name(99, "/gate")
        assert output.lines == []
        check_name(99, "/left/gate")
        check_name(98, "/gate")
    check_name(99, "/gate")


def test_a_name_is_free_again_when_its_process_is_gone(untold: pytest.MonkeyPatch) -> None:
    program = (
        "import time\nfrom metarl_robot.ros_nodes.unique_name import claim_name\nclaim = claim_name(97, "
        "'/plant')\nprint(flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", program + "\ntime.sleep(1000)"], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"\n"
    with pytest.raises(NameTakenError, match=f"process {process.pid}"):
        check_name(97, "/plant")
    process.kill()
    process.wait()
    check_name(97, "/plant")


@pytest.mark.parametrize("domain", ["x", "-1", "1e3", "٣", "9" * 5000])
def test_a_domain_that_is_none_is_refused(untold: pytest.MonkeyPatch, domain: str) -> None:
    with pytest.raises(LaunchError, match="ROS_DOMAIN_ID is '.*'; it must be a number from 0 to 101"):
        Launch("arm", {"robot": "planar2"}, Output(), {"ROS_DOMAIN_ID": domain}).start()


def test_a_gate_is_given_time_to_bring_the_robot_to_rest_and_others_are_not(write: Writer, package: str) -> None:
    output = Output()
    with Launch(write(little("slow", "stubborn")), on_output=output) as launch:
        assert output.wait_for("slow-1", "there") and output.wait_for("stubborn-2", "deaf")
        launch.processes[0].patient = True
        launch.stop(grace_s=0.2)
    slow, stubborn = launch.processes
    assert (slow.returncode, stubborn.returncode) == (0, -signal.SIGKILL)
    assert not output.said("[ERROR] [slow-1]")


def test_our_gate_and_our_plant_are_those_with_patience() -> None:
    assert [spec.executable for spec in evaluate(find_launch_file("quad"), {}) if is_patient(spec)] == ["gate", "plant"]
