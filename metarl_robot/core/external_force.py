# SPDX-License-Identifier: Apache-2.0
"""External force as an adapter estimates it: a contact, a push, something picked up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Contact(Enum):
    """Whether an external force acts on the robot.

    NONE: no force above the threshold. UNDECIDED: a force acts that could also be a payload within the rating that was
    picked up or put down; motion shows which. CONTACT: no payload within the rating explains the force.
    """

    NONE = "none"
    UNDECIDED = "undecided"
    CONTACT = "contact"


@dataclass(frozen=True)
class ExternalForce:
    """The force on the robot beyond its model and the known payload.

    contact: see Contact. Each adapter documents its threshold.
    force: (n,) generalised force on the robot [Nm at a revolute joint], conjugate to v. Errors of the model (friction,
        motor strength) are in it: below the threshold it is the part of the residual that the context does not explain.
    """

    contact: Contact
    force: Array
