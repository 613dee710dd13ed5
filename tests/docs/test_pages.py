"""What README and documentation show does what stands there: page by page, on a small folder of labelled drawings."""

import os
import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from lowzoo import catalog
from lowzoo.export.parity import checker
from tests.docs.blocks import PAGES, ROOT, SHOWN, blocks_of, name, registries, run_page

CARDS = sorted((ROOT / "model_cards").glob("*.md"))
RUN = [page for page in PAGES if any(not block.norun and block.language not in SHOWN for block in blocks_of(page))]
CLASSES, TRAIN, VALIDATION = 3, 12, 4
# A file is compared with PyTorch on so many drawings beside the photographs: how near it is, is tested elsewhere.
COMPARED = 6
# Of the student that few images get.
WIDTH = catalog.models()["rob_resnet18"].feature_dim


def make_photos(folder: Path) -> None:
    """Some of the embedded drawings, as a reader has photographs: a folder a class, for training and for validation."""
    with ZipFile(str(files("lowzoo.data.samples") / "clipart.zip")) as archive:
        members: dict[str, list[str]] = {}
        for member in archive.namelist():
            members.setdefault(member.rpartition("/")[0], []).append(member)
        for split, count in (("train", TRAIN), ("validation", VALIDATION)):
            for group in sorted(key for key in members if key.startswith(split))[:CLASSES]:
                archive.extractall(folder, members[group][:count])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A reader's folder with photographs, where packages that a page writes are found."""
    make_photos(tmp_path / "photos")
    spread = checker.spread
    monkeypatch.setattr(
        checker, "spread", lambda count, wanted: spread(count, COMPARED if wanted == checker.PICTURES else wanted)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))
    before = set(sys.modules)
    yield tmp_path
    monkeypatch.undo()
    for module in set(sys.modules) - before:
        if module.split(".")[0].startswith("lowzoo_"):
            del sys.modules[module]
    for registry in registries():
        registry.refresh()


def test_the_readme_has_python_for_each_verb() -> None:
    text = "".join(block.text for block in blocks_of(ROOT / "README.md") if block.language == "python")
    for verb in ("load", "train.rob", "evaluate.knn", "embed", "export.export", "export.check", "bench.latency"):
        assert f"lowzoo.{verb}(" in text


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=name)
def test_a_page_runs_from_top_to_bottom(page: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run_page(page, place)
    said = capsys.readouterr().out
    if page.name == "README.md" and page.parent == ROOT:
        assert names["vectors"].shape == (CLASSES * TRAIN, WIDTH)
        for words in ("k-NN", "every bound is kept", "ms"):
            assert words in said


@pytest.mark.slow
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_a_card_gives_features_of_the_shape_that_it_names(card: Path, place: Path) -> None:
    """Weights that would be fetched stay random: the network is the same."""
    here = catalog.describe(card.stem)["weights"]["origin"] == "bundled"
    names = run_page(card, place, str if here else lambda text: text.replace("pretrained=True", "pretrained=False"))
    said = re.search(r"# \((\d+), (\d+)\)", card.read_text(encoding="utf-8"))
    if said is not None:
        assert isinstance(names["features"], torch.Tensor)
        assert tuple(names["features"].shape) == (int(said[1]), int(said[2]))
