"""Without a terminal, what takes long says now and then how far it is."""

import functools

import pytest
import torch

from lowzoo.base import progress
from lowzoo.base.progress import Pace, duration, progress_bar
from lowzoo.train.monitoring import progress as train_progress
from lowzoo.train.monitoring.progress import Progress, track


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = functools.partial(Pace, 0.0, 0.0)
    monkeypatch.setattr(progress, "Pace", pace)
    monkeypatch.setattr(train_progress, "Pace", pace)


def test_lines_come_at_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    pace = Pace(5, 30)
    due = []
    for _ in range(100):
        now[0] += 1
        if pace.due():
            due.append(now[0] - 100)
    assert due == [5, 35, 65, 95]


@pytest.mark.usefixtures("hurried")
def test_a_bar_becomes_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("features of x [1]", 4) as advance:
        advance(1)
        advance(3)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith("features of x [1]: 1 of 4, ")
    assert err.splitlines()[0].endswith(" s left")
    assert err.splitlines()[1] == "features of x [1]: 4 of 4, in 0 s"
    with progress_bar("nothing", 4, wanted=False) as advance:
        advance(1)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("hurried")
def test_nothing_is_left_of_what_is_over_and_nothing_is_said_of_a_single_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_bar("preparing", 1) as advance:
        advance(1)
    bar = Progress()
    with bar.running(1, 0, 8):
        bar.step(1, torch.tensor(2.5))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("step 1 of 1, loss 2.500, ")
    assert "left" not in line


@pytest.mark.usefixtures("hurried")
def test_a_run_shows_loss_neighbours_speed_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Progress()
    with bar.running(20, 10, 8):
        bar.step(11, torch.tensor(2.5))
        bar.note(12, {"step": 12, "knn": 43.21, "own_view": 8.0, "rankme": 30.5})
        bar.lengthen(21)
        bar.step(12, torch.tensor(2.25))
        assert list(track([1, 2], "loading images")) == [1, 2]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("step 11 of 20, loss 2.500, ")
    assert lines[0].endswith(" left")
    assert " images/s, " in lines[0]
    assert lines[1] == "step 12 of 20, k-NN 43.2 %, own view found 8.0 %"
    assert lines[2].startswith("step 12 of 21, loss 2.250, k-NN 43.2 %, own view found 8.0 %, ")
    assert lines[-1].startswith("loading images: 2 of 2")


@pytest.mark.usefixtures("hurried")
def test_a_budget_tells_what_is_left_before_the_steps_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Progress()
    left = iter([90.0, 30.0, 0.0])
    with bar.running(None, 0, 8, lambda: next(left)):
        bar.step(2, torch.tensor(2.5))
        bar.note(2, {"knn": 43.21})
        bar.lengthen(21)
        bar.step(12, torch.tensor(2.25))
        bar.step(21, torch.tensor(2.25))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("step 2, loss 2.500, ")
    assert lines[0].endswith(" images/s, 90 s left")
    assert lines[1] == "step 2, k-NN 43.2 %"
    assert lines[2].startswith("step 12 of 21, ")
    assert lines[2].endswith(", 30 s left")
    assert lines[3].endswith(" images/s")


def test_a_bar_on_a_terminal_counts_up_to_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_progress, "shows_bars", lambda: True)
    bar = Progress()
    (task,) = bar._bar.tasks
    left = bar._bar.columns[-1]
    with bar.running(None, 0, 8, lambda: 90.0):
        assert task.total is None
        assert left.render(task).plain == "90 s"
        bar.lengthen(21)
        assert task.total == 21
        assert left.render(task).plain == "90 s"
    with bar.running(20, 0, 8):
        assert task.total == 20
        assert left.render(task).plain != "90 s"


def test_a_short_stage_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("short", 100) as advance:
        for _ in range(100):
            advance(1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (120, "2 min"), (3_900, "1 h 05 min"), (200_000, "2 d 8 h")],
)
def test_times_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
