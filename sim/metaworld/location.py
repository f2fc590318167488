# SPDX-License-Identifier: Apache-2.0
"""Where `make metaworld` puts Meta-World, and its tasks by name."""

from __future__ import annotations

from pathlib import Path

from metarl_robot.compile.code_cache import cache_folder

VERSION, REWARD = "3.1.1", "v2"

_NAMES = """
assembly basketball bin-picking box-close button-press-topdown button-press-topdown-wall button-press
button-press-wall coffee-button coffee-pull coffee-push dial-turn disassemble door-close door-lock door-open
door-unlock drawer-close drawer-open faucet-close faucet-open hammer hand-insert handle-press-side handle-press
handle-pull-side handle-pull lever-pull peg-insert-side peg-unplug-side pick-out-of-hole pick-place pick-place-wall
plate-slide-back-side plate-slide-back plate-slide-side plate-slide push-back push push-wall reach reach-wall
shelf-place soccer stick-pull stick-push sweep-into sweep window-close window-open
"""
ENVIRONMENTS = tuple(f"{name}-v3" for name in _NAMES.split())
"""Names in Meta-World 3; each is also a benchmark ML1."""


def environment() -> Path:
    """Folder of the virtual environment."""
    return cache_folder() / f"metaworld-{VERSION}"


def missing() -> str:
    """The reason why Meta-World cannot run here; empty if it can."""
    if any(environment().glob("made-*")):
        return ""
    return f"Meta-World has no environment in {environment()}: run `make metaworld`"
