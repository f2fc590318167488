# SPDX-License-Identifier: Apache-2.0
"""`metarl robot new` makes a robot folder from a URDF, MJCF or PX4 parameters; `metarl robot check` checks one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarl_robot.cli.console import examples, note, number, out, parse_names, table, write_json
from metarl_robot.cli.robot_questions import ask, is_interactive

if TYPE_CHECKING:
    from metarl_robot.robots.new_robot.findings import Findings
    from metarl_robot.robots.new_robot.made import NewRobot
    from metarl_robot.sim.robot_check import Check, JointRow, Motion, RotorRow

_NEW = examples(
    ("metarl robot new my_arm --from my_arm.urdf", "robot.yaml and robot.xml, and the origin of every value"),
    ("metarl robot new my_arm --from scene.xml --joints j1,j2,j3 --flange tool0", "an MJCF file, some of its joints"),
    (
        "metarl robot new my_arm --from my_arm.urdf --lock finger=0.02 --payload 2",
        "a fixed gripper, a payload from the data sheet",
    ),
    ("metarl robot new my_arm --from my_arm.urdf --gravity 0,0,9.81", "hanging from the ceiling"),
    (
        "metarl robot new hexa --from hexa.params --mass 2.4 --propeller 0.24",
        "a multirotor, from PX4 parameters (QGroundControl or an airframe's script)",
    ),
    ("metarl robot new my_arm --from robot_descriptions:panda_description", "from that package's cache, no download"),
    note="At a terminal it asks for values that the file lacks; otherwise defaults are used and shown. Joint values: "
    "one number for all, one for each, or NAME=VALUE,… Units: rad, rad/s, Nm, Nm/s, kg m²; of prismatic joints "
    "m, m/s, N, N/s, kg. Then: metarl robot check FOLDER, metarl eval FOLDER --controllers pid,offset_free_mpc.",
)
_CHECK = examples(
    ("metarl robot check my_arm", "a table, and a short motion of the nominal controller"),
    ("metarl robot check my_arm --json", "the same for programs"),
    ("metarl robot check my_arm --plot my_arm.png", "joints, axes and flange as they were read, and the motion"),
    note="Exit code 1: the dynamics differ from MuJoCo's, or the motion leaves its bound.",
)


_URDF = examples(
    ("metarl robot urdf panda", "print it"),
    ("metarl robot urdf my_arm -o my_arm.urdf", "a file for robot_state_publisher, RViz or MoveIt"),
    note="The mpc node publishes the same on robot_description. A URDF holds no armature.",
)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(
        no_args_is_help=True, help="Make a robot folder from a URDF, MJCF or PX4 parameters, and check one."
    )
    group.command("new", epilog=_NEW)(new)
    group.command("check", epilog=_CHECK)(check)
    group.command("urdf", epilog=_URDF)(urdf)
    app.add_typer(group, name="robot")


def new(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The robot's folder, created if missing.")],
    source: Annotated[
        Path,
        typer.Option("--from", metavar="FILE", help="A URDF or MJCF file, robot_descriptions:NAME, or PX4 parameters."),
    ],
    joints: Annotated[str | None, typer.Option(metavar="NAME,…", help="The driven joints; others are fixed.")] = None,
    lock: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Fix a joint at a position.")] = None,
    flange: Annotated[str | None, typer.Option(metavar="NAME", help="Site, body or link of the payload.")] = None,
    payload: Annotated[float | None, typer.Option(metavar="KG", min=1e-4, max=1e4, help="Rated payload.")] = None,
    rate: Annotated[float | None, typer.Option(metavar="HZ", min=10.0, max=2000.0, help="Control rate.")] = None,
    gravity: Annotated[str | None, typer.Option(metavar="X,Y,Z", help="Gravity in the base's axes, m/s².")] = None,
    home: Annotated[str | None, typer.Option(metavar="VALUES", help="Start position.")] = None,
    position: Annotated[str | None, typer.Option(metavar="NAME=LOWER:UPPER,…", help="Position limits.")] = None,
    velocity: Annotated[str | None, typer.Option(metavar="VALUES", help="Velocity limits.")] = None,
    effort: Annotated[str | None, typer.Option(metavar="VALUES", help="Effort limits.")] = None,
    effort_rate: Annotated[str | None, typer.Option(metavar="VALUES", help="Effort rate limits.")] = None,
    armature: Annotated[
        str | None, typer.Option(metavar="VALUES", help="Rotor inertia times gear ratio squared.")
    ] = None,
    mass: Annotated[float | None, typer.Option(metavar="KG", min=1e-3, max=1e3, help="Multirotor: mass.")] = None,
    inertia: Annotated[str | None, typer.Option(metavar="X,Y,Z", help="Multirotor: moments of inertia, kg m².")] = None,
    propeller: Annotated[
        float | None, typer.Option(metavar="M", min=2e-3, max=20.0, help="Multirotor: propellers' diameter.")
    ] = None,
    thrust: Annotated[
        float | None, typer.Option(metavar="N", min=1e-3, max=1e4, help="Multirotor: largest thrust of a rotor.")
    ] = None,
    mesh_dir: Annotated[list[Path] | None, typer.Option(metavar="DIR", help="Folder to search for meshes.")] = None,
    repair_inertias: Annotated[
        bool, typer.Option("--repair-inertias", help="Replace inertias that no body can have by near ones.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="The robot's name; default: the folder's.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="Kind of robot; default: quadrotor of PX4 parameters, else arm.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a robot in the folder.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON; nothing is asked.")] = False,
) -> None:
    """Make a robot folder from a URDF or MJCF file of an arm, or from PX4 parameters of a multirotor."""
    from metarl_robot.core.robot import load_robot
    from metarl_robot.robots.new_robot.cached import find_source
    from metarl_robot.robots.new_robot.folder import check_free, write_folder
    from metarl_robot.robots.new_robot.made import convert, kind_of_file
    from metarl_robot.robots.new_robot.options import Options, locks, vector

    check_free(folder, force)
    found = find_source(source)
    options = Options(
        () if joints is None else parse_names(joints),
        locks(lock or ()),
        flange,
        vector("--gravity", gravity),
        payload,
        rate,
        home,
        position,
        velocity,
        effort,
        effort_rate,
        armature,
        (*(mesh_dir or ()), *found.mesh_dirs),
        repair_inertias,
        mass,
        vector("--inertia", inertia),
        propeller,
        thrust,
    )
    kind = kind or kind_of_file(found.file)
    called = name or re.sub(r"[^A-Za-z0-9_-]", "_", folder.resolve().name)
    made = convert(kind, found.file, called, options)
    if not json and is_interactive():
        answers = ask(made.findings)
        made = convert(kind, found.file, called, replace(options, **answers)) if answers else made
    write_folder(folder, made.files, load_robot)
    _report(folder, found.file, made, json)


def urdf(
    robot: Annotated[str, typer.Argument(metavar="ROBOT", help="Name of a robot, or its folder.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="File to write.")] = None,
) -> None:
    """Write a robot as a URDF: links, joints, inertias and shapes of its MJCF."""
    from metarl_robot.core.atomic import replace_file
    from metarl_robot.core.robot import load_robot
    from metarl_robot.core.urdf import urdf_of

    text = urdf_of(load_robot(robot))
    if output is None:
        typer.echo(text, nl=False)
        return
    replace_file(output, text.encode())
    note(f"written: {output}")


def _report(folder: Path, source: Path, made: NewRobot, json: bool) -> None:
    if json:
        write_json({"folder": folder, "difference": made.difference, **_as_json(made.findings)})
        return
    view = table(
        f"{folder}, from {source.name}",
        ("", "", "value", "origin", ""),
        caption=""
        if made.difference is None
        else f"Mass matrix and bias force are the file's, to {made.difference:.0e} at random states, with the "
        "armatures given or guessed.",
    )
    view.columns[1].justify = view.columns[3].justify = view.columns[4].justify = "left"
    for value in made.findings.values:
        view.add_row(*map(_plain, (value.of, value.what, value.value, value.origin.value, value.detail)))
    out().print(view)
    _say(made.findings)
    note(f"next: metarl robot check {folder}")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _say(findings: Findings) -> None:
    for change in findings.changes:
        note(change, "changed", "cyan")
    for warning in findings.warnings:
        note(warning, "check")


def _as_json(findings: Findings) -> dict[str, Any]:
    values = [{**vars(value), "origin": value.origin.value} for value in findings.values]
    return {"values": values, "changes": findings.changes, "warnings": findings.warnings}


def check(
    robot: Annotated[str, typer.Argument(metavar="FOLDER", help="A robot's folder, or a name (metarl robots).")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the robot and its motion (.svg, .png or .pdf).")
    ] = None,
) -> None:
    """Compare a robot's description with MuJoCo, and move it for a few seconds."""
    from dataclasses import asdict

    from metarl_robot.core.robot import load_robot
    from metarl_robot.sim.robot_check import check_robot

    if plot is not None:
        from metarl_robot.cli.figure import IMAGES, check_suffix

        check_suffix(plot, IMAGES)
    found = check_robot(load_robot(robot))
    if json:
        write_json({**asdict(replace(found, motion=None)), "faults": found.faults})
    else:
        _print(robot, found)
    if plot is not None and found.motion is not None:
        _draw(robot, found, found.motion, plot)
    if found.faults:
        note("; ".join(found.faults), "error", "bold red")
        raise typer.Exit(1)


def _draw(robot: str, found: Check, motion: Motion, path: Path) -> None:
    from metarl_robot.cli.figure import save, style
    from metarl_robot.cli.plot_check import check_figure

    with style():
        note(f"plot: {save(check_figure(robot, found, motion), path)}")


def _print(robot: str, found: Check) -> None:
    _print_parts(robot, found.rows)
    summary = table(f"{robot}: whole robot", ("", "found", "allowed"))
    summary.add_row("mass matrix, difference to MuJoCo's", f"{found.mass_difference:.1e}", "1e-06")
    summary.add_row("other forces, difference to MuJoCo's", f"{found.bias_difference:.1e}", "1e-06")
    summary.add_row("tracking error of nominal_mpc, RMS [mm]", number(1e3 * found.rmse_m), number(1e3 * found.bound_m))
    summary.add_row("commands that failed", str(found.failed_steps), "0")
    summary.add_row("physics steps beyond a limit", str(found.limits_broken), "0")
    out().print(summary)
    for warning in found.warnings:
        note(warning, "check")


def _print_parts(robot: str, rows: Sequence[JointRow | RotorRow]) -> None:
    from metarl_robot.sim.robot_check import JointRow, RotorRow

    joints = [row for row in rows if isinstance(row, JointRow)]
    rotors = [row for row in rows if isinstance(row, RotorRow)]
    if joints:
        _print_joints(robot, joints)
    if rotors:
        _print_rotors(robot, rotors)


def _print_rotors(robot: str, rows: Sequence[RotorRow]) -> None:
    columns = ("rotor", "hub [m]", "axis", "turns", "thrust [N]", "hover [N]", "hovers\nwithout it")
    view = table(f"{robot}: rotors", columns, caption="axes FLU, from the centre of mass; turns as seen from above")
    for row in rows:
        view.add_row(
            _plain(row.name),
            ", ".join(f"{x:.3g}" for x in row.place),
            ", ".join(f"{x:.3g}" for x in row.axis),
            row.spin,
            f"{row.range[0]:.3g} … {row.range[1]:.3g}",
            number(row.hover),
            "yes" if row.spare else "no",
        )
    out().print(view)


def _print_joints(robot: str, rows: Sequence[JointRow]) -> None:
    columns = ("joint", "gain", "effort limit", "position", "velocity", "armature", "damping", "spring", "weight\n[%]")
    caption = "assumed by the controllers / acting in MuJoCo; weight at home in % of the effort limit"
    view = table(f"{robot}: joints", columns, caption=caption)
    for row in rows:
        assumed, acting = row.position
        view.add_row(
            _plain(row.name),
            f"{row.gain[0]:g} / {row.gain[1]:.6g}",
            f"{row.effort[0]:.4g} / {row.effort[1]:.4g}",
            f"{assumed[0]:.4g} … {assumed[1]:.4g} / {acting[0]:.4g} … {acting[1]:.4g}",
            number(row.velocity),
            number(row.armature),
            number(row.damping),
            number(row.stiffness),
            f"{100 * row.weight_share:.0f}",
        )
    out().print(view)
