# SPDX-License-Identifier: Apache-2.0
"""A running simulation is disturbed: by parameters of the plant, and by the buttons of the page in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

MASS_KG = 0.4


@pytest.fixture(scope="module")
def running(start: Any) -> Any:
    return start("arm", robot="planar2", controller="computed_torque", lockstep="true", reference="hold")


def test_a_parameter_loads_the_robot_at_once_and_takes_the_load_off(running: Any) -> None:
    probe = running.probe
    probe.wait_until(0.2)
    assert probe.truth[-1].value("payload_mass_kg") == 0.0
    for mass_kg in (MASS_KG, 0.0):
        assert probe.set_parameter("plant", "disturb.payload_mass_kg", mass_kg).successful
        probe.wait(lambda m=mass_kg: probe.truth[-1].value("payload_mass_kg") == m, f"a payload of {mass_kg} kg")


def test_impossible_values_are_refused_with_the_range_and_change_nothing(running: Any) -> None:
    answer = running.probe.set_parameter("plant", "disturb.payload_mass_kg", -1.0)
    assert not answer.successful and "disturb.payload_mass_kg" in answer.reason and "0" in answer.reason
    answer = running.probe.set_parameter("plant", "disturb.push_n", [1.0, 2.0])
    assert not answer.successful and "disturb.push_n" in answer.reason
    assert running.probe.parameter("plant", "disturb.payload_mass_kg") == 0.0


def test_a_disturbance_outlasts_a_restart(running: Any) -> None:
    """The parameter says what acts."""
    probe = running.probe
    assert probe.set_parameter("plant", "disturb.payload_mass_kg", MASS_KG).successful
    assert probe.trigger("/plant/reset_world").success
    probe.wait(lambda: 0.1 <= probe.time_s < 1.0, "the new run")
    assert probe.truth[-1].value("payload_mass_kg") == MASS_KG


@pytest.fixture
def page(start: Any, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    pytest.importorskip("mjviser", reason="needs the extra [view]")
    from tests import browser

    if browser.CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    session = start("arm", robot="planar2", controller="pid", lockstep="true", reference="hold", view="true")
    session.probe.wait(lambda: session.said("open http://"), "the page")
    url = next(line.split("open ")[1] for line in session.lines if "open http://" in line).strip()
    opened = browser.Browser(url, tmp_path / "browser")
    yield session, opened
    opened.close()


@pytest.mark.slow
def test_buttons_of_the_page_stop_the_robot_and_let_it_go_on(page: tuple[Any, Any]) -> None:
    """From the browser through the view node to the gate, and back into the page."""
    session, browser = page
    probe = session.probe
    probe.wait_state("passing")
    probe.wait(lambda: "controller: solved" in browser.text, "the state on the page")
    browser.click("Stop")
    probe.wait_state("holding", latched=True)
    probe.wait(lambda: "held by the gate" in browser.text, "the stop on the page")
    browser.click("Continue")
    probe.wait_state("passing")
