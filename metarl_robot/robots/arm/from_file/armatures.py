# SPDX-License-Identifier: Apache-2.0
"""Guesses of rotor inertias where a file states none, and doubts about effort limits.

The rule: with its largest effort, a geared motor accelerates its own rotor, seen at the joint, by effort / armature =
100 rad/s². It is good to a factor of a few: 120 rad/s² at the last joint of the shipped Panda, 870 at its first. Effort
limits of many files are placeholders. The joint that bears the most tells (loads.py). Where its limit is more
than MOST_TIMES the effort that this arm needs, the efforts count for the guess as if they were so many times that.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace

from metarl_robot.robots.arm.from_file.joint_limit import JointLimit
from metarl_robot.robots.arm.from_file.source import Source
from metarl_robot.robots.new_robot.findings import Findings, Origin

ROTOR_RAD_S2, ROTOR_M_S2 = 100.0, 20.0
"""Acceleration of a rotor alone, seen at the joint, by the largest effort."""
MOST_TIMES, LEAST_TIMES = 3.0, 0.3
"""Effort limit over the guess at the most loaded joint, beyond which it is doubted."""


def with_armatures(
    source: Source, limits: Mapping[int, JointLimit], needed: Mapping[int, float], given: Set[str], findings: Findings
) -> dict[int, JointLimit]:
    """The joints with a guessed armature where they have none; also in the source's model, which is compared later.

    needed: guessed efforts by joint. given: names of joints whose armature an option states.
    """
    loaded = max(limits, key=lambda joint: needed[joint])
    times = limits[loaded].effort / needed[loaded]
    _doubt(limits[loaded], needed[loaded], times, findings)
    share, made = min(1.0, MOST_TIMES / times), {}
    for joint, limit in limits.items():
        made[joint] = limit
        if limit.armature > 0.0 or limit.name in given:
            continue
        armature = float(f"{share * limit.effort / (ROTOR_M_S2 if limit.is_slide else ROTOR_RAD_S2):.2g}")
        unit = "kg" if limit.is_slide else "kg m²"
        detail = "rotor and gear, by the effort limit; --armature"
        findings.add(limit.name, "armature", f"{armature:g} {unit}", Origin.GUESS, detail)
        source.model.dof_armature[source.model.jnt_dofadr[joint]] = armature
        made[joint] = replace(limit, armature=armature)
    return made


def _doubt(limit: JointLimit, needed: float, times: float, findings: Findings) -> None:
    """Warn of an effort limit that is no motor's for this arm."""
    if LEAST_TIMES < times <= MOST_TIMES:
        return
    unit = "N" if limit.is_slide else "Nm"
    which = "far more than" if times > MOST_TIMES else "less than"
    findings.warnings.append(
        f"joint '{limit.name}' has an effort limit of {limit.effort:.4g} {unit}, {which} an arm of this weight needs "
        f"(about {needed:.2g} {unit}): if it is a placeholder, give the motors' with --effort; friction, armature and "
        "the noise of adapters follow from it"
    )
