"""`metarl eval --prediction`: how well adapters predict what the rigid-body model misses, after how little data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarl_robot.cli.console import err
from metarl_robot.cli.progress import Report

if TYPE_CHECKING:
    from metarl_robot.adaptation.base import Adapter
    from metarl_robot.adaptation.factory import AdapterTuning
    from metarl_robot.dynamics.arm import ArmDynamics
    from metarl_robot.robot import Robot

_OBSERVER_RAD_S = 40.0
_MAML_ROWS = {"maml, second order": "", "maml, first order": "first_order.", "fine-tuning": "supervised."}


def predict(robot: Robot, checkpoint: Path | None, tasks: int, report: Report) -> dict[str, Any]:
    """Scores of all adapters on held-out tasks, as sim.scoring.prediction_table gives them.

    Arguments:
        robot: the arm.
        checkpoint: weights of the last layer; default: those shipped. MAML's rows are of those shipped, where there are any.
        tasks: how many.
        report: is told of the progress.

    Raises:
        CheckpointError: no weights, or another robot's.
    """
    from metarl_robot.sim.scoring import PredictionTest, prediction_table

    make = _adapters(robot, checkpoint)
    report("simulate", 0, 1)
    test = PredictionTest(robot, tasks)
    report("simulate", 1, 1)
    return prediction_table(robot, test, make(test.dynamics), report)


def _adapters(robot: Robot, checkpoint: Path | None) -> Any:
    """A function from dynamics to adapters by name; weights are read before anything is simulated."""
    from metarl_robot.adaptation.factory import AdapterTuning, make_adapter, maml_adapter
    from metarl_robot.checkpoint import default_checkpoint, load_checkpoint

    weights = load_checkpoint(checkpoint or default_checkpoint(robot), robot)
    maml_file = default_checkpoint(robot, "maml")
    maml = load_checkpoint(maml_file, robot) if maml_file.is_file() else None
    if maml is None:
        err().print(f"no MAML weights for {robot.name}, so no rows of MAML: train them with metarl train {robot.name} --adapter maml")
    tuning, observer = _tuning(robot), AdapterTuning(_OBSERVER_RAD_S)

    def make(dynamics: ArmDynamics) -> dict[str, Adapter]:
        rows: dict[str, Adapter] = {
            "none": make_adapter("none", robot, dynamics, observer),
            "disturbance observer": make_adapter("disturbance_observer", robot, dynamics, observer),
            "inertial + friction least squares": make_adapter("inertial", robot, dynamics, tuning, weights),
            "last_layer": make_adapter("last_layer", robot, dynamics, tuning, weights),
        }
        if maml is not None:
            rows |= {name: maml_adapter(robot, dynamics, tuning, maml, prefix) for name, prefix in _MAML_ROWS.items()}
        return rows

    return make


def _tuning(robot: Robot) -> AdapterTuning:
    """The tuning that meta_mpc uses on this robot."""
    from metarl_robot.adaptation.factory import AdapterTuning
    from metarl_robot.control.factory import load_config

    config: Any = load_config(robot, "meta_mpc")
    return AdapterTuning(
        config.observer_bandwidth_rad_s, config.velocity_noise_rad_s, config.model_error, config.forgetting_s, config.surprise
    )
