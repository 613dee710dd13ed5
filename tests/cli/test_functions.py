"""Commands are made of public functions: which are, and what the functions of four of them give from Python."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import typer
from PIL import Image

import lowzoo
from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.cli.main import app
from tests.helpers.cli import runner

run = runner()

# Commands that call no function of their own, and why.
PLAIN = {
    "bench": "chooses between lowzoo.bench.latency, lowzoo.bench.compare and a report of earlier results",
    "list": "a table over lowzoo.list_models and lowzoo.model_info",
    "info": "a table over lowzoo.model_info and lowzoo.load",
    "cards": "keeps the files of this repository up to date",
    "download": "fetches what the functions would fetch themselves",
    "quickstart": "a tour that calls the functions one after the other",
}


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its words, with what is called for it."""
    pending: list[tuple[str, Any, Any]] = [("", typer.main.get_command(app), None)]
    while pending:
        name, command, parent = pending.pop(0)
        context = command.context_class(command, info_name=name or "lowzoo", parent=parent)
        if hasattr(command, "list_commands"):
            pending += [
                (f"{name} {each}".strip(), command.get_command(context, each), context)
                for each in command.list_commands(context)
            ]
        else:
            yield name, command.callback


def test_every_command_is_made_of_a_function_or_says_why_not() -> None:
    plain, seen = set(), set()
    for name, callback in commands():
        seen.add(name)
        function = inspect.unwrap(callback)
        if function.__module__.startswith("lowzoo.cli"):
            plain.add(name)
            continue
        kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
        free = [kind for kind in kinds if kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        assert len(free) <= 1, f"{name}: what comes after the first argument is named"
        assert "Returns:" in (inspect.getdoc(function) or ""), name
    assert plain == PLAIN.keys()
    assert {"convert", "data", "publish", "teachers", "embed", "eval knn", "train rob"} <= seen


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3)
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, tmp_path / "last.pth")
    return tmp_path / "last.pth"


def test_convert_gives_a_folder_and_what_was_left_out(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = lowzoo.convert(checkpoint, out=tmp_path / "a", arch="test_resnet")
    assert capsys.readouterr() == ("", "")
    assert (found.architecture, found.needs_lowzoo, found.out) == ("test_resnet", False, tmp_path / "a")
    network = found.model()
    assert found.tensors == len(network.state_dict())
    assert found.parameters == sum(
        value.numel() for value in network.state_dict().values() if value.is_floating_point()
    )
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, network.num_features)
    assert "classifier of 3 classes" in found.what
    assert f"local-dir:{tmp_path / 'a'}" in str(found)
    assert found._repr_html_().startswith("<pre>last.pth")
    status, out, error = run(capsys, "convert", checkpoint, "--arch", "test_resnet", "--out", tmp_path / "a", "--json")
    assert (status, json.loads(out)) == (0, json.loads(found.to_json())), error
    for words, message in (
        ({"arch": "test_resnet", "family": "seed_r18"}, "a family has its architecture"),
        ({"branch": "x"}, "--branch goes with --arch"),
        ({"arch": "resnet81"}, "unknown architecture resnet81"),
        ({"arch": "resnet18"}, "does not hold a resnet18"),
    ):
        with pytest.raises(LowzooError, match=message):
            lowzoo.convert(checkpoint, out=tmp_path / "b", **words)  # type: ignore[arg-type]
    assert not (tmp_path / "b").exists()


def test_publish_shows_the_card_and_sends_nothing(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lowzoo.convert(checkpoint, out=tmp_path / "run", arch="test_resnet").out
    facts = {"recipe": "sslight", "method": "DINO", "student": "test_resnet", "architecture": "test_resnet", "size": 64}
    facts |= {"features": 32, "teacher": None, "epochs": 1, "steps": 2, "batch_size": 4, "result": {}, "versions": {}}
    facts["data"] = {"name": "photographs", "images": 8, "fingerprint": "ab", "unreadable": 0}
    (folder / "run.json").write_text(json.dumps(facts))
    said: list[str] = []
    found = lowzoo.publish(folder, repo="me/mine", license="MIT", dry_run=True, progress=said.append)
    assert said == found.card.splitlines()
    assert (found.repo, found.url, found.revision) == ("me/mine", "", "")
    assert "nothing was sent to me/mine" in str(found)
    assert "photographs, 8 images" in found._repr_html_()
    status, out, err = run(capsys, "publish", folder, "--repo", "me/mine", "--license", "MIT", "--dry-run", "--json")
    assert (status, json.loads(out)) == (0, json.loads(found.to_json()))
    assert err == found.card
    with pytest.raises(LowzooError, match="the card needs the licence"):
        lowzoo.publish(folder, repo="me/mine", dry_run=True)


def test_teachers_are_a_table_with_all_facts(capsys: pytest.CaptureFixture[str]) -> None:
    found = lowzoo.teachers()
    assert found.names == list(catalog.teachers())
    assert found["dino_vits16"].head_dim == 65_536
    assert found._repr_html_().count("<tr>") == len(found) + 1
    msn = lowzoo.teachers(family="msn")
    assert {entry.family for entry in msn} == {"msn"}
    assert capsys.readouterr() == ("", "")
    assert run(capsys, "teachers", "--family", "msn")[1] == f"{msn}\n"
    assert json.loads(run(capsys, "teachers", "--family", "msn", "--json")[1]) == json.loads(msn.to_json())
    with pytest.raises(LowzooError, match=r"unknown family dinos \(near: dino\)"):
        lowzoo.teachers(family="dinos")


def test_a_report_of_images_is_facts_a_page_and_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for name in ("train/cat/0", "train/cat/1", "train/dog/2", "validation/dog/3"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "set" / f"{name}.png")
    twin = (tmp_path / "set" / "train" / "dog" / "2.png").read_bytes()
    (tmp_path / "set" / "validation" / "dog" / "4.png").write_bytes(twin)
    where = {"out": tmp_path / "report.html", "sheet": tmp_path / "sheet.png"}
    said: list[str] = []
    found = lowzoo.data_report(tmp_path / "set", features=False, progress=said.append, **where)
    assert said[0] == f"Data: {tmp_path / 'set'}"
    assert found.report.pictures == 5
    assert found.report.leaks[0].exact == 1
    assert any("validation" in problem for problem in found.problems)
    assert all(path.is_file() for path in where.values())
    assert "data:image/png;base64" in found._repr_html_()
    assert capsys.readouterr() == ("", "")
    words = ("data", tmp_path / "set", "--no-features")
    status, out, err = run(capsys, *words, "--json")
    assert (status, err) == (0, f"Data: {tmp_path / 'set'}\n")
    assert json.loads(out) == json.loads(found.to_json())
    assert run(capsys, *words, "--split", "train", "--split", "validation")[1].splitlines()[0] == said[0]
    assert run(capsys, *words, "--split", "train")[1].count("pictures") < str(found).count("pictures")
    assert "does not end in .html" in run(capsys, *words, "--out", tmp_path / "x.txt")[2]
    assert "orientation" in run(capsys, *words, "--orientation", "sideways")[2]


def test_images_that_a_program_holds_are_reported_too() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    found = lowzoo.data_report([picture, picture, picture + np.arange(8, dtype=np.uint8)[:, None]], features=False)
    assert (found.report.pictures, found.report.splits[0].copies, len(found.report.constant)) == (3, 1, 2)
    assert str(found).endswith("Next: lowzoo.train.rob(images)")
