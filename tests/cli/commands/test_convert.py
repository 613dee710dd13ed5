"""`lowzoo convert`: a folder that timm loads, what it says of it, and what it refuses."""

import json
import subprocess
import sys

import pytest
import timm
import torch

import lowzoo  # noqa: F401  (registers the networks that timm has not)
from lowzoo.zoo.resolve import load_model
from tests.helpers.cli import runner
from tests.helpers.published_files import make_content, save
from tests.helpers.published_networks import reference

run = runner()


@pytest.mark.parametrize(
    ("family", "architecture", "needs"),
    [
        ("sslight_dino_r18", "resnet18", False),
        pytest.param("seed_mobilenetv3_large", "seed_mobilenetv3_large", True, marks=pytest.mark.slow),
        pytest.param("seed_efficientnet_b0", "tf_efficientnet_b0", False, marks=pytest.mark.slow),
        pytest.param("seed_efficientnet_b1", "seed_efficientnet_b1", True, marks=pytest.mark.slow),
        pytest.param("dino_vits16", "vit_small_patch16_224", False, marks=pytest.mark.slow),
    ],
)
def test_the_folder_gives_the_authors_network(capsys, tmp_path, family, architecture, needs):
    content, wanted = make_content(family)
    path = save(content, tmp_path / "checkpoint.pth.tar")
    status, out, _ = run(capsys, "convert", path, "--out", tmp_path / "folder", "--json")
    assert status == 0
    facts = json.loads(out)
    assert (facts["family"], facts["architecture"], facts["needs_lowzoo"]) == (family, architecture, needs)
    assert {file.name for file in (tmp_path / "folder").iterdir()} == {"config.json", "model.safetensors"}
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert config["lowzoo"]["converted_from"] == "checkpoint.pth.tar"
    assert config["pretrained_cfg"]["input_size"] == [3, 224, 224]
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = reference(family)(wanted, images)
        for model in (
            timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True).eval(),
            load_model(str(tmp_path / "folder")).model,
        ):
            assert (model(images) - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)


def test_info_tells_what_the_folder_says_of_itself(capsys, tmp_path):
    content, wanted = make_content("dino_vits16")
    run(capsys, "convert", save(content, tmp_path / "dino.pth"), "--out", tmp_path / "folder")
    status, out, err = run(capsys, "info", tmp_path / "folder")
    assert (status, err) == (0, "")
    for fact in ("vit_small_patch16_224", "3 x 224 x 224, bicubic", "150 tensors", "dino_vits16", "dino.pth"):
        assert fact in out
    assert max(map(len, out.replace(str(tmp_path), "").splitlines())) <= 80
    facts = json.loads(run(capsys, "info", tmp_path / "folder", "--json")[1])
    assert facts["numbers"] == sum(value.numel() for value in wanted.values())
    assert facts["made"]["family"] == "dino_vits16"
    assert "license" not in facts, "nobody stated any"
    timms = json.loads(run(capsys, "info", "resnet18.a1_in1k", "--json")[1])
    assert (timms["id"], timms["license"]) == ("resnet18.a1_in1k", "apache-2.0")
    assert run(capsys, "info", "resnet18.nonsense")[0] == 2
    (tmp_path / "folder" / "run.json").write_text(
        '{"epochs": 3, "teacher": {"name": "dino_vits16"}, "result": {"knn": 1.5}}'
    )
    made = json.loads(run(capsys, "info", tmp_path / "folder", "--json")[1])["made"]
    assert (made["epochs"], made["teacher"], made["knn"]) == (3, "dino_vits16", 1.5)
    (tmp_path / "folder" / "run.json").write_text("[]")
    assert run(capsys, "info", tmp_path / "folder")[0] == 2
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    (tmp_path / "folder" / "config.json").write_text(json.dumps(config | {"lowzoo": "nonsense"}))
    assert "is not timm's model configuration" in run(capsys, "info", tmp_path / "folder")[2]


@pytest.mark.slow
def test_lowzoo_resamples_positions_as_the_authors_do_and_plain_timm_does_not(capsys, tmp_path):
    content, wanted = make_content("dino_vits16")
    path = save(content, tmp_path / "checkpoint.pth")
    _, out, _ = run(capsys, "convert", path, "--out", tmp_path / "folder")
    assert "lowzoo's commands follow the authors' rule" in out
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    loaded = load_model(str(tmp_path / "folder"), image_size=96).model
    plain = timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True, img_size=96).eval()
    with torch.no_grad():
        expected = reference("dino_vits16", positions="dino")(wanted, images)
        assert (loaded(images) - expected).abs().max() < 1e-5 * expected.abs().max()
        assert (plain(images) - expected).abs().max() > 1e-3
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    config["lowzoo"]["positions"] = "anything"
    (tmp_path / "folder" / "config.json").write_text(json.dumps(config))
    with torch.no_grad():
        found = load_model(str(tmp_path / "folder"), image_size=96).model(images)
    assert torch.allclose(found, plain(images)), "a rule that is none is timm's"


def test_the_text_says_what_it_was_and_how_to_load_it(capsys, tmp_path):
    content, _ = make_content("seed_r18")
    path = save(content, tmp_path / "seed.pth.tar")
    status, out, err = run(capsys, "convert", path, "--family", "seed_r18", "--out", tmp_path / "folder")
    assert (status, err) == (0, "")
    assert "seed.pth.tar is seed_r18: resnet18" in out
    assert f'model = timm.create_model("local-dir:{tmp_path / "folder"}", pretrained=True)' in out
    assert "    import timm\n" in out


def test_mistakes_are_one_line_and_write_nothing(capsys, tmp_path):
    content, _ = make_content("seed_r18")
    path = save(content, tmp_path / "seed.pth.tar")
    out = tmp_path / "folder"
    for words, message in (
        ((path, "--family", "sslight_dino_r18"), "expected state_dict: module.student.backbone.*, found"),
        ((path, "--family", "seed_r19"), "unknown family 'seed_r19' (near: seed_r18"),
        ((tmp_path / "nothing",), "there is no file"),
        ((tmp_path,), "there is no file"),
    ):
        status, _, err = run(capsys, "convert", *words, "--out", out)
        assert status == 2
        assert err.count("\n") == 1
        assert message in err
        assert not out.exists()
    out.write_text("a file")
    assert run(capsys, "convert", path, "--out", out)[0] == 2
    assert out.read_text() == "a file"


@pytest.mark.slow
def test_a_stock_folder_needs_no_lowzoo(capsys, tmp_path):
    content, _ = make_content("sslight_moco_mnv2")
    run(capsys, "convert", save(content, tmp_path / "moco.tar"), "--out", tmp_path / "folder")
    code = "import sys, timm; timm.create_model('local-dir:folder', pretrained=True); print('lowzoo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_another_model_is_not_replaced_unless_by_force(capsys, tmp_path):
    torch.manual_seed(0)
    nets = [timm.create_model("resnet18", num_classes=0).state_dict() for _ in range(2)]
    file, out = tmp_path / "last.pth.tar", tmp_path / "folder"
    torch.save({"state_dict": nets[0], "state_dict_ema": nets[1]}, file)
    words = ["convert", file, "--out", out, "--arch", "resnet18"]
    assert run(capsys, *words)[0] == 0
    assert run(capsys, *words)[0] == 0, "the same again"
    before = (out / "model.safetensors").read_bytes(), (out / "config.json").read_bytes()
    other = save(make_content("sslight_dino_r18")[0], tmp_path / "other.pth.tar")
    for others in (
        [*words, "--branch", "state_dict"],
        [*words[:-1], "resnet18.tv_in1k"],
        ["convert", other, "--out", out],
    ):
        status, _, error = run(capsys, *others)
        assert status == 2
        assert "holds a model that was not made from this checkpoint in this way" in error
        assert "--force" in error
    assert ((out / "model.safetensors").read_bytes(), (out / "config.json").read_bytes()) == before
    assert run(capsys, *words, "--branch", "state_dict", "--force")[0] == 0
    assert (out / "model.safetensors").read_bytes() != before[0]
