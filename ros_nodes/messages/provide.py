# SPDX-License-Identifier: Apache-2.0
"""Make a package of messages importable: installed, or built from our definitions."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec

from metarl_robot.ros_nodes.messages.build import Built, Say, build
from metarl_robot.ros_nodes.messages.package import shipped


def provide(name: str, say: Say = lambda text: None) -> None:
    """Make `import <name>` work: nothing to do if it is installed, else build it if needed and add it to sys.path.

    say: is told before a build, which takes from seconds to a minute, once per user.

    Raises:
        UnknownNameError: not installed, and we have no definitions of it.
        MessagesError: it cannot be built; the message names the remedy.
    """
    if not is_importable(name):
        add_to_path(build(shipped(name), say))


def is_importable(name: str) -> bool:
    """Whether a package is installed or already provided; a folder without code is not."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


def add_to_path(built: Built) -> None:
    """Put a built package and those that it needs at the end of Python's search path."""
    sys.path += [str(folder) for folder in built.python_folders if str(folder) not in sys.path]
    importlib.invalidate_caches()
