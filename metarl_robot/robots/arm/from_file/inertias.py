# SPDX-License-Identifier: Apache-2.0
"""Repairs physically impossible inertias of a URDF, where rounding explains them or the link weighs at most a gram.

The principal moments of a body are positive, and the sum of two is at least the third. CAD exporters round a slender
link's least moment to zero, and authors give frames of a milligram any inertia. Other impossible inertias are repaired
only if the user asks for it. MuJoCo refuses such bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import RobotError
from metarl_robot.core.xml_tree import Element
from metarl_robot.robots.new_robot.findings import Findings

Array = NDArray[np.float64]

ROUNDED = 0.01
"""Moments that change by at most this share of the largest one were rounded."""
LIGHT_KG = 1e-3
"""The inertia of a lighter link does not matter."""
_LEAST, _SPARE = 1e-3, 1.0 + 1e-9  # of the largest moment: the least one, and the sum of the others
_MOMENTS, _RULE = "principal moments", "they must be positive, and the sum of two at least the third"
_ROW = (("ixx", "ixy", "ixz"), ("ixy", "iyy", "iyz"), ("ixz", "iyz", "izz"))


def repair_inertias(path: Path, links: Sequence[Element], repair_all: bool, findings: Findings) -> None:
    """Replace impossible inertias of links, and report it. Raises RobotError for one that is not near a possible one.

    repair_all: replace these, too.
    """
    for link in links:
        inertial = link.first("inertial")
        inertia = None if inertial is None else inertial.first("inertia")
        if inertial is None or inertia is None:
            continue
        given = np.array([[float(inertia.attributes.get(key, "0")) for key in row] for row in _ROW])
        mass = float(inertial.get("mass", "value") or "0")
        possible, change = nearest_inertia(given)
        if change > ROUNDED and mass > LIGHT_KG and not repair_all:
            said = f"link '{link.attributes['name']}' has the inertia of no body: {_MOMENTS} {_listed(given)} kg m²"
            raise RobotError(f"{path}: line {inertia.line}: {said}; {_RULE}: correct it, or use --repair-inertias")
        if change > 0.0:
            for row, values in zip(_ROW, possible, strict=True):
                inertia.attributes.update({key: repr(float(value)) for key, value in zip(row, values, strict=True)})
            findings.changes.append(
                f"link '{link.attributes['name']}' (line {inertia.line}), {mass:g} kg, has the inertia of no body; its "
                f"principal moments are raised by up to {100.0 * change:.2g} % of the largest"
            )


def _listed(inertia: Array) -> str:
    return ", ".join(f"{moment:.4g}" for moment in np.linalg.eigvalsh(inertia))


def nearest_inertia(given: Array) -> tuple[Array, float]:
    """A possible inertia (3, 3) near a given one, and the largest change of a moment, as a share of the largest.

    Zero change: the inertia is possible, or no possible one is near.
    """
    moments, axes = np.linalg.eigh(given)
    largest = moments[2]
    if largest <= 0.0 or (moments[0] > 0.0 and moments[0] + moments[1] >= largest):
        return given, 0.0
    raised = np.maximum(moments, _LEAST * largest)
    raised[:2] += 0.5 * max(0.0, _SPARE * largest - raised[0] - raised[1])
    return axes @ np.diag(raised) @ axes.T, float(np.max(raised - moments) / largest)
