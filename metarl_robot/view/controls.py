# SPDX-License-Identifier: Apache-2.0
"""Buttons of the page: they disturb the simulated robot, swap its controller, stop and restart it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import viser

from metarl_robot.core.validation import is_list
from metarl_robot.sim.disturbances import Disturbances

_STEPS = 100


class Actions(Protocol):
    """Actions of the buttons. Each returns at once; the page shows an answer that is not yes as a notice."""

    def disturb(self, name: str, value: float | list[float]) -> None:
        """Set a disturbance of the simulated robot, by the name of its field."""
        ...

    def use_controller(self, name: str) -> None: ...

    def stop(self) -> None: ...

    def rearm(self) -> None: ...

    def restart(self) -> None: ...


class Offered(NamedTuple):
    """controllers: names, the present one first. disturbances: those of the kind. spans: ends of their sliders."""

    controllers: Sequence[str]
    disturbances: type[Disturbances]
    spans: Mapping[str, tuple[float, float]]


def add_controls(server: viser.ViserServer, offered: Offered, actions: Actions) -> None:
    """Add the buttons to the page."""
    with server.gui.add_folder("Disturb", visible=bool(offered.spans)):
        _add_disturbances(server, offered, actions)
    with server.gui.add_folder("Control"):
        names = server.gui.add_dropdown("controller", tuple(offered.controllers))
        names.on_update(lambda _: actions.use_controller(names.value))
        _button(server, "Stop", actions.stop, color="red", hint="The gate brings the robot to rest.")
        _button(server, "Continue", actions.rearm, color="green", hint="Re-arm the gate after a stop.")
        _button(server, "Restart", actions.restart, hint="The simulated robot: back to the start pose and time 0.")


def _button(server: viser.ViserServer, label: str, act: Callable[[], None], **options: Any) -> None:
    server.gui.add_button(label, **options).on_click(lambda _: act())


def _add_disturbances(server: viser.ViserServer, offered: Offered, actions: Actions) -> None:
    for name, (low, high) in offered.spans.items():
        info = offered.disturbances.model_fields[name]
        title = info.title or name
        parts = [f"{title} {axis}" for axis in "xyz"] if is_list(info) else [title]
        first = info.default if is_list(info) else (info.default,)
        sliders = [
            server.gui.add_slider(part, low, high, (high - low) / _STEPS, value, hint=info.description)
            for part, value in zip(parts, first, strict=True)
        ]

        def changed(_: Any, name: str = name, sliders: Sequence[Any] = sliders) -> None:
            values = [float(slider.value) for slider in sliders]
            actions.disturb(name, values if len(values) > 1 else values[0])

        for slider in sliders:
            slider.on_update(changed)
