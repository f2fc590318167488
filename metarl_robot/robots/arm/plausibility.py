# SPDX-License-Identifier: Apache-2.0
"""Detects links with masses and inertias that are possible but implausible for an arm of this size."""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np

_LARGEST_GYRATION = 0.6  # of the reach
_SHORTEST_REACH_M = 0.1


def doubtful_links(model: mujoco.MjModel, reach_m: float) -> Iterator[str]:
    """A sentence for each doubtful link. reach_m: length of the stretched arm."""
    reach = max(reach_m, _SHORTEST_REACH_M)
    for body in range(1, model.nbody):
        mass, name = float(model.body_mass[body]), model.body(body).name
        if mass == 0.0 and model.body_inertia[body].any():
            yield f"link '{name}' has an inertia but no mass: no body has that; is it a placeholder?"
        gyration = float(np.sqrt(model.body_inertia[body].max() / mass)) if mass > 0.0 else 0.0
        if gyration > _LARGEST_GYRATION * reach:
            yield (
                f"link '{name}' has the inertia of a mass {gyration:.2g} m from its centre; the arm's reach is "
                f"{reach:.2g} m: is its inertia right?"
            )
        if float(np.linalg.norm(model.body_ipos[body])) > reach:
            yield f"link '{name}' has its centre of mass farther away than the arm reaches: is it in metres?"
