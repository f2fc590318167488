"""`pip install -e .`: the command and the modules work from anywhere, and come from the sources."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def installed(sources: Path, new_environment: Callable[[], Any]) -> Any:
    environment = new_environment()
    environment.install("--editable", sources)
    return environment


def test_metarl_finds_the_robots_of_the_sources(sources: Path, installed: Any) -> None:
    robots = json.loads(installed.run("metarl", "robots", "--json"))
    assert {"panda", "planar2"} <= {robot["name"] for robot in robots}
    assert all(Path(robot["folder"]).is_relative_to(sources) for robot in robots)


@pytest.mark.parametrize("module", ["metarl_robot.sim", "metarl_robot.ros_nodes", "metarl_robot.control.base"])
def test_modules_come_from_the_sources_also_through_the_links(sources: Path, installed: Any, module: str) -> None:
    program = f"import importlib; print(importlib.import_module({module!r}).__file__)"
    assert Path(installed.run("python", "-c", program).strip()).is_relative_to(sources)


def test_an_edit_takes_effect_at_once(sources: Path, installed: Any) -> None:
    module = sources / "metarl_robot" / "written_by_a_test.py"
    module.write_text("ANSWER = 42\n", encoding="utf-8")
    try:
        assert installed.run("python", "-c", "from metarl_robot.written_by_a_test import ANSWER; print(ANSWER)").strip() == "42"
    finally:
        module.unlink()


def test_the_top_folder_itself_is_not_importable(installed: Any) -> None:
    program = "from importlib.util import find_spec; print([name for name in ('sim', 'ros_nodes', 'models') if find_spec(name)])"
    assert installed.run("python", "-c", program).strip() == "[]"
