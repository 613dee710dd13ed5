"""Feature maps out: those of timm's `features_only` by the same indices, each output named, measured and checked."""

import dataclasses
import itertools
import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from timm.models import save_for_hf
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.cli.main import main
from lowzoo.export import ExportSpec, MaxLoss, ParityError
from lowzoo.export.artifact import write_artifact
from lowzoo.export.artifacts.feeding import snippet
from lowzoo.export.checking import check_artifact
from lowzoo.export.formats import FORMATS
from lowzoo.export.formats.onnx.runtime import open_onnx
from lowzoo.export.network.features import with_features
from lowzoo.export.parity.checker import ParityChecker, real_images
from lowzoo.export.parity.parity import compare, together
from lowzoo.export.spec.spec import parse_features
from lowzoo.preprocess.transform import preprocess
from lowzoo.zoo.resolve import load_model
from tests.helpers.export import tiny_resolved
from tests.helpers.slow import slow_but

# CNNs, hierarchical transformers (one with its channels last inside), ViTs with and without class and register tokens.
ARCHITECTURES = {
    "test_resnet": (1, 3),
    "test_efficientnet": (0, 2, 4),
    "test_convnext": (1, 2),
    "test_vit": (0, 3),
    "test_vit4": (1, 2),
    "test_nfnet": (2, 4),
    "mobilenetv3_small_050": (1, 4),
    "swin_tiny_patch4_window7_224": (0, 1),
    "mambaout_femto": (1, 2),
    "xcit_nano_12_p8_224": (11,),
}
LOOSE = MaxLoss(None, 0.5)


def model_folder(path: Path, architecture: str, size: tuple[int, int, int] | None = None, **arguments) -> Path:
    """A network whose norms do not vanish, as weights that somebody trained."""
    torch.manual_seed(0)
    if size is not None and architecture.startswith("test_vit"):
        arguments |= {"img_size": size[1:], "dynamic_img_size": False}
    model = timm.create_model(architecture, num_classes=0, **arguments).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
    fixed = {key: value for key, value in arguments.items() if key == "dynamic_img_size"}
    save_for_hf(model, path, model_config={"model_args": fixed}, safe_serialization=True)
    config = json.loads((path / "config.json").read_text())
    config["pretrained_cfg"] |= {"input_size": list(size or model.pretrained_cfg["input_size"])}
    (path / "config.json").write_text(json.dumps(config))
    return path


def timms_own(folder: Path, architecture: str, indices: tuple[int, ...], **arguments) -> nn.Module:
    """What a user of timm writes."""
    model = timm.create_model(
        architecture,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(folder / "model.safetensors"), "num_classes": 0},
        features_only=True,
        out_indices=indices,
        **arguments,
    )
    return model.eval()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_maps_are_those_of_timm_with_the_same_weights(architecture, tmp_path):
    indices = ARCHITECTURES[architecture]
    folder = model_folder(tmp_path / "m", architecture)
    resolved = with_features(load_model(str(folder)), indices)
    theirs = timms_own(folder, architecture, indices)
    x = preprocess(real_images(1)[0], resolved)[None]
    with torch.inference_mode():
        found, expected = resolved.model(x), theirs(x)
    assert [each.index for each in resolved.features] == list(indices)
    assert [each.channels for each in resolved.features] == theirs.feature_info.channels()
    assert [each.stride for each in resolved.features] == theirs.feature_info.reduction()
    for ours, own, facts in zip(found, expected, resolved.features, strict=True):
        own = own if own.shape[1] == facts.channels else own.permute(0, 3, 1, 2)
        assert tuple(ours.shape) == (1, *facts.shape)
        assert float(own.std()) > 1e-3
        torch.testing.assert_close(ours, own, rtol=1e-5, atol=1e-5)


def test_names_tell_maps_of_one_stride_apart():
    cnn = with_features(load_model("test_resnet", pretrained=False), "all")
    assert [each.name for each in cnn.features] == ["stride2", "stride4", "stride8", "stride16", "stride32"]
    vit = load_model("test_vit", pretrained=False)
    assert [each.name for each in with_features(vit, "last").features] == [f"stride16_block{len(vit.model.blocks) - 1}"]
    odd = with_features(load_model("csatv2", pretrained=False), (0, 1, 2))
    assert [each.name for each in odd.features] == ["stride8_map0", "stride8_map1", "stride16"]
    assert vit.features == (), "the network that is given stays as it was"


def test_a_stride_that_timm_states_wrongly_is_measured():
    resolved = load_model("test_resnet", pretrained=False)
    resolved.model.feature_info[1]["reduction"] = 32
    assert [each.stride for each in with_features(resolved, (1, 2)).features] == [4, 8]


def test_a_map_that_does_not_exist_is_answered_with_those_that_do():
    resolved = load_model("test_resnet", pretrained=False)
    with pytest.raises(LowzooError, match=r"no feature map 5, -6; it has 0 \(stride 2, 32 channels\), 1 \(stride 4, "):
        with_features(resolved, (1, 5, -6))
    vit = load_model("test_vit", pretrained=False)
    with pytest.raises(LowzooError, match=rf"it has 0 to {len(vit.model.blocks) - 1} \(stride 16, 64 channels\)\."):
        with_features(vit, (99,))
    with pytest.raises(LowzooError, match="1, -4 are the same"):
        with_features(resolved, (1, -4))
    with pytest.raises(LowzooError, match="gives no feature maps"):
        with_features(tiny_resolved(), "last")


@pytest.mark.parametrize("text", ["", "2,", "a", "2;3", "first", "1.5", "²"])
def test_words_that_name_no_maps(text):
    with pytest.raises(LowzooError, match=r"feature maps .* are impossible"):
        parse_features(text)


def test_words_that_name_maps():
    assert parse_features("2,3, 4") == (2, 3, 4)
    assert parse_features("-1") == (-1,)
    assert (parse_features("last"), parse_features("all")) == ("last", "all")


def test_no_classifier_beside_maps(tmp_path, capsys):
    with pytest.raises(LowzooError, match="feature maps and a classifier"):
        ExportSpec(features="last", classes=("cat", "dog"))
    folder = model_folder(tmp_path / "m", "test_resnet")
    for words in (["--head", "own"], ["--classes", "names.txt"]):
        with pytest.raises(SystemExit) as ended:
            main(["export", str(folder), "--features", "last", *words])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "Give --features, or --head, and not both" in error


NETWORKS = {"test_resnet": (1, 3), "test_vit": (1, 3)}
NAMES = {"test_resnet": ["stride4", "stride16"], "test_vit": ["stride16_block1", "stride16_block3"]}
CELLS = itertools.product(NETWORKS, ("onnx", "coreml"), ("fp32", "fp16", "int8"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {name: model_folder(place / name, name, (3, 64, 96)) for name in NETWORKS}


@pytest.mark.parametrize(("architecture", "format_", "precision"), slow_but(CELLS, ()))
def test_each_output_of_a_file_is_measured_and_known_again(
    architecture, format_, precision, folders, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "cache"))
    indices = NETWORKS[architecture]
    spec = ExportSpec(format=format_, precision=precision, features=indices, max_loss=LOOSE)
    artifact = write_artifact(str(folders[architecture]), spec)
    assert f"_64x96_{precision}_features-{indices[0]}-{indices[1]}." in artifact.path.name
    names = [each.name for each in artifact.features]
    assert names == (
        ["stride4", "stride16"] if architecture == "test_resnet" else ["stride16_block1", "stride16_block3"]
    )
    assert [each.name for each in artifact.parity.outputs] == names
    assert artifact.parity.min_cosine == min(each.min_cosine for each in artifact.parity.outputs)
    said = json.loads(FORMATS[format_].notes(artifact.path)["lowzoo.outputs"])
    assert [(each["name"], each["index"], each["layout"]) for each in said] == [
        (name, index, "BCHW") for name, index in zip(names, indices, strict=True)
    ]
    report = check_artifact(artifact.path)
    assert report.same_weights
    assert not report.broken
    assert [each.name for each in report.parity.outputs] == names


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "input_", "target"), [("dynamic", "image", "cpu"), (3, "tensor", "nnapi")])
@pytest.mark.parametrize("architecture", NETWORKS)
def test_batches_inputs_and_targets(architecture, batch, input_, target, folders, tmp_path):
    """In onnxruntime alone, without lowzoo's own reading of the file: the outputs by name, against timm's."""
    spec = ExportSpec(batch=batch, input=input_, target=target, features=NETWORKS[architecture])
    artifact = write_artifact(str(folders[architecture]), spec, tmp_path / "maps.onnx")
    resolved = load_model(str(folders[architecture]))
    session = onnxruntime.InferenceSession(str(artifact.path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == [each.name for each in artifact.features]
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), dtype=np.uint8)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (resolved.mean, resolved.std))
    planes = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
    fed = {"image": images} if input_ == "image" else {"input": planes.numpy()}
    arguments = {"img_size": (64, 96)} if architecture == "test_vit" else {}
    theirs = timms_own(folders[architecture], architecture, NETWORKS[architecture], **arguments)
    with torch.inference_mode():
        expected = theirs(planes)
    for found, own in zip(session.run(None, fed), expected, strict=True):
        np.testing.assert_allclose(found, own.numpy(), rtol=1e-4, atol=1e-4 * float(own.abs().max()))


@pytest.mark.slow
def test_a_file_with_one_wrong_output_is_refused_by_name(folders, tmp_path):
    artifact = write_artifact(str(folders["test_resnet"]), ExportSpec(features=(1, 3)), tmp_path / "maps.onnx")
    model = onnx.load(artifact.path)
    last = model.graph.output[1].name
    for node in model.graph.node:  # the second map is doubled behind the back of whoever made it
        node.output[:] = ["before" if name == last else name for name in node.output]
        node.input[:] = ["before" if name == last else name for name in node.input]
    model.graph.node.append(onnx.helper.make_node("Add", ["before", "before"], [last]))
    onnx.save(model, artifact.path)
    report = check_artifact(artifact.path)
    assert [wrong.split(":")[0] for wrong in report.broken] == ["stride16"]


@pytest.mark.slow
def test_a_file_is_held_against_another_model(folders, tmp_path):
    other = model_folder(tmp_path / "other", "test_resnet", (3, 64, 96), act_layer="gelu")
    artifact = write_artifact(str(folders["test_resnet"]), ExportSpec(features="all"), tmp_path / "maps.onnx")
    assert check_artifact(artifact.path, against=str(folders["test_resnet"])).broken == ()
    assert check_artifact(artifact.path, against=load_model(str(folders["test_resnet"]))).broken == ()
    wrong = check_artifact(artifact.path, against=str(other)).broken
    assert {text.split(":")[0] for text in wrong if text.startswith("stride")} == {
        each.name for each in artifact.features
    }


@pytest.mark.slow
def test_as_many_outputs_as_pytorch_or_an_error(folders, tmp_path):
    artifact = write_artifact(str(folders["test_resnet"]), ExportSpec(features=(1, 3)), tmp_path / "maps.onnx")
    plain = load_model(str(folders["test_resnet"]))
    with pytest.raises(ParityError, match="has 2 outputs, PyTorch 1"):
        ParityChecker(plain, pictures=4).parity(open_onnx(artifact.path), with_knn=False)


@pytest.mark.slow
def test_a_file_made_elsewhere_is_checked_when_its_outputs_are_named(folders, tmp_path, capsys):
    artifact = write_artifact(str(folders["test_resnet"]), ExportSpec(features=(1, 3)), tmp_path / "maps.onnx")
    model = onnx.load(artifact.path)
    del model.metadata_props[:]
    onnx.save(model, artifact.path)
    words = ["check", str(artifact.path), "--against", str(folders["test_resnet"])]

    def said(*more):
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        return ended.value.code, "".join(capsys.readouterr())

    status, text = said()
    assert status == 1
    assert (
        "has 2 outputs, PyTorch 1. Name the feature maps that its outputs are, from fine to coarse, by --features"
        in text
    )
    status, text = said("--features", "1,3")
    assert status == 0, text
    assert "every bound is kept" in text
    assert said("--features", "1,2")[0] == 1, "other maps"


@pytest.mark.slow
def test_the_same_maps_by_another_word_are_the_same_export(folders, tmp_path):
    place = tmp_path / "maps.onnx"
    write_artifact(str(folders["test_resnet"]), ExportSpec(features="last"), place)
    write_artifact(str(folders["test_resnet"]), ExportSpec(features=(-1,)), place)
    with pytest.raises(LowzooError, match="another export"):
        write_artifact(str(folders["test_resnet"]), ExportSpec(features=(3,)), place)
    with pytest.raises(LowzooError, match="another export"):
        write_artifact(str(folders["test_resnet"]), ExportSpec(), place)


def test_parity_of_maps_by_hand():
    exact = np.zeros((2, 2, 1, 2), np.float32)
    exact[0, 0], exact[1, 1] = 4, 2
    found = exact.copy()
    found[1, 1, 0, 1] = 2.5
    one = compare(exact, found, "", "stride8")
    assert (one.max_error, one.mean_error, one.relative_error) == (0.5, 0.5 / 8, 0.125)
    assert one.min_cosine == pytest.approx((2 * 2 + 2 * 2.5) / (np.sqrt(8) * np.sqrt(4 + 6.25)))
    other = compare(exact, exact, "", "stride16")
    both = together([other, one])
    assert (both.max_error, both.min_cosine, both.mean_cosine) == (0.5, one.min_cosine, one.mean_cosine)
    assert [each.name for each in both.outputs] == ["stride16", "stride8"]


def test_maps_do_not_fill_the_memory():
    resolved = with_features(load_model("test_resnet", pretrained=False), (0,))
    wide = dataclasses.replace(resolved.features[0], height=2048, width=2048)
    assert len(ParityChecker(dataclasses.replace(resolved, features=(wide,))).images) == 8
    assert len(ParityChecker(resolved).images) == 64


@pytest.mark.parametrize("format_", FORMATS.names())
@pytest.mark.parametrize("input_", ["image", "tensor"])
def test_snippets_name_every_output(format_, input_):
    resolved = with_features(load_model("test_resnet", pretrained=False), (1, 3))
    text = snippet(resolved, ExportSpec(format=format_, input=input_, features=(1, 3)))
    for code in text.split("// JavaScript"):
        for each in resolved.features:
            assert f"{each.name} = " in code or f'extract("{each.name}", ' in code
    assert '"features"' not in text


@pytest.mark.slow
def test_maps_of_grey_and_of_many_channels(tmp_path):
    folder = model_folder(tmp_path / "grey", "test_resnet", (1, 64, 64), in_chans=1)
    artifact = write_artifact(str(folder), ExportSpec(features="last"), tmp_path / "grey.onnx")
    assert artifact.input_shape == (1, 64, 64, 1)
    assert check_artifact(artifact.path).broken == ()


@pytest.mark.slow
def test_the_command_prints_each_output(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(folders["test_resnet"]), "--features", "2,last"])
    assert ended.value.code == 2
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["export", str(folders["test_resnet"]), "--features", "2,3"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert re.search(r"output stride8: float32 1 x \d+ x 8 x 12 \(channels first\), map 2, stride 8\n", out)
    assert out.count("smallest cosine") == 2
