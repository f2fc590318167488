"""A copy of the sources, and environments to install it into without downloading anything.

An environment is a new, empty virtual environment. A .pth file in it appends the site-packages of the environment that runs
the tests, so that numpy and the others are found there; Python does not follow .pth files in a folder that was added this
way, so this project itself is found only where the test has installed it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

NOT_SOURCES = (".git", ".venv", "runs", "build", "dist", "install", "log", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")


@dataclass(frozen=True)
class Environment:
    """A virtual environment; commands run in it from a folder that has nothing to do with the sources."""

    prefix: Path
    elsewhere: Path

    @property
    def python(self) -> str:
        return str(self.prefix / "bin" / "python")

    @property
    def site_packages(self) -> Path:
        return Path(sysconfig.get_path("purelib", vars={"base": str(self.prefix)}))

    def variables(self) -> dict[str, str]:
        return os.environ | {"PATH": f"{self.prefix / 'bin'}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(self.prefix)}

    def run(self, *command: str | Path) -> str:
        """Standard output; fails the test, with everything that was printed, when the command fails."""
        return run(command, self.elsewhere, self.variables())

    def install(self, *options: str | Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", self.python]
        run([*pip, "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", *options], self.elsewhere, self.variables())


def run(command: list[str | Path] | tuple[str | Path, ...], folder: Path, variables: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(part) for part in command], cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} failed with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def sources(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, links kept: building leaves nothing behind in the real one."""
    copy = tmp_path_factory.mktemp("sources") / "metarl_robot"
    shutil.copytree(root, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCES))
    return copy


def build_wheel(source: Path, folder: Path) -> Path:
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    run([sys.executable, "-m", "pip", "wheel", *options, source], folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def wheel_from_sdist(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run([sys.executable, "-c", "import sys, setuptools.build_meta as build; build.build_sdist(sys.argv[1])", folder], sources)
    return build_wheel(next(folder.glob("*.tar.gz")), folder)


@pytest.fixture(scope="session")
def new_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Environment]:
    def create() -> Environment:
        environment = Environment(tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("elsewhere"))
        venv.create(environment.prefix, symlinks=True)
        (environment.site_packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        return environment

    return create
