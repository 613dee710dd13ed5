"""Who a file is: no name is taken for another's, nothing else is replaced, and reasons are the network's own."""

import dataclasses
import json
import shutil
from pathlib import Path

import onnx
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import save_for_hf
from torch import nn

from lowzoo.base.errors import LowzooError, LowzooWarning
from lowzoo.cli.main import main
from lowzoo.export import ExportSpec, ParityError, check, export
from lowzoo.export.artifact import default_path, write_artifact
from lowzoo.export.checking import check_artifact
from lowzoo.export.formats.onnx.runtime import notes_of_onnx
from lowzoo.export.network.graph import exported_module
from lowzoo.export.network.head import read_head, with_head
from lowzoo.zoo.compatible import CompatibleFacts, EmbeddingMap, save_map
from lowzoo.zoo.digest import weights_digest
from lowzoo.zoo.find import find
from lowzoo.zoo.resolve import load_model
from tests.helpers.export import TinyNet, tiny_resolved


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def folder_of(path: Path, seed: int = 0, classes: int = 0) -> Path:
    torch.manual_seed(seed)
    save_for_hf(timm.create_model("test_resnet", num_classes=classes), path, safe_serialization=True)
    config = json.loads((path / "config.json").read_text())
    config["pretrained_cfg"]["input_size"] = [3, 32, 32]
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.mark.slow
def test_a_folder_is_found_again_and_its_place_is_nobodys_business(scratch, tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "secret place" / "resnet18")
    path = write_artifact(load_model(str(folder)), out=scratch / "x.onnx").path
    assert b"secret place" not in path.read_bytes()
    assert json.loads(notes_of_onnx(path)["lowzoo.source"]) == {"model": "local-dir:resnet18"}
    assert check_artifact(path).same_weights, "remembered"
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "another cache"))
    with pytest.raises(LowzooError, match=r"the folder resnet18, which is neither .*--against FOLDER"):
        check_artifact(path)
    shutil.copytree(folder, scratch / "resnet18")
    assert check_artifact(path).same_weights, "beside the file"
    shutil.rmtree(scratch / "resnet18")
    folder_of(scratch / "resnet18", seed=1)
    with pytest.raises(LowzooError, match=r"made from resnet18 with weights sha256:.* these are others: .*--against"):
        check_artifact(path)
    report = check_artifact(path, str(scratch / "resnet18"))
    assert report.same_weights is False
    assert report.broken


def test_a_name_and_a_folder_of_that_name(scratch):
    folder_of(scratch / "resnet18")
    with pytest.warns(LowzooWarning, match=r"resnet18 is taken as timm's model .* is \./resnet18"):
        assert find("resnet18", pretrained=False).file is None
    assert find("./resnet18", pretrained=True).file == Path("resnet18/model.safetensors")


@pytest.mark.slow
def test_a_checkpoint_with_several_copies_is_found_again(scratch, tmp_path, monkeypatch):
    torch.manual_seed(0)
    nets = [timm.create_model("test_resnet", num_classes=0).state_dict() for _ in range(2)]
    (tmp_path / "secret place").mkdir()
    file = tmp_path / "secret place" / "last.pth.tar"
    torch.save({"state_dict": nets[0], "state_dict_ema": nets[1]}, file)
    word = f"test_resnet@{file}#state_dict"
    path = write_artifact(word, ExportSpec(size=(32, 64)), scratch / "x.onnx").path
    assert b"secret place" not in path.read_bytes()
    assert json.loads(notes_of_onnx(path)["lowzoo.source"]) == {"model": "test_resnet@last.pth.tar#state_dict"}
    assert check_artifact(path).same_weights, "remembered"
    report = check_artifact(path, f"test_resnet@{file}")
    assert report.same_weights is False, "another copy in the same file"
    assert report.broken
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "another cache"))
    with pytest.raises(LowzooError, match=r"made from test_resnet@last.pth.tar#state_dict, .*--against ARCH@FILE"):
        check_artifact(path)
    shutil.copy(file, scratch)
    assert check_artifact(path).same_weights, "beside the file"


@pytest.mark.slow
def test_a_folder_that_prepares_pictures_in_another_way_is_refused(scratch):
    folder = folder_of(scratch / "m")
    path = write_artifact(load_model("./m"), out=scratch / "x.onnx").path
    config = json.loads((folder / "config.json").read_text())
    for key, other in (("crop_mode", "squash"), ("crop_pct", 0.5), ("interpolation", "nearest")):
        changed = config | {"pretrained_cfg": config["pretrained_cfg"] | {key: other}}
        (folder / "config.json").write_text(json.dumps(changed))
        with pytest.raises(LowzooError, match=f"wants a {key} of .*--against"):
            check_artifact(path)
    grey = tiny_resolved(nn.Sequential(nn.Conv2d(1, 6, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    grey = dataclasses.replace(grey, input_size=(1, 32, 48), mean=(0.5,), std=(0.2,))
    assert not check_artifact(write_artifact(grey, out=scratch / "grey.onnx").path, grey).broken


def test_default_names(scratch):
    spec = ExportSpec()
    names = {
        str(default_path(dataclasses.replace(tiny_resolved(), name=name, source=source), each))
        for name, source in (("run", "local-dir:/a/run.v1"), ("run", "local-dir:/a/run.v2"), ("hf-hub:a/b.c", "x"))
        for each in (
            spec,
            dataclasses.replace(spec, precision="int8"),
            dataclasses.replace(spec, target="nnapi"),
            dataclasses.replace(spec, batch="dynamic"),
        )
    }
    assert len(names) == 12
    assert {"run.v1_32_fp32.onnx", "run.v2_32_int8.onnx", "b.c_32_fp32_nnapi.onnx"} < names
    wide = dataclasses.replace(tiny_resolved(), input_size=(3, 32, 64))
    assert str(default_path(wide, ExportSpec(format="coreml"))) == "tiny.tag_32x64_fp32.mlpackage"


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["onnx", "coreml"])
def test_another_export_is_not_replaced(scratch, format_):
    path = scratch / ("x.onnx" if format_ == "onnx" else "x.mlpackage")
    spec = ExportSpec(format=format_)
    first = write_artifact(tiny_resolved(), spec, path)
    assert write_artifact(tiny_resolved(), spec, path).sha256 == first.sha256, "the same again"
    other = tiny_resolved()
    nn.init.ones_(other.model.norm.bias)
    for model, each, said in (
        (other, spec, "of other weights"),
        (tiny_resolved(), dataclasses.replace(spec, input="tensor"), r"another export \(tiny.tag, fp32\)"),
    ):
        with pytest.raises(LowzooError, match=f"{said}.*--force"):
            write_artifact(model, each, path)
    assert write_artifact(other, spec, path, force=True).weights != first.weights


def test_a_file_of_something_else_is_not_replaced(scratch):
    (scratch / "x.onnx").write_bytes(b"mine")
    with pytest.raises(LowzooError, match="is no export of this lowzoo"):
        write_artifact(tiny_resolved(), out=scratch / "x.onnx")
    assert (scratch / "x.onnx").read_bytes() == b"mine"


@pytest.mark.slow
def test_a_classifier_is_kept_or_said(scratch, capsys):
    folder_of(scratch / "tuned", classes=4)
    with pytest.raises(SystemExit):
        main(["export", "./tuned"])
    out, err = capsys.readouterr()
    assert "the classifier of 4 classes that tuned comes with is left out" in out
    assert "Unexpected keys" not in out + err
    with pytest.raises(SystemExit) as ended:
        main(["export", "./tuned", "--head", "own", "--json"])
    assert ended.value.code == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["spec"]["classes"] == ["0", "1", "2", "3"]
    assert "called 0 to 3" in facts["warnings"][0]
    assert check_artifact(Path(facts["path"])).same_weights
    with pytest.raises(SystemExit) as ended:
        main(["export", "rob_vit_tiny", "--head", "own"])
    assert ended.value.code == 2
    assert "without a classifier of its own" in capsys.readouterr().err


def test_tensors_without_a_place_are_counted(scratch):
    folder = folder_of(scratch / "more", classes=4)
    from safetensors.torch import load_file

    save_file(load_file(folder / "model.safetensors") | {"odd.weight": torch.ones(1)}, folder / "model.safetensors")
    with pytest.warns(LowzooWarning, match=r"holds 1 tensors that the network has no place for, e\.g\. odd\.weight"):
        load_model(str(folder))


@pytest.mark.parametrize("name", ["weight", "head.weight", "fc.weight", "module.classifier.weight"])
def test_a_head_by_any_name(scratch, name):
    weight, bias = torch.randn(3, 6), torch.randn(3)
    save_file({name: weight, f"{name.removesuffix('weight')}bias": bias}, "head.safetensors")
    found = read_head(Path("head.safetensors"))
    assert torch.equal(found[0], weight)
    assert torch.equal(found[1], bias)
    save_file({name: weight, "conv.weight": weight.clone()}, "model.safetensors")
    with pytest.raises(LowzooError, match="--head own"):
        read_head(Path("model.safetensors"))


class Loud(TinyNet):
    """Values beyond float16 on the way to harmless ones."""

    def forward(self, x):
        return super().forward(x * 1e6) / 1e6


class Shaky(TinyNet):
    """A difference of nearly equal numbers, of which float32 keeps two digits."""

    def forward(self, x):
        x = super().forward(x)
        return (x + 1e5) - 1e5


def test_an_overflow_of_float16_is_named(scratch):
    with pytest.raises(ParityError, match=r"float16 overflows: .* up to .* ends at 65504") as refused:
        write_artifact(tiny_resolved(Loud()), ExportSpec(precision="fp16"), scratch / "x.onnx")
    assert refused.value.remedy == "Nothing was written; export it with --precision fp32"


def test_a_network_that_is_unstable_by_itself_is_measured_against_float64(scratch, monkeypatch):
    real = Shaky().eval()
    # A file that is nearer to float64 than PyTorch is: it adds in another order.
    monkeypatch.setattr(
        "lowzoo.export.artifact.exported_module",
        lambda resolved, spec: exported_module(dataclasses.replace(resolved, model=_quiet(real)), spec),
    )
    with pytest.raises(
        ParityError, match=r"unstable in float32 by itself: .* off from float64 by a relative"
    ) as refused:
        write_artifact(tiny_resolved(real), out=scratch / "x.onnx")
    assert "check the weights" in refused.value.remedy
    assert "report" not in str(refused.value)


def _quiet(shaky: nn.Module) -> nn.Module:
    plain = TinyNet().eval()
    plain.load_state_dict(shaky.state_dict())
    return plain


@pytest.mark.slow
def test_stages_of_the_search_for_int8_are_said(scratch, capsys):
    with pytest.raises(SystemExit):
        main(["export", "--precision", "int8", "--max-loss", "cosine:0.5", "--size", "32", "--json"])
    error = capsys.readouterr().err
    assert "int8: measuring the ranges of activations on 64 images" in error
    assert "int8: judging candidate 1, 0 of " in error
    assert onnx.load(next(scratch.glob("*.onnx"))).graph.node


def test_a_map_into_another_space_goes_with_its_backbone_and_is_told_from_others(scratch):
    folder = folder_of(scratch / "run")
    with pytest.raises(LowzooError, match="run has no map into another model's space"):
        export(folder, head="compatible")
    backbone = load_model(str(folder)).model
    facts = CompatibleFacts.of(tiny_resolved(), dimensions=7, features=96, map="linear", weight=1.0)
    facts = dataclasses.replace(facts, student=weights_digest(backbone))
    made = EmbeddingMap(96, 7)
    save_map(folder, made, facts)
    with pytest.raises(LowzooError, match="has no classes"):
        export(folder, head="compatible", classes=["cat", "dog"])
    artifact = export(folder, head="compatible")
    assert artifact.path.stem.endswith("_compatible")
    assert not artifact.warnings
    notes = notes_of_onnx(artifact.path)
    said = json.loads(notes["lowzoo.compatible"])
    assert said == facts.as_dict() | {"normalised": "L2, in the graph", "similarity": "cosine"}
    assert "unit vectors in the embedding space of tiny.tag" in json.loads(notes["lowzoo.output"])["meaning"]
    for against in (None, load_model(str(folder))):
        report = check_artifact(artifact.path, against=against)
        assert report.same_weights
        assert not report.broken
    plain = export(folder)
    assert plain.path != artifact.path
    assert "lowzoo.compatible" not in notes_of_onnx(plain.path)
    # Another map, trained again for the same backbone: the file was not made from it.
    save_map(folder, EmbeddingMap(96, 7), facts)
    with pytest.raises(LowzooError, match="and these are others"):
        check_artifact(artifact.path)
    save_map(folder, made, facts)
    assert check_artifact(artifact.path).same_weights


def test_a_loaded_network_is_checked_with_the_head_that_is_named(scratch):
    """A file that gives scores is no file of features: left out in silence, the head would make other figures."""
    weight = torch.randn(4, 6)
    save_file({"weight": weight}, "probe.safetensors")
    save_file({"weight": -weight}, "other.safetensors")
    probe = Path("probe.safetensors")
    classifier = with_head(tiny_resolved(), *read_head(probe), tuple("abcd"), probe)
    file = write_artifact(classifier, ExportSpec(classes=tuple("abcd")), "x.onnx").path
    report = check(file, against=tiny_resolved(), head=probe)
    assert (report.broken, report.same_weights) == ((), True)
    assert check(file, against=classifier, head=probe).same_weights is True
    wrong = check(file, against=tiny_resolved(), head="other.safetensors")
    assert wrong.broken
    assert wrong.same_weights is False
    with pytest.raises(LowzooError, match=r"ends in a head already \(.*probe.safetensors\)"):
        check(file, against=classifier, head="other.safetensors")
    with pytest.raises(LowzooError, match="cannot be read as a head"):
        check(file, against=tiny_resolved(), head="missing.safetensors")
    with pytest.raises(LowzooError, match="was loaded without its classifier"):
        check(file, against=tiny_resolved(classes=4), head="own")
