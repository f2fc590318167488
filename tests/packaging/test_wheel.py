# SPDX-License-Identifier: Apache-2.0
"""Contents of the wheel."""

from __future__ import annotations

import zipfile
from configparser import ConfigParser
from pathlib import Path

from metarl_robot.core.kinds import BUILT_IN


def files_below(folder: Path, *patterns: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for pattern in patterns for path in folder.rglob(pattern)}


def modules(root: Path) -> set[str]:
    """Of Python and of C."""
    rooms = {
        f"{room}/{name}"
        for room in ("sim", "ros_nodes", "benchmarks")
        for name in files_below(root / room, "*.py", "*.[ch]")
    }
    return rooms | {
        name
        for name in files_below(root / "metarl_robot", "*.py", "*.[ch]")
        if name.split("/")[0] not in ("sim", "ros_nodes", "benchmarks")
    }


def test_every_module_and_template_is_in_the_wheel(root: Path, wheel: Path) -> None:
    expected = modules(root) | files_below(root / "metarl_robot", "*.j2", "py.typed")
    inside = {
        name.removeprefix("metarl_robot/")
        for name in zipfile.ZipFile(wheel).namelist()
        if name.startswith("metarl_robot/")
    }
    assert expected <= inside


def test_a_source_distribution_builds_the_same_wheel(wheel: Path, wheel_from_sdist: Path) -> None:
    assert zipfile.ZipFile(wheel_from_sdist).namelist() == zipfile.ZipFile(wheel).namelist()


def test_only_metarl_is_put_on_path(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    entry_points = ConfigParser(delimiters="=")
    entry_points.read_string(
        archive.read(next(n for n in archive.namelist() if n.endswith("entry_points.txt"))).decode()
    )
    assert dict(entry_points["console_scripts"]) == {"metarl": "metarl_robot.cli.entry:main"}
    assert dict(entry_points["metarl_robot.kinds"]) == dict(BUILT_IN)
    assert set(entry_points.sections()) == {"console_scripts", "metarl_robot.kinds", "metarl_robot.task_families"}
    assert not any(".data/scripts/" in name for name in archive.namelist())
