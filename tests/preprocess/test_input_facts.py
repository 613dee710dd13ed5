"""A folder whose network takes other inputs than RGB squares: loaded, exported, checked, embedded, fed for timing."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from lowzoo.base.errors import LowzooError
from lowzoo.bench.engines.network_spec import network_spec_of, read_network_spec
from lowzoo.bench.subjects.artifact import open_onnx, real_input
from lowzoo.cli.main import main
from lowzoo.export import ExportSpec, ParityError
from lowzoo.export.artifact import write_artifact
from lowzoo.export.parity.checker import ParityChecker, real_images
from lowzoo.preprocess.input_facts import channels_last, parse_size
from lowzoo.preprocess.transform import preprocess
from lowzoo.zoo.resolve import load_model
from tests.helpers.slow import slow_but


def network(folder: Path, channels: int, height: int = 32, width: int = 32, **cfg) -> str:
    """Write a small network with random weights."""
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=0, in_chans=channels)
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    facts = {"input_size": [channels, height, width], "mean": [0.4] * channels, "std": [0.2] * channels}
    facts |= {"num_classes": 0, "first_conv": "conv1", "classifier": "fc", "crop_pct": 0.9, **cfg}
    arguments = {"in_chans": channels}
    config = {"architecture": "test_resnet", "num_classes": 0, "pretrained_cfg": facts, "model_args": arguments}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    ("channels", "feed"),
    slow_but(itertools.product((1, 2, 5), ({}, {"layout": "nchw"}, {"input": "tensor"})), ()),
)
def test_export_and_timing_of_other_channels(channels: int, feed: dict[str, str], tmp_path: Path) -> None:
    resolved = load_model(network(tmp_path / "own", channels))
    assert resolved.input_size == (channels, 32, 32)
    artifact = write_artifact(resolved, ExportSpec(**feed), tmp_path / "own.onnx", ParityChecker(resolved, pictures=4))
    assert artifact.parity.min_cosine > 0.9999
    assert any("no embedded picture has" in line for line in artifact.warnings) == (channels > 1)
    pixels, _ = real_input(open_onnx(tmp_path / "own.onnx"))
    assert pixels.shape == artifact.input_shape
    assert pixels.std() > 0.1


@pytest.mark.slow
def test_int8_of_channels_that_nobody_has_a_picture_of_is_refused(tmp_path: Path) -> None:
    resolved = load_model(network(tmp_path / "own", 5))
    with pytest.raises(LowzooError, match="do not have 5 channels to calibrate int8 on"):
        write_artifact(resolved, ExportSpec(precision="int8"), tmp_path / "own.onnx")
    with pytest.raises(LowzooError, match="a Core ML image has 1 or 3 channels"):
        write_artifact(resolved, ExportSpec(format="coreml"), tmp_path / "own.mlpackage")
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


@pytest.mark.slow
def test_a_core_ml_image_in_grey(tmp_path: Path) -> None:
    resolved = load_model(network(tmp_path / "own", 1))
    artifact = write_artifact(
        resolved, ExportSpec(format="coreml"), tmp_path / "own.mlpackage", ParityChecker(resolved, pictures=4)
    )
    assert artifact.input_shape == (1, 1, 32, 32)
    assert artifact.parity.min_cosine > 0.9999


@pytest.mark.slow
def test_a_file_of_another_preparation_breaks_parity(tmp_path: Path) -> None:
    """Both sides must not share a wrong normalisation: the file's is in its graph, the reference's in evaluation."""
    right = load_model(network(tmp_path / "right", 3, crop_mode="squash"))
    wrong = load_model(network(tmp_path / "wrong", 3, mean=[0.1] * 3))
    with pytest.raises(ParityError):
        write_artifact(wrong, ExportSpec(), tmp_path / "x.onnx", ParityChecker(right, pictures=4))


def test_embedding_takes_the_bands_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    bands = rng.integers(0, 256, (3, 40, 50, 5), dtype=np.uint8)
    (tmp_path / "data").mkdir()
    for number, picture in enumerate(bands):
        pages = [Image.fromarray(np.ascontiguousarray(picture[:, :, band])) for band in range(5)]
        pages[0].save(tmp_path / "data" / f"{number}.tif", save_all=True, append_images=pages[1:])
    word = network(tmp_path / "own", 5)
    out = tmp_path / "table.parquet"
    with pytest.raises(SystemExit) as ended:
        main(["embed", str(tmp_path / "data"), "--model", word, "--size", "32x64", "--out", str(out)])
    assert ended.value.code == 0
    assert "at 32 x 64 px" in capsys.readouterr().out
    import pyarrow.parquet

    column = next(name for name in pyarrow.parquet.read_schema(out).names if name in ("vector", "embedding"))
    found = np.stack(pyarrow.parquet.read_table(out)[column].to_numpy())
    resolved = load_model(word, image_size=(32, 64))
    with torch.inference_mode():
        expected = resolved.model(torch.stack([preprocess(picture, resolved) for picture in bands])).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_pictures_of_the_judge_have_the_channels() -> None:
    assert {image.shape[2] for image in real_images(2, channels=5)} == {5}
    assert {image.shape[2] for image in real_images(2, channels=1)} == {3}


def test_crop_mode_reaches_the_network(tmp_path: Path) -> None:
    facts = load_model(network(tmp_path / "own", 3, 24, 48, crop_mode="border", interpolation="hamming"))
    assert (facts.crop_mode, facts.interpolation, facts.input_size) == ("border", "hamming", (3, 24, 48))
    with pytest.raises(LowzooError, match="unknown crop_mode 'middle' in the configuration of other"):
        load_model(network(tmp_path / "other", 3, crop_mode="middle"))


@pytest.mark.parametrize(("word", "size"), [("224", (224, 224)), ("128x256", (128, 256)), ("64 X 32", (64, 32))])
def test_sizes_are_read(word: str, size: tuple[int, int]) -> None:
    assert parse_size(word, "--size") == size
    assert read_network_spec(network_spec_of("resnet18", size=size, untrained=True)) == ("resnet18", size, False)


@pytest.mark.parametrize("word", ["", "x", "12x", "128x256x3", "1e3", "-5", "big", "8x64", "64x5000"])
def test_other_sizes_are_refused(word: str) -> None:
    with pytest.raises(LowzooError):
        parse_size(word, "--size")


@pytest.mark.parametrize(
    ("shape", "layout", "last"),
    [
        ((1, 3, 8, 8), None, False),
        ((1, 8, 8, 3), None, True),
        ((1, 1, 8, 8), None, False),
        ((1, 8, 8, 1), None, True),
        ((1, 64, 64, 5), None, None),
        ((1, 64, 64, 5), "BHWC", True),
        ((1, 5, 64, 64), "BCHW", False),
    ],
)
def test_where_the_channels_are(shape: tuple[int, ...], layout: str | None, last: bool | None) -> None:
    assert channels_last(shape, layout) is last
