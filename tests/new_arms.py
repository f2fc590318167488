# SPDX-License-Identifier: Apache-2.0
"""Arms whose file states no armature, with it guessed and with none: error after a pick-up.

`python -m tests.new_arms [--seeds 2] [--without]` prints a line for each run of `heldout`, `pickup`. --without: with
`--armature 0` instead of the guess.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.robots.new_robot.folder import write_folder
from metarl_robot.robots.new_robot.made import convert
from metarl_robot.robots.new_robot.options import Options
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.kinds import simulation

CONTROLLERS = ("offset_free_mpc", "meta_mpc")
Z, Y = "0 0 1", "0 1 0"
SEVEN = {
    "masses": (5.3, 4.5, 1.7, 2.5, 1.1, 1.5, 0.3),
    "efforts": (80.0, 80.0, 40.0, 40.0, 9.0, 9.0, 9.0),
    "lengths": (0.15, 0.2, 0.2, 0.2, 0.2, 0.13, 0.1),
}
"""An arm of 17 kg with the effort limits of its motors."""
SMALL = {"masses": (0.12, 0.1, 0.08, 0.06, 0.03), "efforts": (10.0,) * 5, "lengths": (0.05, 0.115, 0.135, 0.06, 0.06)}
"""A desk arm of 0.4 kg, whose file has 10 Nm everywhere, seven times what it needs."""


def urdf(masses: tuple[float, ...], efforts: tuple[float, ...], lengths: tuple[float, ...]) -> str:
    """A chain of rods whose joints turn about z and y in turn, without <dynamics>."""
    text, above, offset = '<?xml version="1.0"?>\n<robot name="rods"><link name="base"/>\n', "base", 0.08
    for i, (mass, effort, length) in enumerate(zip(masses, efforts, lengths, strict=True), start=1):
        across, along = mass * (length**2 / 12.0 + 1e-4 * (1.0 + mass)), 1e-4 * mass * (1.0 + mass)
        inertia = f'ixx="{across:.8f}" iyy="{across:.8f}" izz="{along:.8f}" ixy="0" ixz="0" iyz="0"'
        text += f'<link name="link_{i}"><inertial><origin xyz="0 0.01 {length / 2:.4f}"/><mass value="{mass}"/>'
        text += f'<inertia {inertia}/></inertial></link>\n<joint name="joint_{i}" type="revolute">'
        text += f'<parent link="{above}"/><child link="link_{i}"/><origin xyz="0 0 {offset:.4f}"/>'
        text += f'<axis xyz="{Z if i % 2 else Y}"/><limit lower="-2.2" upper="2.2" effort="{effort}" velocity="2.5"/>'
        text, above, offset = text + "</joint>\n", f"link_{i}", length
    text += f'<link name="tool0"/><joint name="tool" type="fixed"><parent link="{above}"/><child link="tool0"/>'
    return text + f'<origin xyz="0 0 {offset}"/></joint></robot>\n'


def made(folder: Path, name: str, text: str, options: Options) -> Robot:
    """The robot that `metarl robot new` makes."""
    source = folder / f"{name}.urdf"
    source.write_text(text, encoding="utf-8")
    write_folder(folder / name, convert("arm", source, name, options).files, load_robot)
    return load_robot(folder / name)


def error_m(robot: Robot, controller: str, seed: int) -> tuple[float, int]:
    """Root mean square error after a pick-up, and physics steps beyond a limit."""
    scenario = simulation(robot).scenario("heldout", "pickup", seed)
    run = run_episode(robot, lambda _: make_controller(robot, controller), scenario)
    return run.result.rmse_after_m, run.result.violations


def main() -> None:
    """Print all runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.new_arms", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--without", action="store_true")
    chosen = parser.parse_args()
    options = Options(armature="0") if chosen.without else Options()
    with tempfile.TemporaryDirectory() as folder:
        for name, parts in {"seven": SEVEN, "small": SMALL}.items():
            robot = made(Path(folder), name, urdf(**parts), options)
            for seed in range(chosen.seeds):
                runs = [error_m(robot, controller, seed) for controller in CONTROLLERS]
                said = [f"{1e3 * error:.3g} mm, {beyond} beyond limits" for error, beyond in runs]
                print(f"{name} {seed}: " + "; ".join(map(" ".join, zip(CONTROLLERS, said, strict=True))), flush=True)


if __name__ == "__main__":
    main()
