"""Weights from a Hub and to it, on a server of this process: names, commits, caches, tokens, and what goes wrong."""

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub.utils import _http
from PIL import Image
from safetensors.torch import load_file, save_file

import lowzoo
from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.checkpoints.folder import convert_to_folder
from lowzoo.cli import main as cli
from lowzoo.train.networks.warm_start import load_init, student_of
from lowzoo.train.teachers import load_teacher
from lowzoo.zoo import pretrained
from lowzoo.zoo.resolve import load_model
from tests.helpers.published_files import make_content, save
from tests.helpers.published_networks import mobilenetv2, seed_mobilenetv3
from tests.zoo.hub_server import TOKEN, running

MODEL, FAMILY = "sslight_dino_mobilenetv2", "sslight_dino_mnv2"
REPO = catalog.model(MODEL).default.repo
SHA = catalog.model(MODEL).default.revision
IMAGES = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The authors' file as it would be, and its network's tensors."""
    content, wanted = make_content(FAMILY)
    return save(content, tmp_path_factory.mktemp("checkpoint") / "dino_mnv2_sslight.pth.tar"), wanted


def _start_session():
    """Older releases look at the offline mode only when a session starts."""
    getattr(_http, "reset_sessions", lambda: None)()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server that everything in this process takes for the Hub, with caches of its own."""
    with running() as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.endpoint)
        template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        for module in ("constants", "file_download"):  # older releases copy it
            monkeypatch.setattr(f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True, raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "cache"))
        _start_session()
        yield server


@pytest.fixture
def offline(monkeypatch):
    def switch():
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        _start_session()

    return switch


def _catalog_with(monkeypatch, model, **changes):
    entry = catalog.model(model)
    weights = replace(entry.default, **changes)
    monkeypatch.setitem(catalog.models(), model, replace(entry, weights=(weights, *entry.weights[1:])))


@pytest.fixture
def published_on(hub, checkpoint, monkeypatch):
    """The authors' repository at the commit that the catalog names; the stated digest is that of the test's file."""
    path, _ = checkpoint
    hub.add(REPO, {"README.md": b"first"})
    hub.add(REPO, {path.name: path.read_bytes()}, sha=SHA)
    hub.add(REPO, {path.name: b"a later commit holds something else"})
    _catalog_with(monkeypatch, MODEL, digest=f"sha256:{pretrained.sha256(path)}", size=path.stat().st_size)
    return hub


def test_a_published_model_by_its_name_is_the_authors_network(published_on, checkpoint, offline, tmp_path):
    model = timm.create_model(f"lowzoo/{MODEL}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(model(IMAGES), mobilenetv2(checkpoint[1], IMAGES))
    assert f"/{REPO}/resolve/{SHA}/dino_mnv2_sslight.pth.tar" in {path for _, path, _ in published_on.requests}
    asked = len(published_on.requests)
    adapted = timm.create_model(f"lowzoo/{MODEL}", pretrained=True, num_classes=5, in_chans=1)
    assert torch.equal(adapted.blocks[3][1].conv_dw.weight, model.blocks[3][1].conv_dw.weight)
    maps = timm.create_model(f"lowzoo/{MODEL}", pretrained=True, features_only=True)
    assert torch.equal(maps.conv_stem.weight, model.conv_stem.weight)
    assert len(published_on.requests) == asked, "the checkpoint is read once"
    offline()
    resolved = load_model(MODEL)
    assert (resolved.revision, resolved.license) == (SHA, "Apache-2.0")
    assert torch.equal(resolved.model.conv_stem.weight, model.conv_stem.weight)
    for file in tmp_path.joinpath("cache").rglob("*.safetensors"):
        file.unlink()
    again = timm.create_model(f"lowzoo/{MODEL}", pretrained=True)
    assert torch.equal(again.conv_stem.weight, model.conv_stem.weight), "made again from the Hub's cache"


def test_cache_dir_keeps_everything_in_one_place(published_on, tmp_path):
    timm.create_model(f"lowzoo/{MODEL}", pretrained=True, cache_dir=tmp_path / "mine")
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    assert names >= {"lowzoo-converted", "models--fwtan--sslight_checkpoints"}
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "hub").exists()


def test_a_checkpoint_of_another_digest_is_refused(published_on, checkpoint, monkeypatch, tmp_path):
    _catalog_with(monkeypatch, MODEL, digest="sha256:" + "0" * 64)
    with pytest.raises(LowzooError, match="has not the published digest"):
        timm.create_model(f"lowzoo/{MODEL}", pretrained=True)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_file_that_the_hub_states_another_digest_of_is_refused(published_on, tmp_path):
    published_on.wrong_digests.add("dino_mnv2_sslight.pth.tar")
    with pytest.raises(LowzooError, match=r"has not the digest \w+... that the Hub states"):
        timm.create_model(f"lowzoo/{MODEL}", pretrained=True)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_an_interrupted_download_goes_on_where_it_stopped(published_on, checkpoint, monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000
    )  # of 10 MB, as is, nothing would remain
    published_on.breaks = [1_000_000]
    model = timm.create_model(f"lowzoo/{MODEL}", pretrained=True).eval()
    ranges = [wanted for method, _, wanted in published_on.requests if method == "GET" and wanted]
    assert ranges == ["bytes=1000000-"]
    with torch.no_grad():
        assert torch.equal(model(IMAGES), mobilenetv2(checkpoint[1], IMAGES))


def test_a_model_repository_by_name_by_commit_and_offline(hub, checkpoint, offline, tmp_path):
    convert_to_folder(checkpoint[0], tmp_path / "first", FAMILY)
    first = hub.add_folder("someone/thing", tmp_path / "first")
    tensors = load_file(tmp_path / "first" / "model.safetensors")
    save_file({name: value * 1 for name, value in tensors.items()} | {"bn1.bias": tensors["bn1.bias"] + 1},
              tmp_path / "first" / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    second = hub.add_folder("someone/thing", tmp_path / "first")
    assert (load_model("hf-hub:someone/thing").revision, second) == (second, second)
    old = load_model(f"hf-hub:someone/thing@{first}")
    assert torch.equal(old.model.bn1.bias, tensors["bn1.bias"])
    plain = timm.create_model(f"hf-hub:someone/thing@{first}", pretrained=True)
    assert torch.equal(plain.bn1.bias, tensors["bn1.bias"])
    offline()
    hub.requests.clear()
    assert load_model(f"hf-hub:someone/thing@{first}").revision == first
    assert load_model("hf-hub:someone/thing").revision == second
    assert not hub.requests
    with pytest.raises(LowzooError, match="someone/other is not in the local cache") as error:
        load_model("hf-hub:someone/other")
    assert "hf download someone/other config.json model.safetensors" in error.value.remedy


def test_weights_of_ours_on_the_hub_load_by_their_name_at_their_commit(hub, checkpoint, offline, monkeypatch, tmp_path):
    convert_to_folder(checkpoint[0], tmp_path / "folder", FAMILY)
    sha = hub.add_folder(f"lowzoo/{MODEL}", tmp_path / "folder")
    hub.add(f"lowzoo/{MODEL}", {"model.safetensors": b"a later commit holds something else"})
    ours = {"origin": "hub", "repo": f"lowzoo/{MODEL}", "revision": sha, "checkpoint": "", "digest": "", "size": None}
    _catalog_with(monkeypatch, MODEL, **ours)
    model = timm.create_model(f"lowzoo/{MODEL}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(model(IMAGES), mobilenetv2(checkpoint[1], IMAGES))
    offline()
    resolved = load_model(MODEL)
    assert torch.equal(resolved.model.bn1.bias, model.bn1.bias)
    assert resolved.revision.startswith("sha256:")
    assert not (tmp_path / "cache").exists(), "nothing is converted"


def test_a_private_repository_needs_a_token(hub, checkpoint, monkeypatch, tmp_path):
    convert_to_folder(checkpoint[0], tmp_path / "folder", FAMILY)
    hub.add_folder("someone/secret", tmp_path / "folder", private=True)
    with pytest.raises(LowzooError, match="the Hub has no repository someone/secret") as error:
        load_model("hf-hub:someone/secret")
    assert "hf auth login" in error.value.remedy
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert load_model("hf-hub:someone/secret").trained


def test_hostile_repositories_do_nothing(hub, checkpoint, tmp_path):
    convert_to_folder(checkpoint[0], tmp_path / "folder", FAMILY)
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    weights = (tmp_path / "folder" / "model.safetensors").read_bytes()

    def add(name, config, weights=weights):
        hub.add(name, {"config.json": json.dumps(config).encode(), "model.safetensors": weights})

    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(b"not to be opened")
    for key, value in {"file": str(outside), "url": "http://127.0.0.1:9/x.pth", "hf_hub_filename": "../../x"}.items():
        add(f"evil/{key}", config | {"pretrained_cfg": config["pretrained_cfg"] | {key: value}})
        assert "conv_stem.weight" in load_model(f"hf-hub:evil/{key}").model.state_dict(), "the repository's own file"
    add("evil/arguments", config | {"model_args": {"checkpoint_path": str(outside)}})
    with pytest.raises(LowzooError, match="sets checkpoint_path = "):
        load_model("hf-hub:evil/arguments")
    add("evil/header", config, (2**40).to_bytes(8, "little") + b"{" * 1000)
    with pytest.raises(LowzooError, match="is damaged"):
        load_model("hf-hub:evil/header")
    hub.add("evil/pickle", {"config.json": json.dumps(config).encode(), "pytorch_model.bin": b"\x80\x04."})
    with pytest.raises(LowzooError, match="pickled weights are not loaded"):
        load_model("hf-hub:evil/pickle")


def test_download_fetches_for_later(published_on, offline, capsys, monkeypatch):
    with pytest.raises(SystemExit) as status:
        cli.main(["download", MODEL, "rob_vit_tiny", "--json"])
    assert status.value.code == 0
    files = json.loads(capsys.readouterr().out)
    assert list(files) == [f"{MODEL}.sslight_in1k", "rob_vit_tiny.mobilenetv2_sup_tin100"]
    assert all(Path(path).is_file() for path in files.values())
    offline()
    assert timm.create_model(f"lowzoo/{MODEL}", pretrained=True)
    with pytest.raises(SystemExit):
        cli.main(["download", "rob_resnet18"])
    assert "unpublished and cannot be fetched" in capsys.readouterr().err


def test_a_checkpoint_at_a_plain_address(hub, monkeypatch, tmp_path):
    """SEED's files lie at addresses with a signature; the server stands for theirs."""
    content, wanted = make_content("seed_mobilenetv3_large")
    path = save(content, tmp_path / "seed.pth.tar")
    sha = hub.add("seed/files", {path.name: path.read_bytes()})
    url = f"{hub.endpoint}/seed/files/resolve/{sha}/{path.name}?sv=1&sig=secret"
    _catalog_with(monkeypatch, "seed_mobilenetv3_large", url=url, checkpoint=path.name)
    model = timm.create_model("lowzoo/seed_mobilenetv3_large", pretrained=True).eval()
    with torch.no_grad():
        expected = seed_mobilenetv3(wanted, IMAGES)
        assert (model(IMAGES) - expected).abs().max() < 1e-5 * expected.abs().max().clamp(min=1)
    (converted,) = (tmp_path / "cache" / "converted").glob("*.safetensors")
    assert b"secret" not in converted.read_bytes()[:2000]


@pytest.fixture
def nested(hub, checkpoint, tmp_path):
    """A repository with models in folders, one of them on a branch with a slash in its name."""
    convert_to_folder(checkpoint[0], tmp_path / "folder", FAMILY)
    files = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}

    def changed(by):
        tensors = load_file(tmp_path / "folder" / "model.safetensors")
        save_file(tensors | {"bn1.bias": tensors["bn1.bias"] + by}, tmp_path / "x.safetensors", {"format": "pt"})
        return {**files, "model.safetensors": (tmp_path / "x.safetensors").read_bytes()}

    def add(folder, by):
        return hub.add("someone/many", {f"{folder}{name}": content for name, content in changed(by).items()})

    shas = {"old": add("phones/small/", 1), "branch": add("phones/small/", 2), "main": add("phones/large/", 3)}
    hub.add("someone/many", {"README.md": b"no model at the top"})
    hub.repositories["someone/many"].branches |= {"try/this": shas["branch"], "stable": shas["main"]}
    bias = load_file(tmp_path / "folder" / "model.safetensors")["bn1.bias"]
    return hub, shas, lambda word: round((load_model(word).model.bn1.bias - bias).mean().item())


@pytest.mark.slow
def test_folders_and_revisions_of_a_repository_however_they_are_written(nested, offline):
    hub, shas, shift = nested
    head = hub.repositories["someone/many"].head
    words = {
        "hf-hub:someone/many/phones/small": 2,
        "hf-hub:someone/many/phones/large": 3,
        f"hf-hub:someone/many/phones/small@{shas['old']}": 1,
        f"hf-hub:someone/many@{shas['old']}/phones/small": 1,
        "hf-hub:someone/many/phones/small@try/this": 2,
        "hf-hub:someone/many@stable/phones/large": 3,
        "hf-hub:someone/many@try%2Fthis/phones/small/": 2,
        f"hf_hub:someone/many/phones/small@{shas['old']}": 1,
        f"hf://someone/many@{shas['old']}/phones/small": 1,
        f"{hub.endpoint}/someone/many/tree/main/phones/large": 3,
        f"{hub.endpoint}/someone/many/tree/{shas['old']}/phones/small": 1,
    }
    for word, expected in words.items():
        assert shift(word) == expected, word
    offline()
    hub.requests.clear()
    for word, expected in words.items():
        assert shift(word) == expected, word
    assert not hub.requests
    resolved = load_model("hf-hub:someone/many@stable/phones/large")
    assert (resolved.name, resolved.revision) == ("hf-hub:someone/many/phones/large", shas["main"])
    assert resolved.source == f"hf-hub:someone/many/phones/large@{shas['main']}"
    assert lowzoo.load("hf-hub:someone/many/phones/large", size=64).revision == head


def test_what_a_repository_has_is_said_where_something_else_is_named(nested):
    _, shas, _ = nested
    with pytest.raises(LowzooError, match=r"has no revision v9") as error:
        load_model("hf-hub:someone/many/phones/small@v9")
    assert error.value.remedy.endswith("a full commit sha: there are main, try/this, stable")
    with pytest.raises(LowzooError, match=r"has no revision v9/phones/small"):
        load_model("hf-hub:someone/many@v9/phones/small")
    with pytest.raises(LowzooError, match=r"many holds no phones/config\.json") as error:
        load_model("hf-hub:someone/many/phones")
    assert error.value.remedy == (
        "Name a folder that holds a model: hf-hub:someone/many/phones/large, hf-hub:someone/many/phones/small"
    )
    with pytest.raises(LowzooError, match=r"holds no config\.json") as error:
        load_model(f"hf-hub:someone/many@{shas['old']}")
    assert error.value.remedy == f"Name a folder that holds a model: hf-hub:someone/many/phones/small@{shas['old']}"


@pytest.mark.parametrize(
    "word", ["hf-hub:", "hf-hub:a/b@", "hf-hub:a/b/../c", "hf-hub:a/b//c", "hf-hub:a/b@main/../c", "hf-hub:a/b@x//y"]
)
def test_words_of_the_hub_that_mean_nothing(word):
    with pytest.raises(LowzooError, match="is no model of the Hub") as error:
        load_model(word)
    assert error.value.remedy.startswith("Write hf-hub:ORG/NAME")


@pytest.mark.slow
def test_every_command_takes_a_folder_at_a_revision_and_check_the_same_commit(nested, tmp_path, monkeypatch, capsys):
    hub, shas, _ = nested
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()

    def run(*words):
        with pytest.raises(SystemExit) as status:
            cli.main([*words])
        out, err = capsys.readouterr()
        assert status.value.code == 0, err
        return out

    word = f"hf-hub:someone/many/phones/small@{shas['old']}"
    exported = json.loads(run("export", "hf-hub:someone/many/phones/small", "--size", "64", "--json"))
    assert exported["path"] == "many-phones-small_64_fp32.onnx"
    commit = exported["revision"]
    hub.add("someone/many", {"phones/small/model.safetensors": b"a later commit holds something else"})
    checked = json.loads(run("check", exported["path"], "--json"))
    assert (checked["revision"], checked["same_weights"]) == (commit, True)
    run("check", exported["path"], "--against", f"hf-hub:someone/many@{commit}/phones/small")
    assert json.loads(run("info", word, "--json"))["revision"] == shas["old"]
    assert list(json.loads(run("download", word, "--json"))) == [word]
    for i in range(3):
        Image.new("RGB", (40, 40), (80 * i, 9, 9)).save(tmp_path / "pictures" / f"{i}.png")
    run("embed", "pictures", "--model", word, "--size", "32", "--out", "x.parquet")
    # The processes that time find it in the cache, by its commit.
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    run("bench", word, "--engine", "torch", "--quick", "--size", "64", "--json")


def test_students_start_from_and_teachers_are_folders_at_a_revision(nested):
    _, shas, shift = nested
    word = f"hf-hub:someone/many@{shas['old']}/phones/small"
    teacher = load_teacher(word, size=64, head="fitted")
    assert teacher.facts.name == word
    assert torch.equal(teacher.backbone.bn1.bias, load_model(word).model.bn1.bias)
    assert student_of(word) == "mobilenetv2"
    student = timm.create_model("mobilenetv2_100", num_classes=0)
    facts = load_init(student, word, 64)
    assert (facts.name, facts.revision) == ("hf-hub:someone/many/phones/small", shas["old"])
    assert torch.equal(student.bn1.bias, teacher.backbone.bn1.bias)
    assert shift(word) == 1


def _run_alone(code, server, folder, **environment):
    """Run code in a process that cannot find lowzoo: site-packages without what an editable install adds."""
    start = f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n"
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "OMP_NUM_THREADS") if name in os.environ}
    settings = {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(folder), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run([sys.executable, "-S", "-c", start + code], cwd=folder, env=keep | settings | environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_published_weights_load_where_lowzoo_is_not_installed(hub, checkpoint, monkeypatch, tmp_path, capsys):
    convert_to_folder(checkpoint[0], tmp_path / "folder", FAMILY)
    words = ["publish", str(tmp_path / "folder"), "--repo", "lowzoo/mine", "--model", MODEL, "--json"]
    with pytest.raises(SystemExit) as status:
        cli.main(words)
    assert status.value.code == 2, "without a token"
    assert "hf auth login" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(SystemExit) as status:
        cli.main(words)
    assert status.value.code == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["architecture"], facts["needs_lowzoo"]) == ("mobilenetv2_100", False)
    repository = hub.repositories["lowzoo/mine"]
    assert facts["revision"] == repository.head
    assert set(repository.commits[repository.head]) == {"model.safetensors", "config.json", "README.md"}
    card = repository.commits[repository.head]["README.md"].decode()
    for fact in ("license: apache-2.0", 'create_model("hf-hub:lowzoo/mine"', "68.3", "library_name: timm"):
        assert fact in card
    code = """
import importlib.util, json
import timm, torch
model = timm.create_model("hf-hub:lowzoo/mine", pretrained=True).eval()
images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    features = model(images)[0, :5].tolist()
print(json.dumps({"lowzoo": importlib.util.find_spec("lowzoo") is not None, "features": features}))
"""
    found = _run_alone(code, hub, tmp_path)
    assert found["lowzoo"] is False
    expected = mobilenetv2(checkpoint[1], IMAGES)[0, :5]
    assert torch.allclose(torch.tensor(found["features"]), expected, atol=1e-5)


def test_without_a_way_to_the_hub_one_look_is_enough(tmp_path, monkeypatch, caplog):
    """A closed port stands for a network that is not there; the client's own retries would take half a minute."""
    from lowzoo.io import hub as door

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LowzooError, match="the Hub cannot be reached"):
        load_model("hf-hub:a/b")
    assert "Retrying" not in caplog.text
    assert not door.reachable()


@pytest.mark.parametrize(
    ("proxy", "hop"),
    [("", ("hub.test", 8443)), ("http://proxy.test:3128", ("proxy.test", 3128)), ("proxy.test:1", ("proxy.test", 1))],
)
def test_the_look_goes_where_requests_go(proxy, hop, monkeypatch):
    from lowzoo.io import hub as door

    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", proxy)
    assert door._first_hop("https://hub.test:8443") == hop
