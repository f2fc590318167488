# SPDX-License-Identifier: Apache-2.0
"""The payload's frame: a site, body or link given by name, or one with the name of a flange."""

from __future__ import annotations

import re

import mujoco
import numpy as np

from metarl_robot.core.errors import UnknownNameError
from metarl_robot.robots.arm.from_file.joints import Choice, carrier
from metarl_robot.robots.arm.from_file.model_file import IDENTITY, Pose, Tool
from metarl_robot.robots.arm.from_file.source import Source
from metarl_robot.robots.new_robot.findings import Findings, Origin
from metarl_robot.robots.new_robot.options import Options

_NAMES = ("attachment_site", "flange", "tool0", "tool", "ee_link", "end_effector", "ee", "tcp")
_RESERVED = ("payload", "cable", "cable_anchor", "cable_point")
_FORBIDDEN = re.compile(r"[^\w./:+-]")


def choose_flange(source: Source, options: Options, choice: Choice, findings: Findings) -> Tool:
    """Choose the payload's frame. Raises MetaRLError with the remedy."""
    model, last = source.model, choice.driven[-1]
    frames = _frames(model)
    if options.flange is not None:
        if options.flange not in frames:
            raise UnknownNameError("flange", options.flange, frames, f"sites and links of {source.path.name}")
        name, origin, rule = options.flange, Origin.OPTION, "--flange"
        if carrier(model, choice, frames[name][0]) < 0:
            said = "is on the fixed base: a payload there would not move"
            raise source.refusal(f"flange '{name}'", said, "choose a site or link that driven joints move")
    else:
        on_last = [name for name in frames if carrier(model, choice, frames[name][0]) == last]
        known = [name for wanted in _NAMES for name in on_last if name.lower().split("/")[-1] == wanted]
        name = known[0] if known else str(model.body(int(model.jnt_bodyid[last])).name)
        rule = "named like a flange; --flange" if known else "the link of the last driven joint; --flange"
        origin = Origin.GUESS
    body, pose = frames[name]
    findings.add("payload", "frame", name, origin, rule)
    return Tool(_site_name(name), body, pose)


def _site_name(name: str) -> str:
    name = _FORBIDDEN.sub("_", name)[:60]
    return f"{name}_site" if name in _RESERVED else name


def _frames(model: mujoco.MjModel) -> dict[str, tuple[int, Pose]]:
    """Frames by name: bodies, then sites; a site hides a body of its name."""
    bodies = {model.body(b).name: (b, IDENTITY) for b in range(1, model.nbody)}
    sites = {
        model.site(s).name: (
            int(model.site_bodyid[s]),
            Pose(np.array(model.site_pos[s]), np.array(model.site_quat[s])),
        )
        for s in range(model.nsite)
        if model.site(s).name
    }
    return bodies | sites
