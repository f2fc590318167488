# SPDX-License-Identifier: Apache-2.0
"""The public API: `import metarl_robot as mr`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import metarl_robot as mr


@pytest.mark.parametrize("name", mr.__all__)
def test_a_public_name_resolves_and_says_what_it_is(name: str) -> None:
    found = getattr(mr, name)
    assert found.__name__ == name
    assert found.__doc__ and len(found.__doc__.split()) > 2
    assert name in dir(mr)


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(AttributeError, match="load_robots.*load_robot, make_adapter"):
        mr.load_robots  # noqa: B018


def test_type_checkers_and_python_find_the_same_names_in_the_same_modules() -> None:
    tree = ast.parse(Path(str(mr.__file__)).read_text(encoding="utf-8"))
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module for node in branch.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == mr._MODULE_OF
    assert sorted(imported) == sorted(mr.__all__)


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import sys, metarl_robot; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"casadi", "mujoco", "numpy", "pydantic", "rclpy", "scipy", "torch"}.isdisjoint(loaded)


@pytest.mark.parametrize("name", ["none", "disturbance_observer", "last_layer"])
def test_an_adapter_is_told_samples_and_gives_a_context(name: str) -> None:
    """The nominal model, moved by exact dynamics: the adapter finds next to nothing."""
    robot = mr.load_robot("planar2")
    adapter, controller = mr.make_adapter(robot, name), mr.make_controller(robot, "computed_torque")
    simulation = mr.simulation(robot)
    reference = simulation.scenario("nominal", "undisturbed", 0).reference
    plant = simulation.plant(simulation.nominal_task())
    state, dt = plant.reset(reference.sample(np.zeros(1)).q[0]), robot.control_period_s
    for k in range(100):
        effort = controller.step(k * dt, state, reference).effort
        state = plant.step(effort, dt)
        context = adapter.update(state, effort, dt)
    assert isinstance(context, mr.Context)
    assert np.all(np.isfinite(context.mean)) and np.all(context.std >= 0.0)
    if name == "last_layer":
        mass, std = context["payload_mass_kg"]
        assert abs(mass) < 3.0 * std + 0.05


def test_an_adapter_of_another_kind_is_refused_by_name() -> None:
    robot = mr.load_robot("planar2")
    with pytest.raises(mr.MetaRLError, match="last_layer"):
        mr.make_adapter(robot, "last_layr")
    with pytest.raises(mr.MetaRLError, match="'l1'.*Valid: .*maml"):
        mr.make_adapter(robot, "l1")
