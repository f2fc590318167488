# SPDX-License-Identifier: Apache-2.0
"""What an identification of a quadrotor changed, and what its recordings cannot tell, as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.logs.flight_model import NAMES, nominal_values
from metarl_robot.logs.identified_document import SHOWN
from metarl_robot.logs.identify_flight import IdentifiedFlight

Array = NDArray[np.float64]

_UNITS = (
    *("kg", "1", "1", "kg m²", "kg m²", "kg m²", "m", "N s²/m", "N s²/m"),
    *("N s²/m²", "N s²/m²", "N s²/m²", "s", "s", "s", "m", "m", "m"),
)
RATIOS = {
    "thrust over mass": ("thrust", "mass"),
    "thrust over inertia about x": ("thrust", "inertia_x"),
    "thrust over inertia about y": ("thrust", "inertia_y"),
    "torque ratio times thrust over inertia about z": ("torque_ratio", "thrust", "inertia_z"),
}
"""Ratios that motion shows: the last name divides those before."""
CURVED = 0.05
"""A curvature of the thrust that is said."""


def flight_document(found: IdentifiedFlight) -> dict[str, Any]:
    """Everything that was found.

    Returns {"robot", "recordings", "flown_s", "parameters", "ratios", "held_out", "over_nominal", "not_shown"}. A
    parameter is {"name", "unit", "before", "after", "standard_error", "sigmas", "shown"}; a ratio is relative to that
    of the nominal robot.
    """
    return {
        "robot": found.robot.name,
        "recordings": list(found.sources),
        "flown_s": found.flown_s,
        "parameters": _parameters(found),
        "ratios": [_ratio(found, name) for name in RATIOS],
        "held_out": [vars(fold) for fold in found.folds],
        "over_nominal": found.over_nominal,
        "not_shown": remedies(found),
    }


def _parameters(found: IdentifiedFlight) -> list[dict[str, Any]]:
    before, after, errors = nominal_values(found.robot), found.values, found.std_errors
    shares = _shares(found)
    return [
        {
            **{"name": name, "unit": unit, "before": float(before[i]), "after": float(after[i])},
            **{"standard_error": float(errors[i]), "sigmas": float((after[i] - before[i]) / errors[i])},
            **{"shown": bool(shares[i] < SHOWN), "given": name in _given(found)},
        }
        for i, (name, unit) in enumerate(zip(NAMES, _UNITS, strict=True))
    ]


def _shares(found: IdentifiedFlight) -> Array:
    """Standard errors (p,) over the prior's."""
    return np.asarray(np.sqrt(np.diagonal(found.covariance)) / found.std)


def _given(found: IdentifiedFlight) -> list[str]:
    given = {"mass": found.given.mass_kg, "torque_ratio": found.given.torque_ratio_m}
    return [name for name, value in given.items() if value is not None]


def _ratio(found: IdentifiedFlight, name: str) -> dict[str, Any]:
    *above, below = (NAMES.index(part) for part in RATIOS[name])
    along = np.zeros(len(found.z))
    along[above], along[below] = 1.0, -1.0
    value = float(np.exp(along @ found.z))
    return {
        "name": name,
        "over_nominal": value,
        "standard_error": value * float(np.sqrt(along @ found.covariance @ along)),
    }


def remedies(found: IdentifiedFlight) -> list[str]:
    """What these recordings cannot tell, each with what would."""
    made, given = [], _given(found)
    hidden = [NAMES[i] for i in np.flatnonzero(_shares(found)[: len(NAMES)] >= SHOWN) if NAMES[i] not in given]
    if "mass" in hidden:
        made.append(
            "mass: motion shows the ratios of mass, thrust, inertias and drag alone, and the prior about the mass "
            "decides; weigh the quadrotor and give --mass KG"
        )
    if "torque_ratio" in hidden or ("inertia_z" in hidden and "torque_ratio" not in given):
        made.append(
            "torque ratio: motion hardly shows more than its ratio to the inertia about z; give --torque-ratio M, "
            "torque over thrust of a rotor, from a thrust stand"
        )
    if not found.lag_seen:
        made.append(
            "motor lag: measured rotor speeds, or thrusts that the map calls measured, are past it; record the commands"
        )
    curve, i = found.values[NAMES.index("thrust_curvature")], NAMES.index("thrust_curvature")
    if abs(curve) > max(CURVED, 2.0 * found.std_errors[i]):
        made.append(
            f"the thrust curve is not quadratic (curvature {curve:+.2f}), which robot.yaml cannot say: its thrust is "
            "right about hover; give pulses with a 'curve' in the map"
        )
    return made
