# SPDX-License-Identifier: Apache-2.0
"""Messages that are built from definitions: equal to those of ROS 2 where both exist, and at work between processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rosidl_adapter", reason="the generators of ROS 2 messages are not installed")

from rclpy.action import ActionClient
from typer.testing import CliRunner

from metarl_robot.cli.app import app
from metarl_robot.ros_nodes.messages import compile as compiling
from metarl_robot.ros_nodes.messages.build import build, messages_folder
from metarl_robot.ros_nodes.messages.generate import generate
from metarl_robot.ros_nodes.messages.package import (
    MessagePackage,
    MessagesError,
    package_at,
    shipped,
    shipped_names,
)
from metarl_robot.ros_nodes.messages.prefixes import installed_prefixes, prefix_of
from metarl_robot.ros_nodes.messages.provide import add_to_path, provide

ON_PYPI = ("trajectory_msgs", "std_srvs", "action_msgs")
"""Messages with nested types, arrays and constants, and services. (No wheel has an action.)"""

PUBLISHED = {
    "tf2_msgs/msg/TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "ackermann_msgs/msg/AckermannDriveStamped": "48ca7612a08d3bb72744fd98b71b7cf2ea24c6ad50fa4e1aa0bbad963c90d8cf",
    "control_msgs/msg/JointComponentTolerance": "739ea7566931944d33830fa10f1bf5e7a7fbdc3172bce7a7eaac642bd6e3ffa4",
    "control_msgs/msg/DynamicJointState": "18024c98a62697680f581108eeed40b28fb4542fa0ac5a8e36f56c62b6813d26",
    "control_msgs/msg/JointTrajectoryControllerState": (
        "51d8dd89cc624cbe9daaeeb4d80d6de9b86168ffdc3be41fefc0953e3c26e480"
    ),
}
"""Type hashes of ROS 2 Jazzy's own packages: in code that its build generated and others published, and of the last
one in the output of `ros2 topic info --verbose` on a robot.
"""


def type_hashes(folder: Path) -> dict[str, str]:
    """RIHS01 of every type below share/<package>/."""
    entries = [entry for path in folder.rglob("*.json") for entry in json.loads(path.read_text())["type_hashes"]]
    return {entry["type_name"]: entry["hash_string"].removeprefix("RIHS01_") for entry in entries}


def copy_of(package: str, folder: Path) -> MessagePackage:
    """A copy of an installed package's definitions."""
    prefix = prefix_of(package, installed_prefixes())
    assert prefix is not None
    for kind in ("msg", "srv", "action"):
        for file in (prefix / "share" / package / kind).glob(f"*.{kind}"):
            (folder / package / kind).mkdir(parents=True, exist_ok=True)
            (folder / package / kind / file.name).write_bytes(file.read_bytes())
    return package_at(folder / package)


@pytest.mark.parametrize("name", ON_PYPI)
def test_a_generated_copy_has_the_type_hashes_of_the_wheel(name: str, tmp_path: Path) -> None:
    package = copy_of(name, tmp_path / "copy")
    generate(package, tmp_path / "tree", installed_prefixes())
    prefix = prefix_of(name, installed_prefixes())
    assert prefix is not None
    made, theirs = type_hashes(tmp_path / "tree" / "share" / name), type_hashes(prefix / "share" / name)
    assert made == {key: value for key, value in theirs.items() if key in made}
    assert {f"{name}/{file.with_suffix('').as_posix()}" for file in package.files} <= set(made)


def test_our_definitions_have_the_type_hashes_that_others_published() -> None:
    found: dict[str, str] = {}
    for name in {key.split("/")[0] for key in PUBLISHED}:
        found |= type_hashes(build(shipped(name)).tree / "share" / name)
    assert {key: found[key] for key in PUBLISHED} == PUBLISHED


def test_another_order_of_fields_has_another_type_hash(tmp_path: Path) -> None:
    lines = (shipped("control_msgs").folder / "msg" / "InterfaceValue.msg").read_text().splitlines()
    (tmp_path / "control_msgs" / "msg").mkdir(parents=True)
    (tmp_path / "control_msgs" / "msg" / "InterfaceValue.msg").write_text("\n".join(reversed(lines)))
    generate(package_at(tmp_path / "control_msgs"), tmp_path / "tree", installed_prefixes())
    ours = type_hashes(build(shipped("control_msgs")).tree / "share" / "control_msgs")
    other = type_hashes(tmp_path / "tree" / "share" / "control_msgs")
    assert other["control_msgs/msg/InterfaceValue"] != ours["control_msgs/msg/InterfaceValue"]


SERVER = """
import rclpy
from rclpy.action import ActionServer
from metarl_robot.ros_nodes.messages.provide import provide
for name in ("control_msgs", "controller_manager_msgs"):
    provide(name)
from control_msgs.action import FollowJointTrajectory
from control_msgs.msg import DynamicJointState
from controller_manager_msgs.srv import SwitchController

def execute(goal):
    names = list(goal.request.trajectory.joint_names)
    goal.publish_feedback(FollowJointTrajectory.Feedback(joint_names=names))
    goal.succeed()
    tolerance = goal.request.goal_tolerance[0]
    return FollowJointTrajectory.Result(error_code=-5, error_string=f"{tolerance.name} {tolerance.position}")

def switch(request, answer):
    answer.ok = request.strictness == SwitchController.Request.STRICT
    answer.message = ",".join(request.activate_controllers)
    return answer

rclpy.init()
node = rclpy.create_node("server")
server = ActionServer(node, FollowJointTrajectory, "follow", execute)
service = node.create_service(SwitchController, "switch", switch)
publisher = node.create_publisher(DynamicJointState, "states", 1)
node.create_subscription(DynamicJointState, "echo", publisher.publish, 1)
rclpy.spin(node)
"""


def test_action_service_and_topic_work_between_two_processes(probe_alone: Callable[[], tuple[int, Any]]) -> None:
    for name in ("control_msgs", "controller_manager_msgs"):
        provide(name)
    from control_msgs.action import FollowJointTrajectory
    from control_msgs.msg import DynamicJointState, InterfaceValue, JointTolerance
    from controller_manager_msgs.srv import SwitchController

    domain, probe = probe_alone()
    server = subprocess.Popen([sys.executable, "-c", SERVER], env={**os.environ, "ROS_DOMAIN_ID": str(domain)})
    try:
        request = SwitchController.Request(activate_controllers=["a"], strictness=SwitchController.Request.STRICT)
        answer = probe.call(SwitchController, "switch", request)
        assert (answer.ok, answer.message) == (True, "a")

        heard: list[DynamicJointState] = []
        probe.listen(DynamicJointState, "states", heard.append)
        sender = probe.node.create_publisher(DynamicJointState, "echo", 1)
        values = InterfaceValue(interface_names=["position"], values=[0.5])
        sent = DynamicJointState(joint_names=["j1"], interface_values=[values])

        def echoed() -> bool:
            sender.publish(sent)
            return bool(heard)

        probe.wait(echoed, "an echo")
        assert heard[0] == sent

        client = ActionClient(probe.node, FollowJointTrajectory, "follow")
        assert client.wait_for_server(60.0)
        goal = FollowJointTrajectory.Goal(goal_tolerance=[JointTolerance(name="j1", position=0.25)])
        goal.trajectory.joint_names = ["j1", "j2"]
        feedback: list[list[str]] = []

        def answer(request: Callable[[], Any]) -> Any:
            """From the probe's own thread: in another one, rclpy's client can miss an answer."""
            sent = probe._executor.create_task(request)
            probe.wait(lambda: sent.done() and sent.result().done(), "an answer of the action")
            return sent.result().result()

        def told(message: Any) -> None:
            feedback.append(list(message.feedback.joint_names))

        accepted = answer(lambda: client.send_goal_async(goal, told))
        result = answer(accepted.get_result_async).result
        assert (result.error_code, result.error_string) == (-5, "j1 0.25")
        probe.wait(lambda: feedback == [["j1", "j2"]], "feedback")
        client.destroy()
    finally:
        server.terminate()
        server.wait()


def own_package(folder: Path, text: str = "control_msgs/InterfaceValue[] values\nuint8 KIND=3\n") -> Path:
    (folder / "msg").mkdir(parents=True)
    (folder / "msg" / "Report.msg").write_text(text)
    return folder


def test_a_users_package_uses_ours_and_is_found_by_the_printed_path(tmp_path: Path) -> None:
    folder = own_package(tmp_path / "my_robot_msgs")
    shown = CliRunner().invoke(app, ["messages", "build", str(folder)])
    assert shown.exit_code == 0, shown.output
    path = next(line for line in shown.output.splitlines() if line.startswith("export")).split("=", 1)[1]
    program = (
        "from my_robot_msgs.msg import Report\nfrom control_msgs.msg import InterfaceValue\n"
        "import rclpy\nfrom rclpy.serialization import serialize_message, deserialize_message\n"
        "report = Report(values=[InterfaceValue(interface_names=['a'], values=[1.5])])\n"
        "assert deserialize_message(serialize_message(report), Report) == report\nprint(Report.KIND)"
    )
    variables = {**os.environ, "PYTHONPATH": path.replace("$PYTHONPATH", os.environ.get("PYTHONPATH", ""))}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


def test_a_package_is_built_once_by_processes_that_start_together(tmp_path: Path) -> None:
    own_package(tmp_path / "twice_msgs", "float64 value\n")
    program = (
        "import sys\nfrom pathlib import Path\nfrom metarl_robot.ros_nodes.messages.build import build\n"
        "from metarl_robot.ros_nodes.messages.package import package_at\n"
        "print(build(package_at(Path(sys.argv[1])), lambda text: print('building')).tree)"
    )
    variables = {**os.environ, "METARL_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", program, str(tmp_path / "twice_msgs")]
    both = [subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = "".join(process.communicate()[0] for process in both).splitlines()
    assert [process.returncode for process in both] == [0, 0]
    assert said.count("building") == 1
    assert len(set(said)) == 2  # that line, and one folder
    assert [path.name for path in (tmp_path / "cache" / "messages").iterdir() if path.is_dir()] == [Path(said[-1]).name]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("float65 value\n", "float65"),
        ("nowhere_msgs/Thing thing\n", "needs nowhere_msgs, which is not installed"),
        ("control_msgs/NoSuchType thing\n", "NoSuchType"),
    ],
)
def test_wrong_definitions_are_explained(text: str, reason: str, tmp_path: Path) -> None:
    package = package_at(own_package(tmp_path / "wrong_msgs", text))
    with pytest.raises(MessagesError, match=reason):
        build(package)
    assert not list(messages_folder().glob("*wrong_msgs-*"))


def test_packages_in_a_circle_are_refused(tmp_path: Path) -> None:
    own_package(tmp_path / "one_msgs", "two_msgs/Report report\n")
    own_package(tmp_path / "two_msgs", "one_msgs/Report report\n")
    with pytest.raises(MessagesError, match="one_msgs → two_msgs → one_msgs"):
        build(package_at(tmp_path / "one_msgs"))


def test_a_folder_without_definitions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MessagesError, match="has no definitions"):
        package_at(tmp_path)


def test_without_a_compiler_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MessagesError, match=r"no gcc and no g\+\+ found: apt install build-essential"):
        compiling.check_compilers()


def test_all_our_packages_are_listed() -> None:
    shown = CliRunner().invoke(app, ["messages", "list", "--json"])
    listed = json.loads(shown.output)
    assert tuple(row["package"] for row in listed) == shipped_names()
    assert "action/FollowJointTrajectory" in next(row["types"] for row in listed if row["package"] == "control_msgs")


def test_an_installed_package_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.subprocess, "run", None)
    provide("std_msgs")  # of which we have no definitions: it is installed


def test_a_built_package_is_put_on_the_path_once() -> None:
    built = build(shipped("tf2_msgs"))
    add_to_path(built)
    add_to_path(built)
    assert sys.path.count(str(built.tree / "python")) == 1
