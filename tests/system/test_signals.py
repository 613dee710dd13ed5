"""SIGTERM and SIGINT: a command tidies up and exits with the status of its end; a run finishes its step."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lowzoo.cli.main import main
from lowzoo.io.files import atomic_path
from lowzoo.system import signals
from lowzoo.system.signals import Stopped, StopRequest, sigterm_as_exception
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.checkpoint import load_checkpoint
from tests.helpers.forked_processes import run_to_the_end, start_processes
from tests.helpers.train import config_of, make_pictures, start


def test_the_first_signal_is_noted_and_one_that_follows_at_once_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(signals, "end_at_once", ended.append)
    before, told = signal.getsignal(signal.SIGTERM), []
    with StopRequest(told.append).listening() as asked:
        assert asked.number == 0
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.number == signal.SIGTERM
        assert ended == []
        asked._since -= 3
        os.kill(os.getpid(), signal.SIGINT)
    assert ended == [signal.SIGINT]
    assert told[0] == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_sigterm_removes_what_was_half_written(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_path(tmp_path / "file.txt") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped) as ended, sigterm_as_exception():
        write()
    assert ended.value.status == 143
    assert not list(tmp_path.iterdir())


def test_the_command_line_exits_with_143(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("lowzoo.cli.main.app", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        main(["list"])
    assert ended.value.code == 143
    assert capsys.readouterr().err == "lowzoo: terminated\n"


def test_a_data_worker_leaves_signals_to_its_parent() -> None:
    code = (
        "import os, signal, time; from lowzoo.system.signals import leave_signals_to_the_parent as leave; leave();"
        "os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGTERM); print('works', signal.alarm(0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[0], done.stderr) == (0, "works", "")
    assert 0 < int(done.stdout.split()[1]) <= 60


def _train(config: TrainConfig, world: Path, out: Path, resume: bool = False) -> None:
    multiprocessing.set_start_method("fork", force=True)
    try:
        with sigterm_as_exception():
            start(world, out, config, resume=resume).train(Progress())
    except Stopped as stopped:
        sys.exit(stopped.status)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_is_preempted_goes_on_to_the_same_bits(processes: int, tmp_path: Path) -> None:
    world = make_pictures(tmp_path / "world")
    config = config_of("seed", world, "epochs=8", "checkpoint_steps=0", "drop_path=0.1", "monitor_epochs=4")
    out, whole = tmp_path / "out", tmp_path / "whole"
    run_to_the_end(processes, _train, config, world, whole)
    running = start_processes(processes, _train, config, world, out)
    while not (out / "checkpoint.pt").exists() and running[0].is_alive():
        time.sleep(0.005)
    # A scheduler may tell one process of several; all leave, at the same step.
    os.kill(running[-1].pid or 0, signal.SIGTERM)
    for process in running:
        process.join(100)
    assert [process.exitcode for process in running] == [143] * processes
    state = load_checkpoint(out)
    assert state is not None
    assert 6 <= state["step"] < 48
    run_to_the_end(processes, _train, config, world, out, True)
    for file in ("model.safetensors", "head.safetensors"):
        assert (out / file).read_bytes() == (whole / file).read_bytes()
