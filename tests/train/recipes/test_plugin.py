"""Recipes and teachers from outside the package: a folder and an entry point, and every command knows them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lowzoo import catalog
from lowzoo.base.errors import LowzooError, LowzooWarning
from lowzoo.cards.publish_card import card_of_run
from lowzoo.checkpoints.files.torch_file import read_torch_file
from lowzoo.train.heads import HEADS
from lowzoo.train.heads.files import load_head
from lowzoo.train.monitoring.trackers import TRACKERS
from lowzoo.train.optim.optimizers import OPTIMIZERS
from lowzoo.train.recipes import RECIPES
from lowzoo.train.teachers import load_teacher
from tests.helpers.cli import exit_status
from tests.helpers.plugins import write_distribution
from tests.helpers.teacher_files import OUTPUTS, SIDE, make_checkpoint
from tests.helpers.train import make_pictures

REGISTRIES = (RECIPES, HEADS, TRACKERS, OPTIMIZERS)

DECLARATION = '''
"""Pull the views of an image together: a recipe for tests."""

from lowzoo.train.recipes import Recipe


class Toy(Recipe):
    name, label, student = "toy", "Toy", "test_vit"
    summary = "Pull the views of an image together."
    changeable = frozenset({"pull"})

    def config(self):
        from lowzoo_toy.method import ToyConfig

        return ToyConfig

    def outputs(self, config, teacher):
        return config.student_head.bottleneck

    def method(self, config, student, teacher):
        from lowzoo_toy.method import ToyMethod

        return ToyMethod(student, config)

    def defaults(self, facts, named, budget):
        view = {"name": "global", "count": 2, "size": 32, "scale": [0.4, 1.0]}
        return {"views": [view], "student_head": {"kind": "moco", "hidden": 16, "bottleneck": 8}}


TOY = Toy()
'''

METHOD = """
from typing import Literal

from torch.nn.functional import normalize

from lowzoo.train.networks.step import Method
from lowzoo.train.recipes.base import TrainConfig


class ToyConfig(TrainConfig):
    recipe: Literal["toy"] = "toy"
    pull: float = 1.0


class ToyMethod(Method):
    def __init__(self, student, config):
        super().__init__(student)
        self.config = config

    def loss(self, views, now):
        first, second = normalize(self.encode(views.groups, None, now).scores.float(), dim=-1)
        return self.config.pull * (1 - (first * second).sum(-1)).mean()
"""

PRESET = """
recipe = "toy"
student = "test_vit"
steps = 4
batch_size = 4
lr = 1e-3
weight_decay = 0.0
weight_decay_end = 0.0
[student_head]
kind = "moco"
hidden = 16
bottleneck = 8
[[views]]
name = "global"
count = 2
size = 32
scale = [0.4, 1.0]
"""
PARTS = """
import json

from torch import nn
from torch.optim import RMSprop

from lowzoo.train.heads import HeadKind
from lowzoo.train.monitoring.trackers import Offer
from lowzoo.train.optim.optimizers import OptimizerKind


class Written:
    def __init__(self, run):
        self.file = run.folder / "toy.jsonl"

    def log(self, numbers, step):
        with self.file.open("a") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\\n")

    def close(self):
        with self.file.open("a") as file:
            file.write("closed\\n")


def narrow(spec, in_dim, out_dim):
    return nn.Sequential(nn.Linear(in_dim, spec.hidden), nn.Tanh(), nn.Linear(spec.hidden, out_dim))


HEAD = HeadKind("toy_head", narrow)
LOG = Offer("toy_log", "Toy log", Written)
LACKING = Offer("toy_lacking", "Toy server", "nowhere:Log", package="no_such_package", install="toy[server]")
OPTIMIZER = OptimizerKind("toy_rms", lambda groups, config: RMSprop(groups, lr=config.peak_lr), states=1)
"""
PULLED = 'extends = ["toy_small"]\npull = 2.0\n'
SMALL = ["--set", "workers=0", "--set", "device=cpu", "--log", "none", "--set", "monitor_queries=8"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    files = {
        "lowzoo_toy/__init__.py": DECLARATION,
        "lowzoo_toy/method.py": METHOD,
        "lowzoo_toy/parts.py": PARTS,
        "lowzoo_toy/presets/toy_small.toml": PRESET,
        "lowzoo_toy/presets/toy_pulled.toml": PULLED,
    }
    entries = {
        "lowzoo.recipes": {"toy": "lowzoo_toy:TOY"},
        "lowzoo.heads": {"toy_head": "lowzoo_toy.parts:HEAD"},
        "lowzoo.trackers": {"toy_log": "lowzoo_toy.parts:LOG", "toy_lacking": "lowzoo_toy.parts:LACKING"},
        "lowzoo.optimizers": {"toy_rms": "lowzoo_toy.parts:OPTIMIZER"},
    }
    return write_distribution(site, "lowzoo-toy", entries, files)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures") / "set")


def in_a_process(site: Path, *words: object) -> str:
    """What a command prints, in a process of its own where the package is installed."""
    program = "from lowzoo.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(site)
    for registry in REGISTRIES:
        registry.refresh()
    yield RECIPES
    monkeypatch.undo()
    for registry in REGISTRIES:
        registry.refresh()


@pytest.mark.slow
def test_every_command_knows_a_recipe_of_another_package(site, pictures, tmp_path, installed, capsys) -> None:
    # Processes of their own find and train it. The rest is asked in this one, which has imported torch already.

    def lowzoo(*words: object, code: int = 0) -> str:
        status = exit_status(words)
        said = capsys.readouterr()
        assert status == code, said.out + said.err
        return said.out if code == 0 else said.err

    listed = in_a_process(site, "train", "--help")
    assert "toy" in listed
    assert "Pull the views of an image together." in listed
    helped = in_a_process(site, "train", "toy", "--help")
    assert "Presets: toy_pulled, toy_small." in helped
    assert "--student" in helped
    assert "--teacher" not in helped, "it has none"
    run = tmp_path / "run"
    words = ("train", "toy", "--data", pictures, "--out", run, *SMALL)
    assert "Finished: 3 steps" in in_a_process(site, *words, "--steps", 3, "--set", "pull=3.0")
    facts = json.loads((run / "run.json").read_text())
    assert (facts["recipe"], facts["method"], facts["paper"], facts["steps"]) == ("toy", "Toy", None, 3)
    said = lowzoo(*words, "--resume", "--steps", 5, "--set", "pull=1.5")
    assert "Resuming at step 3 of 5" in said
    assert "pull 3.0 -> 1.5 from step 3 on" in said
    assert "unknown preset 'tiny' of toy" in lowzoo(*words, "--preset", "tiny", code=2)
    assert "knn_top1" in lowzoo("eval", "knn", run, "--data", pictures, "--k", 2)
    assert re.search(r"method +Toy\n", lowzoo("info", run))
    lowzoo("list", "--recipe", "toy")
    assert "unknown recipe toyy (near: toy)" in lowzoo("list", "--recipe", "toyy", code=2)
    lowzoo("cards", "--check")
    lowzoo("export", run, "--format", "onnx", "--out", tmp_path / "toy.onnx")
    assert (tmp_path / "toy.onnx").is_file()


def test_presets_of_another_package_extend_one_another_and_its_rules_choose(installed, pictures) -> None:
    from lowzoo.train.settings.config import preset_names, resolve

    config = resolve("toy_pulled")
    assert (config.recipe, config.pull, config.steps, config.method_name) == ("toy", 2.0, 4, "Toy")
    assert {"toy_pulled", "toy_small", "rob_dino"} <= set(preset_names())
    with pytest.raises(LowzooError, match="unknown configuration key 'pul'"):
        resolve("toy_pulled", settings=["pul=1"])


def test_a_call_by_name_trains_it(installed, pictures, tmp_path) -> None:
    import lowzoo.train

    settings = {"workers": 0, "monitor_queries": 8, "pull": 2.0}
    run = lowzoo.train.run(
        "toy", pictures, steps=2, out=tmp_path / "run", device="cpu", log=["none"], settings=settings
    )
    assert (run.recipe, run.steps, run.facts["method"]) == ("toy", 2, "Toy")
    assert run.knn_after is not None
    card = card_of_run(dict(run.facts), "me/toy", "MIT", needs_lowzoo=False, size=32)
    assert "trained by Toy with lowzoo.\n" in card
    assert "Citation" not in card, "it has no paper"
    assert "pull = 2.0" in (tmp_path / "run" / "config.toml").read_text()


def test_a_head_a_tracker_and_an_optimiser_of_another_package_train(installed, pictures, tmp_path) -> None:
    import lowzoo.train

    settings = {
        "workers": 0,
        "monitor_queries": 8,
        "student_head.kind": "toy_head",
        "student_head.hidden": 4,
        "optimizer": "toy_rms",
    }
    out = tmp_path / "run"
    lowzoo.train.run("toy", pictures, steps=2, out=out, device="cpu", log=["toy_log"], settings=settings)
    head, spec, _, outputs = load_head(out / "head.safetensors")
    assert (spec.kind, type(head[1]).__name__, outputs) == ("toy_head", "Tanh", 8)
    *rows, last = (out / "toy.jsonl").read_text().splitlines()
    assert last == "closed"
    assert {"step", "monitor/feature_rank"} <= json.loads(rows[-1]).keys()
    assert 'optimizer = "toy_rms"' in (out / "config.toml").read_text()


def test_what_is_not_there_of_them_is_refused_by_name(installed, pictures, tmp_path) -> None:
    import lowzoo.train
    from lowzoo.train.settings.config import resolve

    with pytest.raises(LowzooError, match="--log toy_lacking needs Toy server, which is not installed") as caught:
        lowzoo.train.run("toy", pictures, steps=2, out=tmp_path / "run", device="cpu", log=["toy_lacking"])
    assert "pip install 'toy[server]'" in caught.value.remedy
    for setting, near in (
        ("student_head.kind=toy_hed", "toy_head"),
        ("log=toy_logg", "toy_log"),
        ("optimizer=toy_rmms", "toy_rms"),
    ):
        with pytest.raises(LowzooError, match=rf"is impossible: there is no .* \(near: .*{near}"):
            resolve("toy_small", settings=[setting])
    with pytest.raises(LowzooError, match="teacher_prototypes needs a student_head"):
        resolve("rob_dino", settings=["teacher_prototypes=true", "student_head.kind=toy_head"])


def test_a_head_whose_package_is_not_installed_says_what_is_missing(tmp_path) -> None:
    from safetensors.torch import save_file

    facts = json.dumps({"spec": {"kind": "toy_head"}, "in_dim": 4, "out_dim": 2})
    save_file({"0.weight": torch.zeros(2, 4)}, tmp_path / "head.safetensors", metadata={"lowzoo.head": facts})
    with pytest.raises(
        LowzooError, match=r"cannot be made here \(kind: there is no projection head of that name"
    ) as no:
        load_head(tmp_path / "head.safetensors")
    assert "Install the package that brings it" in no.value.remedy


def test_a_run_of_a_recipe_that_is_not_installed_says_what_is_missing(tmp_path) -> None:
    (tmp_path / "config.toml").write_text(PRESET)
    from lowzoo.train.runs.folder import read_config

    with pytest.raises(LowzooError, match=r"recipe = 'toy' is impossible. .* or install the package that brings it"):
        read_config(tmp_path)


def test_a_recipe_whose_configuration_lacks_the_teacher_it_needs_is_refused(installed, monkeypatch) -> None:
    from lowzoo.train.recipes import Needs
    from lowzoo.train.settings.config import config_class

    monkeypatch.setattr(type(RECIPES["toy"]), "needs", Needs(teacher=True))
    with pytest.raises(LowzooError, match="configuration of recipe toy, ToyConfig, is no TaughtConfig"):
        config_class("toy")


FAMILY = """
from dataclasses import replace

from lowzoo.catalog import TeacherEntry, TeacherFamily

ENTRY = TeacherEntry(
    name="toy_teacher", family="toy_dino", architecture="test_vit", feature_dim=64, params=370_000, label_free=True,
    training="at random, for a test", head_included=True, license="MIT", source="a test", positions="dino",
    input_size=(3, SIDE, SIDE), file="toy.pth",
)


def split(content, path):
    from lowzoo.checkpoints.families import dino

    return dino.split(content["toy"], path)


FAMILY = TeacherFamily(
    "toy_dino", split, "lowzoo.train.teachers.published.heads:dino_head", teachers=(ENTRY, replace(ENTRY,
    name="dino_vits16"))
)
"""


def test_teachers_of_another_package_are_named_and_read(tmp_path, monkeypatch) -> None:
    write_distribution(
        tmp_path,
        "lowzoo-toy-teacher",
        {"lowzoo.teachers": {"toy_dino": "toy_family:FAMILY"}},
        {"toy_family.py": FAMILY.replace("SIDE", str(SIDE))},
    )
    make_checkpoint("dino", tmp_path / "file.pth")
    torch.save({"toy": read_torch_file(tmp_path / "file.pth")}, tmp_path / "toy.pth")
    monkeypatch.syspath_prepend(tmp_path)
    catalog.TEACHER_FAMILIES.refresh()
    catalog.teachers.cache_clear()
    try:
        with pytest.warns(LowzooWarning, match=r"the teacher dino_vits16 of lowzoo-toy-teacher 0.1 is left out"):
            known = catalog.teachers()
        assert known["toy_teacher"].has_prototypes
        assert known["dino_vits16"].family == "dino"
        teacher = load_teacher("toy_teacher", size=SIDE, file=str(tmp_path / "toy.pth"))
        assert (teacher.facts.head, teacher.facts.license) == ("own (toy_dino)", "MIT")
        assert teacher(torch.zeros(1, 2, 3, SIDE, SIDE)).shape == (1, 2, OUTPUTS)
        with pytest.raises(LowzooError, match="has no branch"):
            load_teacher("dino_vits16", size=SIDE, file=str(tmp_path / "toy.pth"))
    finally:
        monkeypatch.undo()
        catalog.TEACHER_FAMILIES.refresh()
        catalog.teachers.cache_clear()
