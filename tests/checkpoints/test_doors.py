"""Ten trainers' checkpoints through every door: `lowzoo.load_model`, convert, export and embed give equal features."""

import argparse
import warnings

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import lowzoo
from lowzoo.cli.main import main
from lowzoo.preprocess.transform import preprocess, to_uint8_input
from tests.checkpoints.test_foreign import LAYOUTS, network, under

# Small, so that four doors take seconds; the names and the layouts are those of its large relatives.
ARCHITECTURE = "test_resnet"
SIDE = 64


def nets():
    return (
        network(ARCHITECTURE, num_classes=11),
        network(ARCHITECTURE, seed=5, num_classes=11),
        network(ARCHITECTURE, num_classes=0),
    )


def _timm_saver(folder, wanted, other, headless):
    """As timm's train script saves: its own saver, a model and its moving average."""
    from timm.utils import CheckpointSaver, ModelEmaV3

    average = ModelEmaV3(wanted)
    saver = CheckpointSaver(
        other,
        torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9),
        args=argparse.Namespace(model=ARCHITECTURE, mean=None, std=None),
        model_ema=average,
        checkpoint_dir=str(folder),
        recovery_dir=str(folder),
        max_history=1,
    )
    saver.save_checkpoint(0, metric=1.0)
    return folder / "last.pth.tar"


def _compiled(folder, wanted, other, headless):
    """As torch.compile names it, by torch itself."""
    torch.save({"model": torch.compile(wanted).state_dict(), "epoch": 1}, folder / "c.pt")
    return folder / "c.pt"


def _half(folder, wanted, other, headless):
    state = {key: value.half() if value.is_floating_point() else value for key, value in headless.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    return folder / "model.safetensors"


def _ddp(folder, wanted, other, headless):
    """As DistributedDataParallel and DataParallel name it, by torch itself."""
    torch.save(torch.nn.DataParallel(wanted).state_dict(), folder / "d.pth")
    return folder / "d.pth"


def _laid_out(layout, name):
    def make(folder, wanted, other, headless):
        content = LAYOUTS[layout][0](wanted, other, headless)
        torch.save(content, folder / name)
        return folder / name

    return make


TRAINERS = {
    "timm train script": _timm_saver,
    "Lightning": _laid_out("lightning", "epoch=3.ckpt"),
    "DINO": _laid_out("dino", "checkpoint.pth"),
    "MoCo": _laid_out("moco", "checkpoint_0199.pth.tar"),
    "VISSL": _laid_out("vissl", "model_final.torch"),
    "lightly-train": _laid_out("lightly", "last.ckpt"),
    "torchvision": _laid_out("torchvision", "network.pth"),
    "torch.compile": _compiled,
    "DDP": _ddp,
    "safetensors, half": _half,
}


# Those that keep a backbone with heads of their own.
HEADLESS = ("DINO", "MoCo", "VISSL", "lightly-train", "safetensors, half")


def run(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    return out + err


@pytest.mark.slow
@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_trainer_s_checkpoint_through_every_door(trainer, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted, other, headless = nets()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = TRAINERS[trainer](tmp_path, wanted, other, headless)
    word = f"{ARCHITECTURE}@{file.name}"
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        resolved = lowzoo.load(word, size=SIDE)
    said = "\n".join(str(note.message) for note in notes)
    half = "half" in trainer
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    images = preprocess(picture, resolved)[None]
    with torch.no_grad():
        kept = headless if trainer in HEADLESS else wanted
        expected = kept.forward_head(kept.forward_features(images), pre_logits=True)
        own = resolved.model(images)
    difference = (own - expected).abs().max() / expected.abs().max()
    assert difference < 0.02 if half else difference == 0
    if trainer == "timm train script":
        assert "took state_dict_ema (also there: state_dict; add #state_dict for that)" in said
        raw = lowzoo.load(f"{word}#state_dict", size=SIDE).model
        with torch.no_grad():
            assert not torch.equal(raw(images), own)

    said = run(["convert", file.name, "--arch", ARCHITECTURE, "--out", "folder"], capsys)
    assert "took" in said
    with torch.no_grad():
        converted = timm.create_model("local-dir:folder", pretrained=True).eval()
        assert torch.equal(converted.forward_head(converted.forward_features(images), pre_logits=True), own)

    run(["export", word, "--size", str(SIDE), "--out", "x.onnx"], capsys)
    session = onnxruntime.InferenceSession("x.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": to_uint8_input(picture, resolved)[None]})
    torch.testing.assert_close(torch.from_numpy(found), own, rtol=1e-4, atol=1e-4 * float(own.abs().max()))

    (tmp_path / "pictures").mkdir()
    Image.fromarray(picture).resize((SIDE, SIDE)).save("pictures/a.png")
    Image.fromarray(picture[::-1].copy()).save("pictures/b.png")
    run(["embed", "pictures", "--model", word, "--image-size", SIDE, "--out", "v.parquet"], capsys)
    vector = torch.tensor(pq.read_table("v.parquet")["vector"][0].as_py())
    cosine = torch.nn.functional.cosine_similarity(vector, own[0], dim=0)
    assert cosine > 0.999


def test_every_trainer_that_is_promised_is_here():
    assert len(TRAINERS) == 10
    assert under("a.", {"b": 1}) == {"a.b": 1}
