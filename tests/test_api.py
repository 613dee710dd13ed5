"""From Python: what a notebook does in a few lines, without a word on the console."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import lowzoo
from lowzoo.base.errors import LowzooError, LowzooWarning
from lowzoo.checkpoints.folder import write_model_folder
from lowzoo.data.source import images_of
from lowzoo.evaluate.evaluation import Evaluation
from lowzoo.preprocess.transform import preprocess
from tests.helpers.export import SIDE, TinyNet, tiny_resolved

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


class Fine(nn.Module):
    """A network of one's own with a classifier of three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.network = TinyNet()
        self.classifier = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.classifier(self.network(x))
        return scores


def fine() -> nn.Module:
    torch.manual_seed(1)
    return Fine().train()


def loaded(network: nn.Module) -> Any:
    how: dict[str, Any] = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25), "interpolation": "bicubic"}
    return lowzoo.load(network, size=SIDE, crop_pct=0.9, name="fine", **how)


def coloured(count: int) -> Any:
    """Pictures of two classes that any network tells apart."""
    pictures = [np.full((40, 40, 3), 30 + 180 * (i % 2) + i, np.uint8) for i in range(count)]
    return images_of(pictures, [i % 2 for i in range(count)], ["dark", "light"])


def test_load_gives_network_transform_and_facts() -> None:
    found = lowzoo.load("rob_vit_tiny")
    assert not found.model.training
    expected = preprocess(PIXELS, found)
    for image in (PIXELS, Image.fromarray(PIXELS), torch.from_numpy(PIXELS).permute(2, 0, 1)):
        assert torch.equal(found.transform(image), expected)
    assert found.model(expected[None]).shape == (1, 192)
    assert found.name in found._repr_html_()


def test_a_path_is_read_as_a_file_is(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    resolved = tiny_resolved()
    assert torch.equal(resolved.transform(tmp_path / "x.png"), preprocess(PIXELS, resolved))


def test_create_model_takes_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    network = timm.create_model("test_resnet", num_classes=0)
    cfg = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "crop_pct": 1.0}
    write_model_folder(tmp_path / "run", network.state_dict(), "test_resnet", cfg=cfg, arguments={}, facts={})
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "run", str(tmp_path / "run"), Path("run")):
        found = lowzoo.create_model(name)
        assert found.training
        assert all(torch.equal(found.state_dict()[key], value) for key, value in network.state_dict().items())
    assert lowzoo.create_model(tmp_path / "run", num_classes=5)(torch.zeros(1, 3, 64, 64)).shape == (1, 5)
    with pytest.raises(LowzooError, match="pretrained=False"):
        lowzoo.create_model(tmp_path / "run", pretrained=False)


def test_embed_takes_pictures_of_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    lines: list[str] = []
    found = lowzoo.embed(
        [PIXELS, Image.fromarray(PIXELS), tensor.float() / 255],
        model=tiny_resolved(),
        sheet=tmp_path / "x.png",
        device="cpu",
        progress=lines.append,
    )
    assert found.vectors.shape == (3, 6)
    assert (found.vectors == found.vectors[0]).all()
    assert (found.paths, found.labels) == (["image 0", "image 1", "image 2"], [None] * 3)
    assert (tmp_path / "x.png").is_file()
    assert lines[0] == "Data: given images"
    assert json.loads(found.to_json())["images"] == 3
    assert "data:image/png;base64" in found._repr_html_()
    assert capsys.readouterr() == ("", "")


def test_a_network_of_ones_own_is_not_changed() -> None:
    network = fine()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = loaded(network)
    found.model(torch.zeros(1, 3, SIDE, SIDE))
    assert network.training
    assert not found.model.training
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "no mean, no std, no size"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, "no size"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3, "size": 4}, "size of 4 px is impossible"),
        ({"mean": (0.5,), "std": (0.5,), "size": 32}, "does not run on 1 channels"),
    ],
)
@pytest.mark.filterwarnings("ignore::lowzoo.base.errors.LowzooWarning")
def test_what_nothing_says_how_to_feed_is_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(LowzooError, match=message):
        lowzoo.load(fine(), **how)


def test_what_is_assumed_is_said() -> None:
    with pytest.warns(LowzooWarning, match="interpolation bicubic, crop_pct 0.875"):
        lowzoo.load(fine(), size=SIDE, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.slow
def test_a_network_of_ones_own_is_exported_with_its_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = fine()
    found = loaded(network)
    artifact = lowzoo.export.export(found, classes=["a", "b", "c"], out=tmp_path / "x.onnx")
    assert artifact.spec.classes == ("a", "b", "c")
    assert artifact.parity.min_cosine > 0.9999
    assert "logits" in artifact.to_json()
    assert "Parity with PyTorch" in artifact._repr_html_()
    report = lowzoo.export.check(artifact.path, against=found)
    assert (report.broken, report.same_weights) == ((), True)
    assert capsys.readouterr() == ("", "")
    with torch.no_grad():
        network.classifier.weight.mul_(-1)  # type: ignore[union-attr,operator]
    other = lowzoo.export.check(artifact.path, against=loaded(network))
    assert other.broken
    assert other.same_weights is False
    with pytest.raises(LowzooError, match="a network that a program built"):
        lowzoo.export.check(artifact.path)
    with pytest.raises(LowzooError, match="gives 3 numbers, the list names 2 classes"):
        lowzoo.export.export(found, classes=["a", "b"], out=tmp_path / "y.onnx")
    assert not (tmp_path / "y.onnx").exists()


@pytest.mark.slow
def test_latency_of_a_network_and_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.helpers.bench import SHORT

    monkeypatch.setattr("lowzoo.bench.results.protocol.QUICK", SHORT)
    monkeypatch.setattr("lowzoo.bench.host.target.WATCH_S", 0.0)
    found = lowzoo.bench.latency(tiny_resolved(), quick=True, repeats=1, out=tmp_path / "x.json")
    assert found.median_ms > 0
    assert found.to_json() == (tmp_path / "x.json").read_text()
    pair = lowzoo.bench.compare(tiny_resolved(), tiny_resolved(), quick=True, repeats=1)
    assert pair.ratio > 0
    assert "Verdict" in pair._repr_html_()
    with pytest.raises(LowzooError, match="--serial is for android, not for host"):
        lowzoo.bench.latency(tiny_resolved(), serial="x")


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("knn", {"k": 3}),
        ("linear", {"features": ["own"]}),
        ("lowshot", {"shots": (2,), "share": 0.0, "splits": 1}),
        ("finetune", {"protocol": "swav", "share": 0.5, "epochs": 1, "batch_size": 8}),
    ],
)
def test_protocols_take_a_source_of_pictures(
    protocol: str, options: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate: Callable[..., Evaluation] = getattr(lowzoo.evaluate, protocol)
    found = evaluate(tiny_resolved(), data=coloured(40), device="cpu", out=tmp_path / "x.json", **options)
    assert 0 <= found.top1 <= 100
    assert found.to_json() == (tmp_path / "x.json").read_text()
    assert found.result.model.name in str(found)
    assert found._repr_html_().startswith("<pre>")
    assert capsys.readouterr() == ("", "")


def test_both_parts_may_be_open() -> None:
    both = lowzoo.evaluate.TrainTestData(coloured(20), coloured(10))
    found = lowzoo.evaluate.knn(tiny_resolved(), data=both, k=1, device="cpu")
    assert found.result.data["queries"].images == 10


@pytest.mark.slow
def test_workers_in_a_script_without_a_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "print('started', flush=True)\n"
        "multiprocessing.set_start_method('spawn')\n"
        "import numpy as np, lowzoo\n"
        "found = lowzoo.embed([np.zeros((8, 8, 3), np.uint8)] * 3, workers=1, device='cpu')\n"
        "print(found.vectors.shape)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LOWZOO_CACHE": str(tmp_path / "cache")}
    ended = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["started", "(3, 192)"]


@pytest.mark.slow
def test_without_the_extras_of_the_command_line(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['rich'] = sys.modules['typer'] = None\n"
        "import lowzoo, numpy as np\n"
        "lowzoo.export.export, lowzoo.bench.latency, lowzoo.evaluate.linear\n"
        "print(lowzoo.embed([np.zeros((8, 8, 3), np.uint8)], device='cpu', progress=print).vectors.shape)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "(1, 192)"
