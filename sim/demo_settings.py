# SPDX-License-Identifier: Apache-2.0
"""Settings of a kind's demo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.renamed import with_present_names
from metarl_robot.core.validation import faults


class DemoSettings(BaseModel):
    """Settings of a demo; this class has none.

    A kind's simulation names its own subclass (sim/kinds.py: `Simulation.demo_settings`). Each field is a setting of
    `metarl demo`, with its description, default and range. renamed: former name → present name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    renamed: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Validate values by name; numbers may be text. Raises MetaRLError with the valid names or ranges."""
        try:
            return cls.model_validate(with_present_names(cls, values, "setting of a demo"))
        except ValidationError as error:
            raise MetaRLError(f"settings of the demo: {faults(error, cls)}") from error
