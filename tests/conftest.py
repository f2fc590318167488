# SPDX-License-Identifier: Apache-2.0
"""Settings of every test: no display, one thread per process, ROS 2 kept on this machine and apart from other runs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# Set before the libraries that read them are imported, and inherited by every process that a test starts.
os.environ["MPLBACKEND"] = "Agg"
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
if _worker := int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]):  # away from the domains of the first worker
    os.environ["ROS_DOMAIN_ID"] = str(1 + (int(os.environ["ROS_DOMAIN_ID"]) - 1 + 50 * _worker) % 100)

# Property-based tests draw the same examples in every run, and do not judge by the time that a busy machine takes.
settings.register_profile("tests", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

# Tests that start nodes, or build and install: each group runs on one worker, one test after the other.
_GROUPS = {
    "ros": ("tests/ros/", "tests/cli/test_demo", "tests/test_readme.py"),
    "packaging": ("tests/packaging/",),
}


def _group(nodeid: str) -> str | None:
    return next((group for group, places in _GROUPS.items() if nodeid.startswith(places)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """tests/ros and tests/packaging get their markers; tests in real time are tried up to three times."""
    for item in items:
        if item.get_closest_marker("real_time"):
            item.add_marker(pytest.mark.flaky(reruns=2))
        for group in _GROUPS:
            if ROOT / "tests" / group in item.path.parents:
                item.add_marker(getattr(pytest.mark, group))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For any value of `--dist`.

    (xdist 3.8 does not see its own `xdist_group` marks under pytest 9.2, and says nothing.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid) or nodeid

    return GroupScheduling(config, log)


@pytest.fixture(autouse=True)
def ieee_numbers() -> None:
    """Training flushes denormal numbers to zero for the rest of its thread; the next test has all of IEEE 754 again."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="module")
def point_mass(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Installs the package tests/point_mass, as pip does, also for the processes of a test; a copy of its robot."""
    site = tmp_path_factory.mktemp("site")
    (site / "point_mass").symlink_to(ROOT / "tests" / "point_mass")
    info = site / "point_mass-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: point_mass\nVersion: 1.0\n", encoding="utf-8")
    shutil.copy(ROOT / "tests" / "point_mass" / "entry_points.txt", info)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH")))))
        yield shutil.copytree(ROOT / "tests" / "point_mass" / "models" / "puck", site / "puck")
    for name in [name for name in sys.modules if name.split(".")[0] == "point_mass"]:
        del sys.modules[name]


Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package `other_package` with this source and these entry points, as pip does."""

    def installed(source: str, points: str) -> None:
        (tmp_path / "other_package.py").write_text(source, encoding="utf-8")
        info = tmp_path / "other_package-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other_package\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(points, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)

    yield installed
    sys.modules.pop("other_package", None)
