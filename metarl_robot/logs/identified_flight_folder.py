# SPDX-License-Identifier: Apache-2.0
"""Files of a quadrotor's folder with identified parameters: robot.yaml anew, weights and settings as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import yaml

from metarl_robot.core.yaml_file import read_yaml
from metarl_robot.logs.flight_model import NAMES
from metarl_robot.logs.identified_folder import RECORD, WEIGHTS, record_text, rounded
from metarl_robot.logs.identify_flight import IdentifiedFlight
from metarl_robot.logs.recording import LogError

MOST_SHARE = 0.999
"""Largest principal moment over the sum of the others; 1 for a flat body."""


def flight_folder_files(found: IdentifiedFlight, document: dict[str, Any]) -> dict[str, bytes]:
    """Contents by path. document: identified_flight_document.py. Raises LogError for an inertia that no body has."""
    folder = found.robot.folder
    kept = (path for pattern in WEIGHTS for path in sorted(folder.glob(pattern)))
    files = {str(path.relative_to(folder)): path.read_bytes() for path in kept}
    return {**files, RECORD: record_text(document), "robot.yaml": _description(found).encode()}


def _description(found: IdentifiedFlight) -> str:
    robot, of = found.robot, dict(zip(NAMES, found.values, strict=True))
    inertia = _possible(found)
    content = {
        **read_yaml(robot.folder / "robot.yaml", LogError),
        "mass_kg": rounded([of["mass"]])[0],
        "inertia_kg_m2": rounded(inertia),
        "thrust_coefficient_n_s2": rounded([robot.thrust_coefficient * of["thrust"]])[0],
        "torque_ratio_m": rounded([of["torque_ratio"]])[0],
        "motor_time_s": rounded([of["motor_time_up"], of["motor_time_down"]]),
        "rotor_drag_n_s2_m": rounded([max(of[f"rotor_drag_{way}"], 0.0) for way in ("across", "along")]),
        "parasitic_drag_n_s2_m2": rounded([max(of[f"parasitic_drag_{axis}"], 0.0) for axis in "xyz"]),
    }
    head = (
        f"# Made by metarl log identify from {robot.argument} and recordings of it; {RECORD} has each parameter\n"
        "# before and after, with its standard error.\n"
    )
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=150, default_flow_style=None)


def _possible(found: IdentifiedFlight) -> list[float]:
    """Principal moments of a body that can exist, within two standard errors of those found."""
    places = [NAMES.index(f"inertia_{axis}") for axis in "xyz"]
    moments = [float(found.values[at]) for at in places]
    largest = int(np.argmax(moments))
    most = MOST_SHARE * (sum(moments) - moments[largest])
    if moments[largest] - most > 2.0 * found.std_errors[places[largest]]:
        said = ", ".join(f"{each:.3g}" for each in moments)
        raise LogError(
            f"inertias of {said} kg m² were found, which no rigid body has: give --torque-ratio, which decides the "
            "inertia about z, or record faster turns"
        )
    moments[largest] = min(moments[largest], most)
    return moments
