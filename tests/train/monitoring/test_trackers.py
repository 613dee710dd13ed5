"""Where the numbers of a run go: chosen by name, said or refused where absent, and never the end of a run."""

import json
import sys
from pathlib import Path

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.monitoring.trackers import TRACKERS, Offer, TrackedRun, Trackers, check_trackers
from tests.helpers.train import config_of, start

WANDB = """
calls = []
class Run:
    def define_metric(self, name, step_metric): calls.append(["axis", name, step_metric])
    def log(self, numbers): calls.append(["log", numbers])
    def finish(self): calls.append(["finish"])
def init(**words):
    calls.append(["init", words["id"], words["resume"], words["name"], words["config"]["epochs"]])
    return Run()
"""
MLFLOW = """
import types
calls = []
def set_experiment(name): calls.append(["experiment", name])
def start_run(run_id=None, run_name=None):
    calls.append(["start", run_id, run_name])
    return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id or "made-up"))
def log_params(values): calls.append(["params", values["epochs"]])
def log_metrics(numbers, step): calls.append(["log", step, numbers])
def end_run(): calls.append(["end"])
"""


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("wandb", WANDB), ("mlflow", MLFLOW)):
        (tmp_path / "stand_ins" / name).mkdir(parents=True)
        (tmp_path / "stand_ins" / name / "__init__.py").write_text(text)
        for module in (name, f"lowzoo.train.monitoring.trackers.{name}_log"):
            monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "stand_ins"))


@pytest.mark.slow
@pytest.mark.usefixtures("stand_ins")
def test_both_get_the_numbers_and_find_their_run_again(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = config_of("rob_dino", world, "epochs=1").model_copy(update={"log": ("wandb", "mlflow")})
    start(world, out, config).train(Progress())
    longer = config.model_copy(update={"epochs": 2})
    start(world, out, longer, resume=True).train(Progress())
    sent, kept = sys.modules["wandb"].calls, sys.modules["mlflow"].calls
    identity = (out / "wandb.txt").read_text().strip()
    assert [call for call in sent if call[0] == "init"] == [
        ["init", identity, "allow", "run", epochs] for epochs in (1, 2)
    ]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [call[1]["step"] for call in sent if call[0] == "log"] == [row["step"] for row in rows]
    assert [call[1] for call in kept if call[0] == "log"] == [row["step"] for row in rows]
    assert sent[-1] == ["finish"]
    assert kept[-1] == ["end"]
    assert [call for call in kept if call[0] == "start"] == [["start", None, "run"], ["start", "made-up", None]]
    assert sum(call[0] == "params" for call in kept) == 1
    losses = [call[2]["train/loss"] for call in kept if call[0] == "log" and "train/loss" in call[2]]
    assert losses == [row["loss"] for row in rows if "loss" in row]
    assert any("monitor/knn" in call[1] for call in sent if call[0] == "log")


def test_tensorboard_that_is_absent_is_said_and_others_are_refused(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Offer, "installed", lambda _: False)
    said: list[str] = []
    assert check_trackers(("tensorboard",), said.append) == []
    assert "TensorBoard is not installed" in said[0]
    assert "lowzoo[tensorboard]" in said[0]
    for name in ("wandb", "mlflow"):
        config = config_of("rob_dino", world).model_copy(update={"log": (name,)})
        with pytest.raises(LowzooError, match=f"--log {name} needs") as caught:
            start(world, tmp_path / name, config)
        assert f"lowzoo[{name}]" in caught.value.remedy
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["log=wandb"], ("wandb",)),
        (["log=none"], ()),
        (["log=[]"], ()),
        (["tensorboard=true"], ("tensorboard",)),
        (["tensorboard=false"], ()),
        (['log=["mlflow", "tensorboard"]', "tensorboard=false"], ("mlflow",)),
    ],
)
def test_trackers_are_chosen_by_name(settings: list[str], expected: tuple[str, ...]) -> None:
    from lowzoo.train.settings.config import resolve

    assert resolve("sample", settings=settings).log == expected


def test_an_unknown_tracker_is_refused_by_name() -> None:
    from lowzoo.train.settings.config import resolve

    with pytest.raises(LowzooError, match="there is no tracker of that name, only tensorboard, wandb, mlflow"):
        resolve("sample", settings=["log=comet"])
    with pytest.raises(LowzooError, match=r"log.0 = 'mlfow' is impossible: .* \(near: mlflow\)"):
        resolve("sample", settings=["log=mlfow"])


def test_a_tracker_that_fails_costs_a_line_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def log(self, numbers: dict[str, float], step: int) -> None:
            raise ConnectionError("the server is gone")

        def close(self) -> None:
            raise AssertionError("it is not asked again")

    monkeypatch.setattr(Offer, "start", lambda *_: Failing())
    said: list[str] = []
    trackers = Trackers(["mlflow"], TrackedRun(tmp_path, {}, 0), said.append)
    for step in (1, 2):
        trackers.add({"step": step, "loss": 1.0})
    trackers.close()
    assert said == ["MLflow failed and gets no more: the server is gone; metrics.jsonl has all"]
    monkeypatch.setattr(Offer, "start", lambda *_: 1 / 0)
    with pytest.raises(LowzooError, match="MLflow cannot begin: division by zero"):
        Trackers(["mlflow"], TrackedRun(tmp_path, {}, 0), said.append)


def test_each_tracker_comes_with_an_extra_of_its_name() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    own = [TRACKERS[name] for name in ("tensorboard", "wandb", "mlflow")]
    assert [offer.install for offer in own] == [f"lowzoo[{offer.package}]" for offer in own]
    assert {offer.package for offer in own} <= set(project["optional-dependencies"])
