# SPDX-License-Identifier: Apache-2.0
"""Declarations of the package (versions, dependencies, lock file) agree with its imports and with each other."""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import Parser
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import metarl_robot
from metarl_robot.ros_nodes.messages.package import shipped_names

PYTHONS = ("3.11", "3.12", "3.13")
ROOMS_OF_EXTRAS = {"ros": "ros_nodes", "train": "learning", "logs": "logs", "ray": "parallel", "view": "view"}
OPTIONAL = {"px4_msgs", "pymavlink", "cflib", "crazyflie_interfaces", "franka_msgs", "ur_msgs"}
"""Of bridges to autopilots and drivers alone: of the robot's own release, and of the extra 'mavlink'."""
FAMILIES = {"gymnasium", "highway-env", "metaworld"}
"""Of the extras train and highway, and of the environment of `make metaworld`: training alone uses sim/families/."""
PEERS = {"do_mpc": "do-mpc", "acados": "comma-deps-acados", "torchopt": "torchopt", "higher": "higher"}
"""Peers of the benchmarks, seldom installed: import names and packages."""
DEFINED = {canonicalize_name(name) for name in shipped_names()}
"""Packages of messages that are on no index: built from our definitions, or part of an installed ROS 2."""
BUILT = "l4casadi"  # a peer that no extra can hold: .ci/peers builds it


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def requirements(metadata: Message) -> list[Requirement]:
    return [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]


def wanted(requirement: Requirement, extra: str, python: str = PYTHONS[0]) -> bool:
    environment = default_environment() | {
        "extra": extra,
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


def names(requirements: list[Requirement], extra: str = "") -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements if wanted(requirement, extra)}


def imported(root: Path) -> Iterator[tuple[str, str]]:
    """(room, top-level package) of every import of something that is neither Python's nor ours."""
    for path in (root / "metarl_robot").glob("*.py"):
        yield from (("", top) for top in third_party(path))
    for room in sorted(path for path in (root / "metarl_robot").iterdir() if path.is_dir() and path.name != "models"):
        for path in room.rglob("*.py"):
            yield from ((room.name, top) for top in third_party(path))


def third_party(path: Path) -> set[str]:
    tops = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            tops |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            tops.add(node.module.split(".")[0])
    return tops - sys.stdlib_module_names - {"metarl_robot"}


@cache
def installed() -> Mapping[str, list[str]]:
    return packages_distributions()


def distributions(top: str) -> set[str]:
    """Names on PyPI of the package that is imported as `top`; ROS 2 from elsewhere is known by the name of its wheel,
    too.
    """
    return {canonicalize_name(name) for name in [*installed().get(top, [PEERS.get(top, top)]), f"ros-{top}"]}


def test_one_version_everywhere(root: Path, metadata: Message) -> None:
    package = ElementTree.parse(root / "package.xml").getroot()
    assert metadata["Version"] == package.findtext("version") == metarl_robot.__version__
    assert metadata["Name"].replace("-", "_") == package.findtext("name") == "metarl_robot"


def test_what_is_imported_is_declared_where_it_is_needed(root: Path, requirements: list[Requirement]) -> None:
    base = names(requirements)
    allowed = {room: base | names(requirements, extra) for extra, room in ROOMS_OF_EXTRAS.items()}
    allowed["ros_nodes"] |= names(requirements, "messages") | DEFINED
    allowed["ros_nodes"] |= names(requirements, "mavlink") | names(requirements, "crazyflie")
    allowed["learning"] |= names(requirements, "rllib")
    allowed["benchmarks"] = allowed["learning"] | names(requirements, "bench") | {BUILT}
    allowed["sim"] = base | FAMILIES
    allowed["cli"] = allowed.get("cli", base) | names(requirements, "video")
    undeclared = {(room, top) for room, top in imported(root) if not distributions(top) & allowed.get(room, base)}
    assert undeclared == set()


def test_what_is_declared_is_imported(root: Path, requirements: list[Requirement]) -> None:
    used = {name for _, top in imported(root) for name in distributions(top)}
    extras = ("ros", "messages", "mavlink", "crazyflie", "train", "rllib", "logs", "view", "bench")
    declared = names(requirements).union(*(names(requirements, extra) for extra in extras))
    assert declared - used == set()


def test_every_ros_package_imported_is_in_package_xml(root: Path) -> None:
    declared = {element.text for element in ElementTree.parse(root / "package.xml").getroot().iter("exec_depend")}
    base = {top for room, top in imported(root) if room != "ros_nodes"}
    ros = {top for room, top in imported(root) if room == "ros_nodes" and top not in base}
    assert ros - declared - OPTIONAL == set()


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_file_pins_everything_that_is_declared(
    root: Path, requirements: list[Requirement], python: str
) -> None:
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    locked = {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins if wanted(pin, "", python)
    }
    more = "ros messages mavlink crazyflie train games highway logs ray view dev docs"
    extras = ["", *more.split()]
    needed = {
        (canonicalize_name(r.name), r.specifier) for r in requirements for extra in extras if wanted(r, extra, python)
    }
    assert {name for name, specifier in needed if not specifier.contains(locked.get(name, "0"))} == set()


def test_supported_pythons_are_the_ones_locked(metadata: Message) -> None:
    supported = SpecifierSet(metadata["Requires-Python"])
    assert [f"3.{minor}" for minor in range(8, 20) if supported.contains(f"3.{minor}")] == list(PYTHONS)


def test_every_package_folder_is_listed(root: Path, wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if re.fullmatch(r"metarl_robot/.*__init__\.py", name)}
    folders = {
        f"metarl_robot/{path.relative_to(root)}"
        for room in ("sim", "ros_nodes", "benchmarks")
        for path in (root / room).rglob("__init__.py")
    }
    folders |= {str(path.relative_to(root)) for path in (root / "metarl_robot").rglob("__init__.py")}
    assert folders == inside
