"""Settings of every test: no display, one thread per process, ROS 2 kept on this machine and apart from other runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Set before the libraries that read them are imported, and inherited by every process that a test starts.
os.environ["MPLBACKEND"] = "Agg"
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))

_GROUPS = ("ros", "packaging")


@pytest.hookimpl(tryfirst=True)  # before xdist's own, which reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """tests/ros and tests/packaging get their markers; each marked group runs on one worker, one test after the other."""
    for item in items:
        for group in _GROUPS:
            if ROOT / "tests" / group in item.path.parents:
                item.add_marker(getattr(pytest.mark, group))
            if item.get_closest_marker(group):
                item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
