"""`lowzoo.train.rob`, `seed`, `sslight` and `run`: plain arguments, a result, and nothing printed unless asked."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lowzoo.train
from lowzoo.base.errors import LowzooError
from lowzoo.train.settings.config import named_fields, setting_words

TINY = {
    "workers": 0,
    "monitor_bank": 24,
    "monitor_queries": 8,
    "student_head.layers": 2,
    "student_head.hidden": 16,
    "student_head.bottleneck": 8,
    "teacher_prototypes": False,
    "view.global.size": 32,
}


def tiny(taught: Path, out: Path, **more):
    words = {
        "student": "test_vit",
        "teacher": taught / "teacher",
        "device": "cpu",
        "log": "none",
        "batch_size": 4,
    }
    return words | {"steps": 2, "out": out, "settings": TINY} | more


def test_importing_it_costs_nothing() -> None:
    code = (
        "import sys, inspect, lowzoo.train as t\n"
        "assert inspect.signature(t.rob).parameters['devices'].default == 1\n"
        "print(sorted({'torch', 'timm', 'numpy', 'typer', 'rich', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["rob", "seed", "sslight", "run"])
def test_every_argument_stands_in_the_signature_and_has_its_line(name: str) -> None:
    function = getattr(lowzoo.train, name)
    parameters = list(inspect.signature(function).parameters.values())
    first = 2 if name == "run" else 1
    assert all(each.kind is inspect.Parameter.KEYWORD_ONLY for each in parameters[first:])
    assert {"steps", "resume", "from_step", "settings", "progress", "orientation", "labels"} <= {
        each.name for each in parameters
    }
    for each in parameters:
        assert f"\n    {each.name}: " in function.__doc__
        assert each.kind is not inspect.Parameter.VAR_KEYWORD


def test_a_run_gives_its_folder_its_figures_and_its_network_and_prints_nothing(taught, tmp_path, capfd) -> None:
    run = lowzoo.train.rob(taught / "pictures", **tiny(taught, tmp_path / "run"))
    assert (run.folder, run.recipe, run.steps) == (tmp_path / "run", "rob", 2)
    assert 0 <= run.knn_before <= 100
    assert 0 <= run.knn_after <= 100
    assert "k-NN top-1 on held-out images" in run.verdict
    assert run.minutes > 0
    assert run.facts["paper"]["arxiv"] == "2301.09451"
    network = run.model()
    assert not network.training
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 64)
    html = run._repr_html_()
    assert "2 steps" in html
    assert "data:image/png;base64," in html
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_place_for_lines_gets_what_a_command_would_say(taught, tmp_path, capfd) -> None:
    said: list[str] = []
    lowzoo.train.rob(taught / "pictures", **tiny(taught, tmp_path / "run", progress=said.append))
    text = "\n".join(said)
    for part in ("RoB-MSN: test_vit from", "Finished: 2 steps", "Everything is in", "step 2 of 2"):
        assert part in text
    assert capfd.readouterr() == ("", "")
    lowzoo.train.rob(taught / "pictures", **tiny(taught, tmp_path / "told", verbose=True))
    assert "Finished: 2 steps" in capfd.readouterr().out


def test_pictures_of_a_program_train_as_well(tmp_path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(6)]
    mixed = [Image.fromarray(pictures[0]), torch.from_numpy(pictures[1]).permute(2, 0, 1), *pictures[2:]]
    settings = {"workers": 0, "student_head.hidden": 16, "prototypes": 24, "view.global.size": 32}
    run = lowzoo.train.sslight(
        mixed,
        student="test_vit",
        method="dino",
        steps=1,
        batch_size=4,
        out=tmp_path / "run",
        device="cpu",
        log="none",
        settings=settings | {"view.local.size": 16},
    )
    assert run.facts["data"]["images"] == 6
    assert run.knn_after is None, "they have no classes"


@pytest.mark.slow
def test_a_run_goes_on_and_refuses_what_cannot_change(taught, tmp_path) -> None:
    words = tiny(taught, tmp_path / "run")
    lowzoo.train.rob(taught / "pictures", **words)
    with pytest.raises(LowzooError, match="already holds a run"):
        lowzoo.train.rob(taught / "pictures", **words)
    more = lowzoo.train.rob(taught / "pictures", **{**words, "steps": 3, "resume": True})
    assert more.steps == 3
    with pytest.raises(LowzooError, match="started with other values of batch_size"):
        lowzoo.train.rob(taught / "pictures", **{**words, "batch_size": 8, "resume": True})


def test_settings_of_a_program_are_those_of_the_command(tmp_path) -> None:
    given = {
        "student_head.hidden": np.int64(512),
        "student": "true",
        "guard": False,
        "betas": (0.9, 0.95),
        "teacher": Path("a") / "b",
        "views": [{"name": "global", "count": 1, "size": 32, "scale": [0.4, 1.0]}],
    }
    fields = named_fields(settings=setting_words(given))
    assert fields == {
        "student_head": {"hidden": 512},
        "student": "true",
        "guard": False,
        "betas": [0.9, 0.95],
        "teacher": str(Path("a") / "b"),
        "views": [{"name": "global", "count": 1, "size": 32, "scale": [0.4, 1.0]}],
    }
    with pytest.raises(LowzooError, match="the setting lr is a NoneType, which no configuration has"):
        setting_words({"lr": None})


def test_an_unknown_recipe_is_answered_with_those_there_are() -> None:
    with pytest.raises(LowzooError, match=r"unknown recipe 'robb' \(near: rob\)"):
        lowzoo.train.run("robb")


def test_what_a_command_could_not_be_given_is_refused(taught, tmp_path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'stepz'"):
        lowzoo.train.rob(taught / "pictures", stepz=3)
    for wrong, message in (
        ({"devices": 0}, "devices = 0 is impossible"),
        ({"from_step": -1}, "from_step = -1 is impossible"),
        ({"from_step": True}, "from_step = True is impossible"),
        ({"steps": True}, "steps = True is no number"),
        ({"batch_size": True}, "batch_size = True is no number"),
        ({"seed": 2**50}, "seed = 1125899906842624 is impossible"),
        ({"log": 5}, "log = 5 is impossible"),
        ({"loss": "dyno"}, "loss = 'dyno' is impossible"),
        ({"precision": "int8"}, "precision = 'int8' is impossible"),
        ({"log": ["tensorbord"]}, "log.0 = 'tensorbord' is impossible"),
        ({"views": "softer"}, "unknown views 'softer'"),
        ({"orientation": "up"}, "an orientation of 'up' is impossible"),
        ({"settings": {"epochz": 3}}, "unknown configuration key 'epochz'"),
    ):
        with pytest.raises(LowzooError, match=message):
            lowzoo.train.rob(taught / "pictures", **tiny(taught, tmp_path / "run", **wrong))
    with pytest.raises(LowzooError, match="a generator is no source of images"):
        lowzoo.train.rob((each for each in ()), **tiny(taught, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


SCRIPT = """
import lowzoo.train
{more}
words = dict(student="test_vit", teacher={teacher!r}, device="cpu", log="none", batch_size=4, steps=2)
run = lowzoo.train.rob({data!r}, out={out!r}, settings={settings!r}, devices={devices}, verbose=True, **words)
print("trained", run.steps, run.knn_after is not None)
"""


def run_script(taught: Path, tmp_path: Path, *, devices: int = 1, more: str = "", workers: int = 0):
    script = tmp_path / "script.py"
    out = tmp_path / "run"
    text = SCRIPT.format(
        data=str(taught / "pictures"),
        teacher=str(taught / "teacher"),
        out=str(out),
        devices=devices,
        more=more,
        settings=TINY | {"workers": workers},
    )
    script.write_text(text)
    return subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "workers", "more"),
    [(2, 0, ""), (1, 2, "import multiprocessing; multiprocessing.set_start_method('spawn')")],
)
def test_a_script_without_a_guard_trains_once(taught, tmp_path, devices: int, workers: int, more: str) -> None:
    done = run_script(taught, tmp_path, devices=devices, workers=workers, more=more)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained 2 True") == 1
    assert done.stdout.count("Finished: 2 steps") == 1


@pytest.mark.slow
def test_a_script_that_its_processes_need_and_cannot_have_is_told_so(taught, tmp_path) -> None:
    more = (
        "from lowzoo.train.recipes import RECIPES\n"
        "from lowzoo.train.recipes.rob import Rob\n"
        "class Mine(Rob):\n    label = 'Mine'\n"
        "RECIPES._builtin.pop('rob'); RECIPES.add(Mine())\n"
    )
    done = run_script(taught, tmp_path, devices=2, more=more)
    assert done.returncode != 0
    assert 'Put the call under `if __name__ == "__main__":`' in done.stderr
    assert "trained 2" not in done.stdout


@pytest.mark.parametrize("words", [{"data": np.array(5)}, {"out": 5}, {"config": 5.0}])
def test_what_is_no_path_and_no_images_is_refused_in_a_line(words: dict[str, object]) -> None:
    with pytest.raises(LowzooError, match=r"is no source of images|which is none"):
        lowzoo.train.sslight(**({"data": None, "steps": 1} | words))  # type: ignore[arg-type]


def test_a_path_is_never_a_name_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("resnet18").mkdir()
    with pytest.raises(LowzooError, match="resnet18 is no model folder"):
        lowzoo.train.rob(None, teacher=Path("resnet18"), steps=1, out=tmp_path / "run")
