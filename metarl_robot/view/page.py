# SPDX-License-Identifier: Apache-2.0
"""The page of one robot: 3-D view, state of its control, plots, and either buttons or the time of a recording."""

from __future__ import annotations

import viser

from metarl_robot.core.errors import MetaRLError, one_line
from metarl_robot.core.external_force import Contact
from metarl_robot.core.robot import Robot
from metarl_robot.view.charts import Charts
from metarl_robot.view.moment import Moment
from metarl_robot.view.robot_scene import RobotScene

DRAW_EVERY_S = 0.4
"""Period of the plots and of the text; the 3-D view follows every moment."""


def serve(host: str, port: int) -> viser.ViserServer:
    """Start a server. Raises MetaRLError: the port cannot be used."""
    try:
        server = viser.ViserServer(host=host, port=port, label="metarl_robot", verbose=False)
    except OSError as error:
        raise MetaRLError(
            f"the page cannot be served at {host}:{port}: {one_line(error)}; choose another --port"
        ) from error
    server.gui.configure_theme(dark_mode=True, control_width="medium")
    return server


class Page:
    """Shows moments of a run.

    Arguments:
        server: of the page.
        robot: the robot.
    """

    def __init__(self, server: viser.ViserServer, robot: Robot) -> None:
        self._server = server
        self._scene = RobotScene(server, robot)
        self._state = server.gui.add_markdown(f"**{robot.name}**: no state yet")
        self._name = robot.name
        self._charts = Charts(server)
        self._drawn_s = self._time_s = -1.0

    @property
    def watched(self) -> bool:
        """Whether a browser shows the page."""
        return bool(self._server.get_clients())

    def show(self, moment: Moment) -> None:
        """Show a moment. One from an earlier time begins a new run."""
        if moment.time_s < self._time_s:
            self._scene.forget()
            self._drawn_s = -1.0
        self._time_s = moment.time_s
        self._charts.add(moment)
        if not self.watched:
            return
        with self._server.atomic():  # one wake-up of the server's thread instead of one for each value
            self._scene.show(moment)
            if moment.time_s - self._drawn_s >= DRAW_EVERY_S:
                self._drawn_s = moment.time_s
                self._charts.draw()
                self._state.content = summary(self._name, moment)

    def say(self, title: str, text: str) -> None:
        """Show a notice in every browser."""
        for client in self._server.get_clients().values():
            client.add_notification(title, text, auto_close_seconds=6.0)


def summary(name: str, moment: Moment) -> str:
    """State of the control in Markdown."""
    rows = [f"**{name}** at {moment.time_s:.1f} s"]
    if moment.held:
        rows.append(f"**held by the gate**: {moment.held}")
    if moment.status is not None:
        missed = "" if moment.missed_deadlines is None else f", {moment.missed_deadlines} missed deadlines"
        rows.append(f"controller: {moment.status}{missed}")
    if moment.error_m is not None:
        rows.append(f"error: {1e3 * moment.error_m:.2f} mm")
    if moment.contact is not Contact.NONE:
        rows.append(f"external force: {moment.contact.value}")
    rows += [f"{key}: {mean:.3g} ± {std:.2g} {unit}" for key, (mean, std, unit) in moment.estimates.items()]
    return "  \n".join(rows)
