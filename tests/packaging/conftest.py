# SPDX-License-Identifier: Apache-2.0
"""A copy of the sources, and places to install it into without downloading anything.

An environment is a new, empty virtual environment. A .pth file in it appends the site-packages of the environment that
runs the tests, so that numpy and the others are found there; Python does not follow .pth files in a folder that was
added this way, so this project itself is found only where the test has installed it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

NOT_SOURCES = (
    ".git",
    ".venv",
    "runs",
    "build",
    "dist",
    "install",
    "log",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
)

Word = str | Path


@dataclass(frozen=True)
class Installed:
    """An installation. Commands run in it from `elsewhere`, a folder that has nothing to do with the sources.

    prefix: where it is installed; modules: where its Python packages are; variables: the environment of commands;
    wrap: runs a command in a shell that has sourced the installation.
    """

    prefix: Path
    modules: Path
    elsewhere: Path
    variables: dict[str, str]
    wrap: Callable[[Sequence[Word]], Sequence[Word]] = tuple

    def run(self, *command: Word) -> str:
        """Standard output; fails the test, with everything that was printed, when the command fails."""
        return run(self.wrap(command), self.elsewhere, self.variables)

    def run_until(self, text: str, *command: Word) -> None:
        """Run a command until it prints `text`, then end it with Ctrl-C: that must come, and the exit code be 0."""
        words = [str(word) for word in self.wrap(command)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        process = subprocess.Popen(words, cwd=self.elsewhere, env=self.variables, **pipes)
        output = []
        try:
            for line in process.stdout:
                output.append(line)
                if text in line:
                    break
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate()
        finally:  # a test that is stopped for taking too long leaves nothing running
            process.send_signal(signal.SIGINT)
            process.wait()
        printed = "".join(output) + rest
        assert text in printed, printed
        assert process.returncode == 0, printed


def run(command: Sequence[Word], folder: Path, variables: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
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
    run(
        [sys.executable, "-c", "import sys, setuptools.build_meta as build; build.build_sdist(sys.argv[1])", folder],
        sources,
    )
    return build_wheel(next(folder.glob("*.tar.gz")), folder)


@pytest.fixture(scope="session")
def new_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Installed]:
    """Creates environments without this project."""

    def create() -> Installed:
        prefix = tmp_path_factory.mktemp("environment")
        venv.create(prefix, symlinks=True)
        modules = Path(sysconfig.get_path("purelib", vars={"base": str(prefix)}))
        (modules / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        variables = {
            name: value for name, value in os.environ.items() if name not in ("AMENT_PREFIX_PATH", "VIRTUAL_ENV")
        }
        variables["PATH"] = f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return Installed(prefix, modules, tmp_path_factory.mktemp("elsewhere"), variables)

    return create


@pytest.fixture(scope="session")
def pip_install(new_environment: Callable[[], Installed]) -> Callable[..., Installed]:
    """Installs into a new environment: `pip_install("--editable", sources)`."""

    def install(*options: Word) -> Installed:
        environment = new_environment()
        pip = [sys.executable, "-m", "pip", "--python", environment.prefix / "bin" / "python", "install"]
        environment.run(*pip, "--quiet", "--no-index", "--no-deps", "--no-build-isolation", *options)
        return environment

    return install


@pytest.fixture(scope="session")
def from_wheel(wheel: Path, pip_install: Callable[..., Installed]) -> Installed:
    return pip_install(wheel)


@pytest.fixture(scope="session")
def editable(sources: Path, pip_install: Callable[..., Installed]) -> Installed:
    return pip_install("--editable", sources)


@pytest.fixture(scope="session")
def from_colcon(
    sources: Path, new_environment: Callable[[], Installed], tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    """A ROS 2 workspace, built; every command runs in a shell that has sourced it, with the Python of a new
    environment.

    colcon's scripts (0.20) do not quote the path of a workspace, nor that of the Python that built it: the first must
    have no space; the second is told them where it has one, as docs/ROS.md says.
    """
    colcon = shutil.which("colcon", path=f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}")
    if colcon is None:
        pytest.skip("colcon is not installed: pip install colcon-common-extensions")
    workspace, python = tmp_path_factory.mktemp("workspace"), os.path.realpath(sys.executable)
    if " " in f"{workspace}{python}":
        pytest.skip(f"colcon's setup.sh does not quote paths, so they can hold no space: {workspace}, {python}")
    shutil.copytree(
        sources, workspace / "src" / "metarl_robot", symlinks=True, ignore=shutil.ignore_patterns("build", "*.egg-info")
    )
    run([colcon, "build"], workspace)
    prefix = workspace / "install" / "metarl_robot"
    modules = Path(sysconfig.get_path("purelib", "posix_prefix", vars={"base": str(prefix)}))

    def sourced(command: Sequence[Word]) -> Sequence[Word]:
        words = shlex.join(str(word) for word in command)
        return "sh", "-c", f". {shlex.quote(str(workspace / 'install' / 'setup.sh'))} && exec {words}"

    environment = new_environment()
    variables = environment.variables | ({"COLCON_PYTHON_EXECUTABLE": python} if " " in sys.executable else {})
    return replace(environment, prefix=prefix, modules=modules, variables=variables, wrap=sourced)


@pytest.fixture(params=["from_wheel", "editable", "from_colcon"])
def installed(request: pytest.FixtureRequest) -> Installed:
    """The same test for each way to install."""
    return request.getfixturevalue(request.param)
