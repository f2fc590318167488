# SPDX-License-Identifier: Apache-2.0
"""Disturbances of running simulations: they change what they name, and the sliders of the view stay within them."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core.robot import load_robot
from metarl_robot.core.validation import bounds
from metarl_robot.sim.disturbances import Disturbances
from metarl_robot.sim.kinds import simulation

ROBOTS = ("planar2", "x500", "f1tenth")


def applied(robot: str, values: dict[str, object]) -> object:
    room = simulation(load_robot(robot))
    return room.disturbances.model_validate(values).applied(room.nominal_task(), values.keys())


@pytest.mark.parametrize("robot", ROBOTS)
def test_nothing_named_changes_nothing(robot: str) -> None:
    task = simulation(load_robot(robot)).nominal_task()
    assert simulation(load_robot(robot)).disturbances().applied(task, ()).to_dict() == task.to_dict()


@pytest.mark.parametrize("robot", ROBOTS)
def test_each_changes_the_plants_motion_or_its_truth(robot: str) -> None:
    """The state of the plant, or its truth, differs after a fifth of a second."""
    loaded = load_robot(robot)
    room = simulation(loaded)

    def state_after(task: object) -> np.ndarray:
        plant = room.plant(room.nominal_task())
        plant.reset()
        plant.set_task(task)
        effort = np.full(len(loaded.coordinates.effort), 0.2 * float(loaded.effort_limit.min()))
        return np.concatenate([plant.step(effort, 0.2).v, plant.quantities])

    still = state_after(room.nominal_task())
    for name, (low, high) in room.disturbances.spans(loaded).items():
        default = room.disturbances.model_fields[name].default
        value = (high,) * 3 if isinstance(default, tuple) else low if default == high else high
        assert not np.allclose(state_after(applied(robot, {name: value})), still, atol=1e-6), name


@pytest.mark.parametrize("robot", ROBOTS)
def test_every_field_has_a_slider_within_its_bounds(robot: str) -> None:
    loaded = load_robot(robot)
    kind: type[Disturbances] = simulation(loaded).disturbances
    spans = kind.spans(loaded)
    assert set(spans) == set(kind.model_fields) == set(kind().conditions())
    for name, span in spans.items():
        lower, upper = bounds(kind.model_fields[name])
        assert (lower is None or lower <= span[0]) and (upper is None or span[1] <= upper) and span[0] < span[1]
