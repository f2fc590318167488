# SPDX-License-Identifier: Apache-2.0
"""Whether RLlib is installed. It is not imported: Ray reads its environment when it is imported (local_cluster.py)."""

from __future__ import annotations

from importlib.util import find_spec

from metarl_robot.core.errors import MissingPackageError

_NEEDED = ("ray", "tree", "ormsgpack")
"""Ray, and packages that RLlib alone brings: dm-tree, ormsgpack."""


def check_rllib() -> None:
    """Raise MissingPackageError if a package is missing."""
    if any(find_spec(name) is None for name in _NEEDED):
        raise MissingPackageError("RLlib", "pip install 'metarl_robot[rllib]' in an environment without [games]")
