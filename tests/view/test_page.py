# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser: a robot is drawn, moments change it, buttons act."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mjviser", reason="needs the extra [view]")

from metarl_robot.core.robot import load_robot
from metarl_robot.sim.kinds import simulation
from metarl_robot.view import LOCALHOST
from metarl_robot.view.controls import Offered, add_controls
from metarl_robot.view.moment import Moment
from metarl_robot.view.page import Page, serve
from tests.browser import CHROMIUM, PATIENT_S, Browser, wait

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")


class Recorder:
    """Records what the buttons ask for."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values: self.calls.append((name, *values))


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[tuple[Any, Page, Recorder, Browser]]:
    robot = load_robot("panda")
    server = serve(LOCALHOST, 8099)
    page, actions = Page(server, robot), Recorder()
    kind = simulation(robot).disturbances
    add_controls(server, Offered(("meta_mpc", "pid"), kind, kind.spans(robot)), actions)
    browser = Browser(f"http://{LOCALHOST}:{server.get_port()}", tmp_path / "browser")
    yield server, page, actions, browser
    browser.close()
    server.stop()


@pytest.mark.slow
def test_a_browser_shows_the_robot_and_its_buttons_act(shown: tuple[Any, Page, Recorder, Browser]) -> None:
    """One browser for all of it: its start takes seconds."""
    server, page, actions, browser = shown
    wait(lambda: page.watched, "the browser")
    client = next(iter(server.get_clients().values()))
    robot = load_robot("panda")
    first = client.get_render(96, 96, timeout=PATIENT_S).astype(int)
    assert first.std() > 1.0  # a robot, not an empty page
    q = robot.home + np.array([1.0, *[0.0] * 6])
    place = simulation(robot).positions(q[None])[0]
    page.show(Moment(1.0, q, place, estimates={"payload mass": (1.25, 0.1, "kg")}, error_m=0.0012, status="solved"))
    wait(lambda: "error: 1.20 mm" in browser.text, "the error in the text")
    assert "payload mass: 1.25 ± 0.1 kg" in browser.text
    assert np.abs(client.get_render(96, 96, timeout=PATIENT_S).astype(int) - first).max() > 20  # it has turned
    for label, call in (("Stop", "stop"), ("Continue", "rearm"), ("Restart", "restart")):
        browser.click(label)
        wait(lambda call=call: (call,) in actions.calls, label)
