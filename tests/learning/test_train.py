# SPDX-License-Identifier: Apache-2.0
"""Training from end to end on a small scale: it learns, can be interrupted anywhere, and refuses wrong settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from metarl_robot.adaptation.training_data import TrainingData
from metarl_robot.core.checkpoint import load_checkpoint
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.folder_lock import locked_folder
from metarl_robot.core.robot import Robot
from metarl_robot.learning.models.config import TrainConfig
from metarl_robot.learning.models.last_layer import LastLayerLearner
from metarl_robot.learning.models.train import fit
from metarl_robot.sim.training import TrainReport, command, train

QUICK = TrainConfig(
    tasks=200, duration_s=1.2, steps=150, batch=16, learned=4, hidden=(32, 32), learning_rate=1e-2, threads=1
)
TINY = TrainConfig(tasks=20, duration_s=1.2, steps=8, batch=4, learned=2, hidden=(8,), threads=1)


def learner(planar: Robot, tasks: TrainingData, config: TrainConfig = TINY) -> LastLayerLearner:
    return LastLayerLearner(tasks, planar.velocity_limit, planar.effort_limit, config)


NOTHING_LEFT = {"learned": 0, "features": "supervised"}


class InterruptAt:
    """A progress callback that behaves like Ctrl-C after so many steps of a phase."""

    def __init__(self, phase: str, step: int) -> None:
        self.phase, self.step = phase, step

    def __call__(self, phase: str, done: int, total: int, metrics: dict[str, float]) -> None:
        if phase == self.phase and done == self.step:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def report(planar: Robot, tmp_path_factory: pytest.TempPathFactory) -> TrainReport:
    return train(planar, QUICK, tmp_path_factory.mktemp("quick"), score_tasks=20)


@pytest.mark.slow
def test_training_learns_to_adapt(report: TrainReport) -> None:
    """On tasks it has never seen: far better than without adaptation after 100 ms, better than the expert's least
    squares after 500.
    """
    rows = report.checkpoint.meta["scores"]["prediction"]["rows"]
    errors = [score["rmse_percent_of_limit"] for score in rows["last_layer"]]
    assert errors[1] < 0.4 * rows["none"][1]["rmse_percent_of_limit"]
    assert errors[2] < 0.25 * rows["none"][2]["rmse_percent_of_limit"]
    assert errors[2] < 0.9 * rows["inertial"][2]["rmse_percent_of_limit"]


@pytest.mark.slow
def test_loss_falls(report: TrainReport) -> None:
    curve = np.array(report.fits["last_layer"].curve)
    assert curve[-15:, 1].mean() < curve[:15, 1].mean() - 0.3
    assert curve[-1, 0] == QUICK.steps


@pytest.mark.slow
def test_checkpoint_says_where_it_comes_from(planar: Robot, report: TrainReport) -> None:
    loaded = load_checkpoint(report.path, planar)
    assert loaded.adapter == "last_layer"
    assert loaded.meta["features"] == ["payload", "friction", "motor", "learned"]
    assert len(loaded.meta["context_names"]) == len(loaded.tensors["prior_mean"])
    assert loaded.meta["command"] == command(planar, QUICK)
    assert len(loaded.meta["data_sha256"]) == 64 and loaded.meta["versions"]["torch"] == torch.__version__
    assert TrainConfig.model_validate(loaded.meta["config"]) == QUICK
    json.loads(report.path.with_suffix(".json").read_text())
    assert sorted(path.name for path in report.path.parent.iterdir()) == ["dynamics.json", "dynamics.safetensors"]


@pytest.mark.parametrize("stop", [1, 5])
def test_resumed_run_ends_as_an_uninterrupted_one(
    planar: Robot, tasks: TrainingData, tmp_path: Path, stop: int
) -> None:
    whole, parts = learner(planar, tasks), learner(planar, tasks)
    expected = fit(whole, TINY, tmp_path / "whole.state", "data")
    with pytest.raises(KeyboardInterrupt):
        fit(parts, TINY, tmp_path / "parts.state", "data", progress=InterruptAt("learn", stop))
    resumed = learner(planar, tasks)
    done = fit(resumed, TINY, tmp_path / "parts.state", "data", resume=True)
    assert done.curve == expected.curve
    for name, tensor in whole.module.state_dict().items():
        torch.testing.assert_close(resumed.module.state_dict()[name], tensor, rtol=0.0, atol=0.0)


@pytest.mark.slow
@pytest.mark.parametrize(("adapter", "phase"), [("last_layer", "learn"), ("maml", "first_order")])
def test_interrupted_training_goes_on_to_the_same_weights(
    planar: Robot, tmp_path: Path, adapter: str, phase: str
) -> None:
    config = TINY.model_copy(update={"adapter": adapter, "steps": 3})
    expected = train(planar, config, tmp_path / "whole", score_tasks=2)
    with pytest.raises(KeyboardInterrupt):
        train(planar, config, tmp_path / "parts", progress=InterruptAt(phase, 2), score_tasks=2)
    found = train(planar, config, tmp_path / "parts", resume=True, score_tasks=2)
    assert found.checkpoint.meta["sha256"] == expected.checkpoint.meta["sha256"]
    assert found.checkpoint.meta["data_sha256"] == expected.checkpoint.meta["data_sha256"]


STOPPED_AT_RANDOM = """
import os, random, signal, sys
from pathlib import Path
import torch._dynamo  # the first step of an optimiser loads it: once here, and not in every child
from safetensors import safe_open
from metarl_robot.learning.models import train as loop
from metarl_robot.learning.models.config import TrainConfig
from metarl_robot.learning.models.last_layer import LastLayerLearner
from metarl_robot.core.robot import load_robot
from metarl_robot.sim import training
from metarl_robot.sim.kinds import simulation

out, robot, rng = Path(sys.argv[1]), load_robot("planar2"), random.Random(0)
config = TrainConfig(tasks=20, duration_s=1.2, steps=12, batch=4, learned=2, hidden=(8,), threads=1)
loop._SAVE_EVERY_S = 0.0
training_data = simulation(robot).training_data_builder().training_data(training.simulate(robot, config), ("payload",))

def child(folder, resume, stop):
    # (how it ended, the last gradient step that it reported), stopped after `stop` system calls
    # on files or, with a negative `stop`, by Ctrl-C after so many lines of Python.
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        guard(stop)
        def report(phase, done, total, metrics):
            os.write(writer, bytes([done]))
        try:
            learner = LastLayerLearner(training_data, robot.velocity_limit, robot.effort_limit, config)
            loop.fit(learner, config, folder / "learn.state", "data", resume, report)
            os._exit(0)
        except KeyboardInterrupt:
            os._exit(130)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        reported = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), max(reported, default=0)

def guard(stop):
    left = abs(stop)
    def count(action):
        nonlocal left
        left -= 1
        if left == 0:
            action()
    def killed():
        os.kill(os.getpid(), signal.SIGKILL)
    def interrupted():
        raise KeyboardInterrupt
    if stop < 0:
        def trace(frame, event, argument):
            if frame.f_code.co_filename.endswith("learning/models/train.py"):
                count(interrupted)
                return trace
        sys.settrace(trace)
    else:
        for name in ("open", "fsync", "replace", "unlink"):
            call = getattr(os, name)
            setattr(os, name, lambda *given, call=call, **named: (count(killed), call(*given, **named))[1])

assert child(out / "whole", False, 10**9) == (0, config.steps)
ended, stops = None, 0
while ended != 0:
    stop = rng.choice((rng.randrange(1, 40), -rng.randrange(50, 500))) if stops < 8 else 10**9
    ended, reported = child(out / "parts", stops > 0, stop)
    if ended:
        stops += 1
        assert ended in (-signal.SIGKILL, 130), ended
        if reported:
            with safe_open(out / "parts" / "learn.state", "np") as file:
                saved = __import__("json").loads(file.metadata()["facts"])["step"]
            assert saved >= reported - 1, (saved, reported)
assert stops >= 3

def tensors(name):
    with safe_open(out / name / "learn.state", "np") as file:
        return {key: file.get_tensor(key).tobytes() for key in file.keys()}

assert tensors("whole") == tensors("parts")
"""


@pytest.mark.slow
def test_stopped_at_any_moment_it_loses_at_most_a_step_and_ends_alike(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STOPPED_AT_RANDOM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_a_second_training_into_one_folder_is_refused(planar: Robot, tmp_path: Path) -> None:
    hold = "import sys, time; from pathlib import Path; from metarl_robot.core.folder_lock import *\n"
    hold += "with locked_folder(Path(sys.argv[1]), ''): print('held', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        for resume in (False, True):
            with pytest.raises(MetaRLError, match="another process is writing there.*--out"):
                train(planar, TINY, tmp_path, resume)
        assert not list(tmp_path.iterdir())
        other.kill()
    with locked_folder(tmp_path, "none is needed: the lock has ended with its process"):
        pass


def test_data_of_other_settings_are_not_taken_up(planar: Robot, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(planar, TINY, tmp_path, progress=InterruptAt("learn", 1))
    (tmp_path / "learn.state").unlink()  # as after a kill between data and first state
    with pytest.raises(MetaRLError, match="other settings"):
        train(planar, TINY.model_copy(update={"seed": 1}), tmp_path, resume=True)


def test_a_damaged_state_is_named(planar: Robot, tasks: TrainingData, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    state = tmp_path / "run.state"
    fit(learner(planar, tasks), TINY, state, "data")
    with safe_open(state, "pt") as file:
        metadata, name = file.metadata(), next(iter(file.keys()))
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for wrong in ({**tensors, name: torch.zeros(3, 3, 3)}, {}):
        save_file(wrong, state, metadata)
        with pytest.raises(MetaRLError, match="run.state.*restart without resuming"):
            fit(learner(planar, tasks), TINY, state, "data", resume=True)


def test_resuming_another_run_is_refused(planar: Robot, tasks: TrainingData, tmp_path: Path) -> None:
    state = tmp_path / "run.state"
    fit(learner(planar, tasks), TINY, state, "data")
    other = TINY.model_copy(update={"learning_rate": 0.02})
    with pytest.raises(MetaRLError, match="other settings or data"):
        fit(learner(planar, tasks, other), other, state, "data", resume=True)
    with pytest.raises(MetaRLError, match="other settings or data"):
        fit(learner(planar, tasks), TINY, state, "other data", resume=True)
    state.write_bytes(b"not a state")
    with pytest.raises(MetaRLError, match="not the state of a training run"):
        fit(learner(planar, tasks), TINY, state, "data", resume=True)


def test_divergence_is_reported(planar: Robot, tasks: TrainingData, tmp_path: Path) -> None:
    broken = learner(planar, tasks)
    broken.module.log_error.data.fill_(float("nan"))
    with pytest.raises(MetaRLError, match="at step 0"):
        fit(broken, TINY, tmp_path / "run.state", "data")


def test_command_repeats_the_settings_that_are_not_the_defaults(planar: Robot) -> None:
    assert command(planar, TrainConfig()) == "metarl train planar2"
    config = TrainConfig(adapter="maml", tasks=50, hidden=(16, 16), unloaded_start=False)
    assert (
        command(planar, config)
        == "metarl train planar2 --adapter maml --tasks 50 --hidden 16,16 --unloaded-start false"
    )


@pytest.mark.parametrize(
    "wrong",
    [{"tasks": 0}, {"learning_rate": 0.0}, {"epochs": 3}, NOTHING_LEFT],
)
def test_bad_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):  # says which
        TrainConfig(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"), [({"adapter": "magic"}, "'magic'.*last_layer, maml"), ({"groups": ("wind",)}, "'wind'.*payload")]
)
def test_names_that_a_kind_does_not_have_are_refused(
    planar: Robot, tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(MetaRLError, match=said):
        train(planar, TrainConfig(**wrong), tmp_path)
