# SPDX-License-Identifier: Apache-2.0
"""The rooms of the house, checked by reading every import: see docs/ARCHITECTURE.md.

A room imports only from its own floor and those below, also inside functions; rclpy, torch and stepping physics each
live in one room. Everything of one kind of robot stands in robots/<kind>/, sim/<kind>/ and ros_nodes/<kind>/: no
common room imports it, nor does another kind.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import metarl_robot
from metarl_robot.core.robot import kind_of

PACKAGE = Path(__file__).resolve().parent.parent / "metarl_robot"

FLOORS = {
    **{"": 11, "__main__": 11, "cli": 11, "benchmarks": 10, "ros_nodes": 9, "view": 8, "sim": 8},
    **{"logs": 7, "learning": 6, "robots": 5},
    **{
        "control": 4,
        "adaptation": 3,
        "dynamics": 2,
        "trajectories": 2,
        "compile": 1,
        "safety": 1,
        "parallel": 1,
        "core": 0,
    },
}
KINDS = {"arm", "quadrotor", "ground"}
BRIDGES = "metarl_robot.ros_nodes.bridges."
"""Bridges connect one kind each to its drivers or autopilots."""
RLLIB = "metarl_robot.learning.policies.rllib_"
"""Modules that RLlib's PPO is made of."""
MEASURES_KINDS = {"benchmarks"}
"""Rooms that may name kinds: a benchmark measures particular robots."""
ROS_PACKAGES = {
    "rclpy",
    "ament_index_python",
    "rosidl_runtime_py",
    "rosidl_parser",
    "rosidl_adapter",
    "rosidl_generator_c",
    "rosidl_generator_py",
    "builtin_interfaces",
    "rcl_interfaces",
}
LINKED_FOLDERS = {"sim", "ros_nodes", "benchmarks", "models"}
HOMES = {"rclpy": {"ros_nodes"}, "torch": {"learning", "benchmarks"}, "stepping": {"sim", "benchmarks"}}
"""Benchmarks import their peers: torch as peers use it, the raw engine."""


def modules() -> Iterator[tuple[str, Path]]:
    """(dotted name, file) of every module, seen through the links."""
    folders = [PACKAGE]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.is_dir() and path.name not in ("models", "__pycache__"):
                folders.append(path)
            elif path.suffix == ".py":
                parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
                yield ".".join(part for part in parts if part != "__init__"), path


MODULES = dict(modules())


def room(module: str) -> str:
    """`metarl_robot.sim.arm.plant` -> 'sim'.

    The package itself and its public names are '': they stand above all rooms, since they name their contents.
    """
    name = (module.split(".") + [""])[1]
    return "" if name in metarl_robot.__all__ else name


def kind(module: str) -> str:
    """`metarl_robot.robots.arm.mpc` -> 'arm'; '' for a module that all kinds share."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[1] in ("robots", "sim", "ros_nodes") and parts[2] in KINDS else ""


def may_name_kinds(module: str) -> bool:
    return room(module) in MEASURES_KINDS or module.startswith(BRIDGES)


def floor(module: str) -> int:
    return FLOORS.get(room(module), 0)


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of everything imported, at the top of the module or anywhere inside."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def steps_physics(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(name, line) of each call that steps a MuJoCo simulation: mj_step*, mujoco.rollout, mujoco.batch."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            steps = node.attr.startswith("mj_step") or (
                node.attr in ("rollout", "batch") and ast.unparse(node.value) == "mujoco"
            )
            if steps:
                yield node.attr, node.lineno
    for name, line in imports(tree):
        parts = name.split(".")
        if parts[0] == "mujoco" and any(
            part in ("rollout", "batch") or part.startswith("mj_step") for part in parts[1:]
        ):
            yield name, line


def violations(module: str, source: str) -> list[str]:
    """Imports and calls of `source` that its room may not have."""
    tree = ast.parse(source)
    found = []
    for name, line in imports(tree):
        top = name.split(".")[0]
        if top == "metarl_robot" and floor(name) > floor(module):
            found.append(f"line {line}: imports {name}, from floor {floor(name)} up the stairs")
        if kind(name) not in ("", kind(module)) and not may_name_kinds(module):
            found.append(f"line {line}: imports {name}, which is one kind's own")
        if top in LINKED_FOLDERS:
            found.append(f"line {line}: imports {name}: say metarl_robot.{name}")
        if (top in ROS_PACKAGES or top.endswith("_msgs") or top == "std_srvs") and room(module) not in HOMES["rclpy"]:
            found.append(f"line {line}: imports {name}: ROS 2 lives in ros_nodes only")
        if top == "ray" and room(module) != "parallel" and not module.startswith(RLLIB):
            found.append(f"line {line}: imports {name}: Ray lives in parallel and in {RLLIB}* only")
        if top == "torch" and room(module) not in HOMES["torch"]:
            found.append(f"line {line}: imports {name}: torch lives in learning only")
    if room(module) not in HOMES["stepping"]:
        found += [f"line {line}: {name}: physics is stepped in sim only" for name, line in steps_physics(tree)]
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_module_keeps_to_its_room(module: str) -> None:
    assert violations(module, MODULES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith(BRIDGES)])
def test_a_bridge_serves_one_kind(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    assert len({kind(name) for name, _ in imports(tree)} - {""}) <= 1


def test_every_room_is_looked_at() -> None:
    assert {room(module) for module in MODULES} >= set(FLOORS)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("metarl_robot.control.mpc", "from metarl_robot.sim.arm.plant import ArmPlant"),
        ("metarl_robot.control.mpc", "def late():\n    import metarl_robot.ros_nodes.mpc"),
        ("metarl_robot.core.robot", "from metarl_robot import control"),
        ("metarl_robot.adaptation.head", "from metarl_robot.control import base"),
        ("metarl_robot.control.mpc", "from metarl_robot import make_controller"),
        ("metarl_robot.sim.arm.plant", "import metarl_robot as mr"),
        ("metarl_robot.cli.demo", "import rclpy.node"),
        ("metarl_robot.sim.arm.plant", "from sensor_msgs.msg import JointState"),
        ("metarl_robot.control.mpc", "from torch import nn"),
        ("metarl_robot.cli.train", "def late():\n    import torch"),
        ("metarl_robot.sim.evaluate", "def late():\n    import ray"),
        ("metarl_robot.cli.demo", "from sim import plant"),
        ("metarl_robot.robots.arm.dynamics", "import mujoco\nmujoco.mj_step(model, data)"),
        ("metarl_robot.ros_nodes.plant", "from mujoco import mj_step2"),
        ("metarl_robot.learning.models.train", "from mujoco import batch"),
        ("metarl_robot.learning.models.train", "import mujoco\nmujoco.rollout.rollout(models, data)"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    assert violations(module, source) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "metarl_robot.sim.arm.plant",
            "import mujoco\nfrom metarl_robot.control import base\nmujoco.mj_step(model, data)",
        ),
        (
            "metarl_robot.ros_nodes.mpc",
            "import rclpy\nfrom std_msgs.msg import Float64MultiArray\nfrom metarl_robot.sim import kinds",
        ),
        ("metarl_robot.learning.models.train", "import torch\nfrom metarl_robot.adaptation import features"),
        ("metarl_robot.core.robot", "import mujoco\nmujoco.MjModel.from_xml_path(path)"),
    ],
)
def test_a_right_import_is_not(module: str, source: str) -> None:
    assert violations(module, source) == []


def loaded_by(*names: str) -> set[str]:
    """Top-level packages in memory after a fresh interpreter has imported these modules."""
    program = (
        "import sys, importlib\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_online_path_loads_neither_torch_nor_ros() -> None:
    online = [module for module in MODULES if room(module) in ("control", "adaptation", "dynamics")]
    assert loaded_by(*online).isdisjoint({"torch", "rclpy", "matplotlib"})


def test_the_command_line_loads_heavy_libraries_only_when_a_command_needs_them() -> None:
    assert loaded_by("metarl_robot.cli.app").isdisjoint({"torch", "rclpy", "matplotlib", "casadi", "mujoco", "scipy"})


def test_the_gate_loads_neither_torch_nor_casadi() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    of_kinds = (
        place.split(":")[0] for kind in KINDS for place in (kind_of(kind).interface, kind_of(kind).fallback_law)
    )
    assert loaded_by("metarl_robot.ros_nodes.gate", *of_kinds).isdisjoint({"torch", "casadi", "mujoco"})
