# SPDX-License-Identifier: Apache-2.0
"""The documentation: it builds without a warning, shows the whole public API, and its commands are real ones."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

import metarl_robot as mr
from metarl_robot.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="the extra 'docs' is not installed")
    for name in ("docs", "examples", "metarl_robot"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("models", "__pycache__"))
    shutil.copytree(ROOT / "tests" / "point_mass", tmp_path / "tests" / "point_mass")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    reference = (tmp_path / "build" / "docs" / "reference" / "api" / "index.html").read_text(encoding="utf-8")
    assert [name for name in mr.__all__ if f'id="metarl_robot.{name}"' not in reference] == []


def test_the_reference_names_the_public_api_and_nothing_else() -> None:
    text = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: metarl_robot\.(\w+)$", text, flags=re.MULTILINE)) == sorted(mr.__all__)


def test_every_page_is_in_the_navigation() -> None:
    def pages(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [page for part in (entry.values() if isinstance(entry, dict) else entry) for page in pages(part)]

    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = yaml.safe_load(config.split("\nnav:\n")[1].split("\n\n")[0])
    assert sorted(pages(nav)) == [str(page.relative_to(ROOT / "docs")) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_excerpts_are_of_files_that_exist(page: Path) -> None:
    for file in re.findall(r'^--8<-- "(.+)"$', page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        assert (ROOT / file).is_file(), f"{page.name}: {file}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    """Commands that a page shows in ```text blocks; their results are tested elsewhere."""
    commands = get_command(app).commands
    for block in re.findall(r"^```text\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE):
        for name, rest in re.findall(r"^metarl ([\w-]+)(.*?)(?:#.*)?$", block, flags=re.MULTILINE):
            assert name in commands, f"{page.name}: metarl {name}"
            command = commands[name]
            if hasattr(command, "commands"):  # a group, such as metarl log
                assert rest.split()[0] in command.commands, f"{page.name}: metarl {name}{rest}"
                command = command.commands[rest.split()[0]]
            known = {option for parameter in command.params for option in parameter.opts}
            assert set(re.findall(r"(?<=\s)--[\w-]+", rest)) <= known, f"{page.name}: metarl {name}{rest}"
