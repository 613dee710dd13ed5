"""A student that keeps another model's index: the map in training, in the run folder, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.base.next_line import commands_of
from lowzoo.cli.commands.info import describe_other, sections
from lowzoo.embedding import embed
from lowzoo.evaluate import knn
from lowzoo.io import hub
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.train.command import TrainArgs, _report
from lowzoo.train.monitoring.guard import Guard
from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.monitoring.progress import Progress, StepClock
from lowzoo.train.networks.step import Views
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.recipes.sslight.method import MocoMethod
from lowzoo.train.runs.compatible import CompatibleTerm
from lowzoo.train.runs.folder import read_config
from lowzoo.train.runs.loop import Run
from lowzoo.train.runs.result import RunResult
from lowzoo.zoo.compatible import FILE, CompatibleFacts, read_map, with_map
from lowzoo.zoo.digest import weights_digest
from lowzoo.zoo.publish import prepare
from lowzoo.zoo.resolve import load_model
from tests.helpers.slow import slow_but
from tests.helpers.train import METHODS, WIDTH, config_of, start

FEATURES = 96


def write_model(folder: Path, channels: int = 3, **fields: object) -> Path:
    """A small random ResNet for pictures of 32 px, with a normalisation and a filter of its own."""
    folder.mkdir()
    network = timm.create_model("test_resnet", num_classes=0, in_chans=channels)
    save_file(network.state_dict(), folder / "model.safetensors")
    cfg = {
        "input_size": [channels, 32, 32],
        "crop_pct": 1.0,
        "num_classes": 0,
        "first_conv": "conv1.0",
        "classifier": "fc",
        "mean": [0.5] * channels,
        "std": [0.5] * channels,
        "interpolation": "bilinear",
    }
    config = {"architecture": "test_resnet", "num_classes": 0, "pretrained_cfg": cfg | fields}
    (folder / "config.json").write_text(json.dumps(config | {"model_args": {"in_chans": channels}}))
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    return write_model(tmp_path_factory.mktemp("models") / "other")


def compatible(method: str, world: Path, model: Path, *more: str) -> TrainConfig:
    return config_of(method, world, f"compatible_with={model}", *more)


def column(folder: Path, name: str) -> list[float]:
    return [row[name] for row in read_metrics(folder / "metrics.jsonl") if name in row]


def first_loss(run: Run) -> float:
    return float(next(run.steps(StepClock(run.device))))


@pytest.mark.parametrize("method", slow_but(METHODS, ("rob_dino", "seed", "sslight_moco", "sslight_dino")))
def test_any_recipe_trains_a_map_and_its_own_first_loss_is_what_it_was(
    method: str, world: Path, other: Path, tmp_path: Path
) -> None:
    plain = start(world, tmp_path / "plain", config_of(method, world))
    assert plain.student.compatible is None
    assert not any("compatible" in key for key in plain.method.state_dict())
    run = start(world, tmp_path / "run", compatible(method, world, other))
    made = run.student.compatible
    assert made is not None
    weight, gradients = next(made.parameters()), []
    weight.register_hook(gradients.append)
    assert first_loss(run) == first_loss(plain)
    assert 0 < float(run._distance) < 2
    assert [bool(gradient.any()) for gradient in gradients] == [True]
    assert any(weight is each for group in run.updates._optimizer.param_groups for each in group["params"])
    assert not any(parameter.requires_grad for parameter in run.compatible._frozen.teacher.parameters())
    twin = getattr(run.method, "twin", None)
    assert twin is None or twin.compatible is None


def test_the_model_sees_each_view_as_its_own_preparation_says(world: Path, other: Path, tmp_path: Path) -> None:
    run = start(world, tmp_path / "run", compatible("rob_dino", world, other, "compatible_size=48"))
    said = run.compatible.facts
    assert (said.side, said.mean, said.interpolation, said.dimensions) == ((48, 48), (0.5,) * 3, "bilinear", FEATURES)
    seen: list[tuple[Views, torch.Tensor]] = []
    original = CompatibleTerm._embeddings

    def spy(term: CompatibleTerm, shown: torch.Tensor, views: Views, now: object) -> torch.Tensor:
        seen.append((shown, original(term, shown, views, now)))  # type: ignore[arg-type]
        return seen[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CompatibleTerm, "_embeddings", spy)
        first_loss(run)
    ((shown, found),) = seen
    # From the views' normalisation to pixels, to the model's size and to the model's normalisation.
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    larger = torch.nn.functional.interpolate(shown.flatten(0, 1), (48, 48), mode="bilinear", antialias=True)
    model = load_model(str(other), image_size=48).model
    with torch.no_grad():
        wanted = model((larger * std + mean - 0.5) / 0.5)
    torch.testing.assert_close(found.flatten(0, 1), wanted, atol=1e-4, rtol=1e-3)


def test_the_run_s_own_teacher_is_not_asked_twice(world: Path, tmp_path: Path) -> None:
    teacher = world / "teacher_dino"
    run = start(world, tmp_path / "run", compatible("rob_dino", world, teacher))
    apart = start(world, tmp_path / "apart", compatible("rob_dino", world, teacher))
    assert run.compatible.facts.side == (32, 32)
    assert run.compatible._teacher is run.teacher
    apart.compatible._teacher = None
    calls: list[int] = []
    run.teacher.teacher.backbone.register_forward_pre_hook(lambda _, images: calls.append(len(images[0])))
    assert first_loss(run) == first_loss(apart)
    assert calls == [2 * 4]  # two global views of four images
    assert run._distance == apart._distance


def test_a_teacher_that_sees_another_size_is_asked_apart(world: Path, tmp_path: Path) -> None:
    teacher = world / "teacher_dino"
    run = start(world, tmp_path / "run", compatible("rob_dino", world, teacher, "compatible_size=48"))
    assert run.compatible._teacher is None
    assert run.compatible.facts.side == (48, 48)


def test_moco_s_queries_meet_the_embedding_of_their_own_view(world: Path, other: Path, tmp_path: Path) -> None:
    """The first global view is the key, so what is mapped is the second: cached or not, it is that one."""
    plain = start(world, tmp_path / "plain", compatible("sslight_moco", world, other))
    cached = start(world, tmp_path / "cached", compatible("sslight_moco", world, other), cache=tmp_path / "cache")
    assert isinstance(plain.method, MocoMethod)
    assert cached.compatible.is_cached
    assert first_loss(plain) == first_loss(cached)
    assert float(plain._distance) == pytest.approx(float(cached._distance), rel=2e-3)


def test_embeddings_are_cached_once_by_weights_and_preparation(world: Path, other: Path, tmp_path: Path) -> None:
    quick = ("epochs=1", "monitor_epochs=0")
    config, cache = compatible("rob_dino", world, other, *quick), tmp_path / "cache"
    start(world, tmp_path / "filling", config, cache=cache).train(Progress())
    reading = start(world, tmp_path / "reading", config, cache=cache)
    reading.compatible._frozen.teacher.backbone = torch.nn.Identity()  # everything is in the cache now
    reading.train(Progress())
    for name in ("loss", "compatible"):
        assert column(tmp_path / "reading", name) == column(tmp_path / "filling", name)
    assert (tmp_path / "reading" / FILE).read_bytes() == (tmp_path / "filling" / FILE).read_bytes()
    start(world, tmp_path / "larger", compatible("rob_dino", world, other, "compatible_size=48", *quick), cache=cache)
    assert len(list(cache.glob("compatible-*"))) == 2


class _Stopped(Exception):
    pass


@pytest.mark.slow
def test_a_run_in_parts_that_stops_goes_on_to_the_same_bits(
    world: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("accumulate=2", "compatible_map=mlp", "precision=bf16", "epochs=1", "monitor_epochs=0")
    config = compatible("rob_dino", world, other, *more)
    start(world, tmp_path / "whole", config).train(Progress())
    step = Run._one_step

    def stop(run: Run, *words: object) -> torch.Tensor:
        if run.step == 5:
            raise _Stopped
        return step(run, *words)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_one_step", stop)
        with pytest.raises(_Stopped):
            start(world, tmp_path / "broken", config).train(Progress())
    resumed = start(world, tmp_path / "broken", config, resume=True)
    assert resumed.step == 4
    resumed.train(Progress())
    for file in ("model.safetensors", "head.safetensors", FILE):
        assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert column(tmp_path / "broken", "compatible")[-1] == column(tmp_path / "whole", "compatible")[-1]


def test_a_run_does_not_go_on_with_another_model(world: Path, tmp_path: Path) -> None:
    model, out = write_model(tmp_path / "model"), tmp_path / "run"
    run = start(world, out, compatible("rob_dino", world, model))
    for _ in run.steps(StepClock(run.device)):
        run._save(keep=False)
        break
    with pytest.raises(LowzooError, match="other values of compatible_with"):
        start(world, out, compatible("rob_dino", world, world / "teacher_dino"), resume=True)
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), model / "model.safetensors")
    with pytest.raises(LowzooError, match=r"was begun to be compatible with model \(weights .* now means model"):
        start(world, out, compatible("rob_dino", world, model), resume=True)


@pytest.fixture(scope="module")
def trained(world: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder, made once."""
    out = tmp_path_factory.mktemp("runs") / "run"
    config = compatible("rob_dino", world, other, "epochs=1", "compatible_weight=2", "monitor_epochs=0")
    start(world, out, config).train(Progress())
    return out


def test_the_folder_keeps_the_map_and_says_with_whom(trained: Path, other: Path) -> None:
    network, facts = read_map(trained)
    model = load_model(str(other))
    assert facts.weights == weights_digest(model.model)
    assert facts.preparation == {key: getattr(model, key) for key in Preprocessing.__dataclass_fields__}
    assert (facts.model, facts.dimensions, facts.features, facts.weight) == ("other", FEATURES, WIDTH, 2.0)
    run = json.loads((trained / "run.json").read_text())
    assert run["compatible"] == facts.as_dict()
    assert run["result"]["compatible"] == [column(trained, "compatible")[0], column(trained, "compatible")[-1]]
    card = (trained / "README.md").read_text()
    assert f"Compatible with: other (weights sha256:{facts.weights[:12]}, 96 numbers, 32 px)" in card
    plain = timm.create_model(f"local-dir:{trained}", pretrained=True, num_classes=0).eval()
    images = torch.randn(2, 3, 32, 32)
    mapped = with_map(load_model(f"local-dir:{trained}"))
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(network(plain(images)), dim=1)
        torch.testing.assert_close(mapped.model(images), wanted, atol=1e-5, rtol=1e-4)
    assert mapped.compatible == facts
    said = describe_other(str(trained))
    assert said["compatible"] == facts.as_dict()
    assert "Compatible with" in dict(sections(said))


def test_other_weights_do_not_get_the_map(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.json", FILE):
        (folder / name).write_bytes((trained / name).read_bytes())
    state = load_file(trained / "model.safetensors")
    save_file({key: value + 1 for key, value in state.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(LowzooError, match="was trained with other weights"):
        with_map(load_model(f"local-dir:{folder}"))
    (folder / FILE).write_bytes(b"no map")
    with pytest.raises(LowzooError, match="is no map into another model's space"):
        with_map(load_model(f"local-dir:{folder}"))


def test_knn_asks_a_bank_of_the_model_by_the_student(trained: Path, other: Path, world: Path) -> None:
    found = knn(trained, data=world, bank=other, k=3).result
    figures = {figure.metric: figure.mean for figure in found.figures}
    assert list(figures) == ["cross_knn_top1_k3", "knn_top1_k3", "bank_knn_top1_k3"]
    assert found.settings["bank_model"]["name"] == "other"
    for metric, model in (("knn_top1_k3", trained), ("bank_knn_top1_k3", other)):
        assert figures[metric] == knn(model, data=world, k=3).result.figures[0].mean
    # What is said of it is what k-NN of the student alone says, and what the bank adds.
    alone = knn(trained, data=world, k=3).result
    added = ("bank_model", "bank_preprocessing", "compatible")
    assert tuple(found.settings) == (*alone.settings, *added)
    assert {key: found.settings[key] for key in alone.settings} == alone.settings
    assert (found.figures[1], found.data["queries"]) == (alone.figures[0], alone.data["queries"])
    # The same from what `embed` writes: unit vectors of the queries, the model's own of the bank.
    queries = embed(world, model=trained, split="validation", head="compatible")
    bank = embed(world, model=other)
    assert queries.features.x.norm(dim=1).allclose(torch.ones(8))
    near = (queries.features.x @ torch.nn.functional.normalize(bank.features.x, dim=1).T).topk(3)
    votes = torch.zeros(8, 2).scatter_add_(1, bank.features.labels[near.indices], (near.values / 0.07).exp())
    assert figures["cross_knn_top1_k3"] == pytest.approx(
        100 * float((votes.argmax(1) == queries.features.labels).float().mean())
    )


def test_knn_refuses_a_bank_that_the_map_does_not_lead_to(trained: Path, other: Path, world: Path) -> None:
    with pytest.raises(
        LowzooError, match=r"is compatible with other \(weights .*, and teacher_dino has other"
    ) as caught:
        knn(trained, data=world, bank=world / "teacher_dino")
    assert "Name other" in caught.value.remedy
    assert "64 numbers" in caught.value.message
    with pytest.raises(LowzooError, match="other has no map into another model's space"):
        knn(other, data=world, bank=other)
    with pytest.raises(LowzooError, match="random weights have no map"):
        knn(trained, data=world, bank=other, random_init=True)
    with pytest.raises(LowzooError, match=r"at mean .* and here it has"):
        knn(trained, data=world, bank=replace(load_model(str(other)), mean=(0.4,) * 3))


def test_what_no_view_can_be_shown_to_is_refused_before_there_is_a_folder(world: Path, tmp_path: Path) -> None:
    wide = write_model(tmp_path / "wide", input_size=[3, 32, 48])
    grey = write_model(tmp_path / "grey", channels=1)
    detector = tmp_path / "detector"
    detector.mkdir()
    (detector / "detector.json").write_text("{}")
    for model, reason in (
        (wide, "takes pictures of 32 x 48 px, and views are square"),
        (grey, "takes pictures of 1 channels, and views have 3"),
        (tmp_path / "nothing", "no model folder"),
        (detector, "holds a detector, and a backbone is asked for"),
    ):
        with pytest.raises(LowzooError, match=reason):
            start(world, tmp_path / "run", compatible("rob_dino", world, model))
        assert not (tmp_path / "run").exists()
    with pytest.raises(LowzooError, match="unknown model no_such_thing"):
        start(world, tmp_path / "run", config_of("rob_dino", world, "compatible_with=no_such_thing"))


def test_a_recipe_that_encodes_by_itself_is_refused(world: Path, other: Path, tmp_path: Path) -> None:
    run = start(world, tmp_path / "run", compatible("rob_dino", world, other))
    run.method.encode = lambda groups, masks, now: run.student(groups)  # type: ignore[method-assign]
    with pytest.raises(LowzooError, match=r"does not encode its views by Method\.encode"):
        first_loss(run)


def test_steps_over_epochs_of_whole_batches_stay_within_the_cache(world: Path, other: Path, tmp_path: Path) -> None:
    # 24 images in batches of 10: two steps an epoch, so that seven go through four epochs.
    config = compatible("rob_dino", world, other, "batch_size=10", "monitor_epochs=0", "steps=7")
    for name in ("filling", "reading"):
        start(world, tmp_path / name, config, cache=tmp_path / "cache").train(Progress())
    assert column(tmp_path / "reading", "loss") == column(tmp_path / "filling", "loss")


def test_two_preparations_of_the_same_weights_have_caches_of_their_own(world: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = write_model(tmp_path / "first")
    torch.manual_seed(1)
    second = write_model(tmp_path / "second", crop_pct=0.5)
    for model in (first, second):
        start(world, tmp_path / f"run_{model.name}", compatible("rob_dino", world, model), cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("compatible-*"))) == 2


def test_a_distance_that_is_no_number_ends_the_run() -> None:
    guard = Guard(outputs=8)
    guard.loss(1.0, 10, 0.5)
    with pytest.raises(LowzooError, match="the loss became nan at step 20"):
        guard.loss(1.0, 20, float("nan"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimensions": "96"}, "damaged at dimensions"),
        ({"dimensions": 10**12}, "its tensors are not those of a linear map"),
        ({"map": "cubic"}, "damaged at map"),
        ({"input_size": [3, 32]}, "damaged at input_size"),
        ({"colour": 1}, "the unknown colour"),
        ([1, 2], "is no map"),
    ],
)
def test_a_map_that_says_nonsense_is_refused_in_plain_words(trained: Path, tmp_path: Path, change, message) -> None:
    facts = read_map(trained)[1].as_dict()
    said = facts | change if isinstance(change, dict) else change
    save_file(load_file(trained / FILE), tmp_path / FILE, {"lowzoo.compatible": json.dumps(said)})
    with pytest.raises(LowzooError, match=message):
        read_map(tmp_path)


def test_info_says_what_a_map_is_worth(trained: Path, tmp_path: Path) -> None:
    assert "unusable" not in describe_other(str(trained))["compatible"]
    for name in ("config.json", FILE):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    state = load_file(trained / "model.safetensors")
    save_file({key: value + 1 for key, value in state.items()}, tmp_path / "model.safetensors", {"format": "pt"})
    assert "was trained with other weights" in describe_other(str(tmp_path))["compatible"]["unusable"]
    (tmp_path / FILE).write_bytes(b"no map")
    said = describe_other(str(tmp_path))
    assert "is no map" in said["compatible"]["damaged"]
    assert "Compatible with" in dict(sections(said))


def test_the_licence_of_the_model_is_kept_to_and_the_map_is_published(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    facts = json.loads((folder / "run.json").read_text())
    facts["teacher"] = None

    def state(**compatible: object) -> None:
        (folder / "run.json").write_text(json.dumps(facts | {"compatible": facts["compatible"] | compatible}))

    for said, message in (
        ({}, "does not state the licence of the model other"),
        ({"license": "CC-BY-ND-4.0"}, "forbids publishing"),
        ({"license": "MIT", "derivatives_may_be_published": False}, "forbids publishing"),
        ({"license": "CC-BY-NC-4.0"}, "which MIT would not keep to"),
    ):
        state(**said)
        with pytest.raises(LowzooError, match=message):
            prepare(folder, "me/mine", license="MIT")
    state(license="Apache-2.0")
    found = prepare(folder, "me/mine", license="MIT")
    assert "**Compatible with**: other (Apache-2.0, weights" in found.card
    assert found.files[-1] == FILE
    assert found.map == folder / FILE
    # What a repository holds is asked for by its name at its commit.
    resolved = replace(load_model(f"local-dir:{folder}"), source=f"hf-hub:me/mine/sub@{'0' * 40}")
    asked = []

    def fetched(repository: str, files: list[str]) -> tuple[Path, str]:
        asked.append((repository, *files))
        (tmp_path / "sub").mkdir()
        shutil.copy(folder / FILE, tmp_path / "sub")
        return tmp_path, "0" * 40

    monkeypatch.setattr(hub, "fetch_files", fetched)
    assert with_map(resolved).compatible == read_map(folder)[1]
    assert asked == [(f"me/mine@{'0' * 40}", f"sub/{FILE}")]

    def missing(repository: str, files: list[str]) -> None:
        raise hub.NoFileError("no", "no")

    monkeypatch.setattr(hub, "fetch_files", missing)
    with pytest.raises(LowzooError, match="has no map") as caught:
        with_map(resolved)
    assert "where it was published" in caught.value.remedy


def test_facts_keep_the_licence_of_a_teacher_of_the_catalog() -> None:
    network = replace(load_model("test_resnet", pretrained=False), source="dino_vits16@/x.pth", license="Apache-2.0")
    facts = CompatibleFacts.of(network, dimensions=4, features=4, map="linear", weight=1.0)
    entry = catalog.teacher("dino_vits16")
    assert (facts.license, facts.derivatives_may_be_published) == ("Apache-2.0", entry.derivatives_may_be_published)


def test_the_next_line_names_the_model_and_the_data_of_the_run(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a run"
    shutil.copytree(trained, folder)
    facts = json.loads((folder / "run.json").read_text())
    said: list[str] = []
    _report(RunResult(folder, 1.0, None, None, facts), TrainArgs("rob", (), data="my photos"), said.append)
    first = commands_of("\n".join(said))[0]
    assert first[:4] == ["lowzoo", "eval", "knn", str(folder)]
    assert first[4:] == ["--bank", read_config(folder).compatible_with, "--data", "my photos"]


def test_each_search_by_an_index_is_told_by_its_name(trained: Path, other: Path, world: Path) -> None:
    pytest.importorskip("faiss")
    found = knn(trained, data=world, bank=other, k=3, neighbors="approximate")
    assert list(found.result.settings["approximation"]) == ["cross_knn", "knn", "bank_knn"]
    assert all(0 < each["recall"] <= 1 for each in found.result.settings["approximation"].values())
    assert "Neighbours of bank_knn: approximate" in str(found)
