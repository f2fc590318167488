# SPDX-License-Identifier: Apache-2.0
"""Settings of a demo belong to the kind: by name on the command line; former options give the same demo."""

from __future__ import annotations

import numpy as np
import pytest
import typer

from metarl_robot.cli.app import app
from metarl_robot.cli.demo_options import read_settings
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import load_robot
from metarl_robot.sim.kinds import simulation

PLANAR = simulation(load_robot("planar2"))


def demo_settings(*arguments: str) -> dict[str, object]:
    """Settings that a command line of `metarl demo` gives to the demo."""
    command = typer.main.get_command(app).commands["demo"]  # type: ignore[attr-defined]
    context = command.make_context("demo", ["planar2", *arguments])
    return read_settings(context.params["settings"] or ())


def test_settings_set_mass_and_centre() -> None:
    given = demo_settings("--set", "payload_mass_kg=0.8", "--set", "payload_com_m=0.05,0,0.08", "--seed", "3")
    payload = PLANAR.demo(3, **given).changes[0].task.payload
    assert payload.mass_kg == 0.8
    np.testing.assert_array_equal(payload.com_m, [0.05, 0.0, 0.08])


@pytest.mark.parametrize(
    "former",
    [
        ("--payload-mass", "0.8", "--payload-offset", "0.05,0,0.08"),
        ("--payload-offset=0.05,0,0.08", "--payload-mass=0.8"),
    ],
)
def test_former_options_warn_and_give_the_same_demo(
    former: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    present = ("--set", "payload_mass_kg=0.8", "--set", "payload_com_m=0.05,0,0.08")
    before, now = (PLANAR.demo(0, **demo_settings(*arguments)).changes[0].task for arguments in (former, present))
    assert before.to_dict() == now.to_dict()


def test_the_warning_names_the_present_setting(capfd: pytest.CaptureFixture[str]) -> None:
    from metarl_robot.core import renamed

    renamed._warn.cache_clear()
    for _ in range(2):
        PLANAR.demo(0, **demo_settings("--payload-mass", "0.8"))
    assert capfd.readouterr().err.count("'payload_mass' is now named 'payload_mass_kg'") == 1


def test_what_is_no_setting_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(MetaRLError, match="wind.*allowed keys: payload_mass_kg, payload_com_m"):
        PLANAR.demo(0, **demo_settings("--set", "wind=3"))
    with pytest.raises(MetaRLError, match="payload_mass_kg.*-1"):
        PLANAR.demo(0, payload_mass_kg=-1.0)
    with pytest.raises(typer.BadParameter, match="name=value"):
        demo_settings("--set", "payload_mass_kg")
