"""Settings that follow from data, device and budget: each rule's effect, and that they always make a configuration."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lowzoo import catalog
from lowzoo.base.errors import LowzooError, LowzooWarning
from lowzoo.data.source import ImageSource, open_set
from lowzoo.train.command import TrainArgs, default_layers, resolve_args
from lowzoo.train.defaults import choose, look
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.recipes.facts import BUNDLED_TEACHER, Facts
from lowzoo.train.recipes.rob.config import RobConfig
from lowzoo.train.recipes.sslight.config import SslightConfig
from lowzoo.train.settings.config import checked, named_fields, resolve
from tests.helpers.train import WIDTH, make_teacher

FACTS = Facts("rob", images=5000, side=300, student="vit_tiny_patch16_224", gpu=False)
SETS = [2, 3, 5, 12, 70, 600, 5_000, 50_000, 1_281_167]


@pytest.mark.parametrize("recipe", ["rob", "seed", "sslight"])
@pytest.mark.parametrize("images", SETS)
@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("processes", [1, 2])
def test_every_set_of_images_gets_settings_that_start(recipe, images: int, gpu: bool, processes: int) -> None:
    facts = replace(FACTS, recipe=recipe, images=images, gpu=gpu, processes=processes)
    config = resolve(choose(facts, {}).fields)
    assert config.batch_size <= images
    assert config.batch_size % processes == 0
    assert images // config.batch_size >= 1
    assert config.minutes >= 1
    if queue := getattr(config, "queue", 0):
        assert queue % config.batch_size == 0
    assert config.chosen


@pytest.mark.parametrize(
    ("student", "precision"),
    [
        ("vit_tiny_patch16_224", "bf16"),
        ("resnet18", "bf16"),
        ("swin_tiny_patch4_window7_224", "bf16"),
        ("mobilenetv2_100", "auto"),
        ("mobilenetv3_large_100", "auto"),
        ("efficientnet_b0", "auto"),
        ("convnext_atto", "auto"),
    ],
)
def test_bf16_where_a_cpu_multiplies_it_and_the_network_is_made_of_matmuls(student: str, precision: str) -> None:
    facts = replace(FACTS, student=student, fast_bf16=True)
    chosen = choose(facts, {})
    assert resolve(chosen.fields).precision == precision
    assert any("bf16" in reason for reason in chosen.reasons) == (precision == "bf16")
    assert resolve(choose(replace(facts, fast_bf16=False), {}).fields).precision == "auto"
    named = choose(facts, {"precision": "fp32"})
    assert not any("bf16" in reason for reason in named.reasons)
    assert resolve(named.fields, options={"precision": "fp32"}).precision == "fp32"


def test_whether_a_cpu_multiplies_bf16_is_asked_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = _pictures(tmp_path, 3, different=3)
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has=has: has, raising=False)
        assert look("rob", pictures, {"device": "cpu"}, 1).fast_bf16 == has
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert not look("rob", pictures, {"device": "cpu"}, 1).fast_bf16


@pytest.mark.parametrize("student", catalog.students().values())
@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        *[("rob", {"loss": loss}) for loss in ("msn", "dino", "swav", "kd", "ibot")],
        *[("sslight", {"method": method}) for method in ("dino", "swav", "moco")],
        ("rob", {"teacher": "mobilenetv2_supervised"}),
        ("seed", {"batch_size": 48}),
        ("sslight", {"batch_size": 7}),
    ],
)
def test_whatever_is_named_goes_with_the_rest(student: str, recipe, named: dict[str, object]) -> None:
    facts = replace(FACTS, recipe=recipe, student=student, teacher_head=named.get("teacher") is None)
    config = resolve(choose(facts, named).fields, options=named)
    assert {key: getattr(config, key) for key in named} == named


@pytest.mark.parametrize(
    ("named", "gpu", "locals_"),
    [
        ({}, False, 0),
        ({}, True, 2),
        ({"beta": 0.5}, False, 2),
        ({"beta": 0.0}, False, 0),
        ({"beta": 0.0}, True, 0),
        ({"view": {"local": {"count": 3}}}, False, 3),
        ({"views": [{"name": "global", "count": 2, "size": 64, "scale": [0.3, 1.0]}]}, False, 0),
        ({"views": [{"name": "global", "count": 2, "size": 64, "scale": [0.3, 1.0]}]}, True, 0),
        (
            {
                "views": [
                    {"name": "global", "count": 2, "size": 64, "scale": [0.3, 1.0]},
                    {"name": "local", "count": 4, "size": 32, "scale": [0.05, 0.3]},
                ]
            },
            False,
            4,
        ),
    ],
)
def test_sslight_weighs_the_local_views_that_there_are(named: dict[str, object], gpu: bool, locals_: int) -> None:
    config = resolve(choose(replace(FACTS, recipe="sslight", gpu=gpu), named).fields, options=named)
    assert config.local_views == locals_
    assert (config.beta > 0) == (locals_ > 0)


@pytest.mark.parametrize("loss", ["msn", "dino", "swav"])
@pytest.mark.parametrize(("gpu", "pairs"), [(False, (1.0, 0.0)), (True, (0.4, 0.6))])
def test_robs_own_settings_take_sslights_views(loss: str, gpu: bool, pairs: tuple[float, float]) -> None:
    facts = replace(FACTS, gpu=gpu)
    config = resolve(choose(facts, {"view_preset": "sslight", "loss": loss}).fields)
    softer = resolve(choose(replace(facts, recipe="sslight"), {}).fields)
    assert isinstance(config, RobConfig)
    assert (config.views, config.pair_weights) == (softer.views, pairs)
    assert config.teacher == BUNDLED_TEACHER
    assert any("2 global of 96 px" in reason or "2 global of 224 px" in reason for reason in config.chosen)


@pytest.mark.parametrize("recipe", ["rob", "seed"])
@pytest.mark.parametrize("gpu", [False, True])
def test_a_short_run_with_a_teacher_changes_no_colours_and_has_a_linear_head(recipe: str, gpu: bool) -> None:
    config = resolve(choose(replace(FACTS, recipe=recipe, gpu=gpu), {}).fields)
    assert [(view.jitter_p > 0, view.gray > 0) for view in config.views] == [(gpu, gpu)]
    if recipe == "rob":
        assert config.student_head.layers == (2 if gpu else 1)
        wide = resolve(choose(replace(FACTS, gpu=gpu), {"student_head": {"hidden": 64}}).fields)
        assert (wide.student_head.layers, wide.student_head.hidden) == (2, 64)


def test_views_are_named_once() -> None:
    settings = ["views=[{name='global',count=1,size=64,scale=[0.4,1.0]}]"]
    for layers in ((), default_layers("rob", data="pictures", preset="rob_dino", views="sslight")):
        args = TrainArgs("rob", layers, settings=settings, views="sslight")
        with pytest.raises(LowzooError, match="--views sslight and the setting views both name them"):
            resolve_args(args, open_set(None).open("train"))


def test_reasons_of_another_run_are_not_those_of_this_one(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('chosen = ["3 minutes for 1254 images", "Batches of 64"]\nbatch_size = 4\nsteps = 2\n')
    source = open_set(None).open("train")
    chosen = resolve_args(TrainArgs("sslight", (), config=file), source).chosen
    assert chosen
    assert not any("1254" in reason or "atches of" in reason for reason in chosen)
    assert any(reason.startswith("Views: 2 global of 64 px") for reason in chosen)
    named = resolve_args(TrainArgs("rob", ("rob_dino",), config=file), source)
    assert (named.chosen, named.batch_size) == ((), 4)


def test_more_images_get_more_minutes_and_named_lengths_are_kept() -> None:
    minutes = [choose(replace(FACTS, images=images), {}).fields["minutes"] for images in SETS]
    assert minutes == sorted(minutes)
    assert (minutes[0], minutes[SETS.index(5_000)]) == (1, 6)
    for length in ({"epochs": 3}, {"steps": 10}, {"minutes": 2}):
        config = resolve(choose(FACTS, length).fields, options=length)
        assert {"epochs": 0, "steps": 0, "minutes": 0, **length}.items() <= config.model_dump().items()


def test_views_are_no_larger_than_the_images_and_smaller_on_a_processor() -> None:
    def size(**facts: object) -> int:
        return resolve(choose(replace(FACTS, **facts), {}).fields).global_size

    assert size(side=64) == 64
    assert size(side=64, gpu=True) == 64
    assert size(side=500) < size(side=500, gpu=True) == 224


def test_a_teacher_without_a_head_gets_prototypes_of_which_the_images_hold_many() -> None:
    named = {"teacher": "resnet18"}
    small = resolve(choose(replace(FACTS, images=600, teacher_head=False), named).fields)
    large = resolve(choose(replace(FACTS, images=50_000, teacher_head=False), named).fields)
    assert small.teacher_head == large.teacher_head == "fitted"
    assert 2 <= small.prototypes < large.prototypes
    assert small.prototypes * 4 <= 600
    # Embeddings cost a CPU more than they are worth beyond a few for each prototype.
    assert large.fitted_images == 8 * large.prototypes
    on_gpu = resolve(choose(replace(FACTS, images=50_000, teacher_head=False, gpu=True), named).fields)
    assert on_gpu.fitted_images > large.fitted_images
    for prototypes in (2, 8, 4096):
        many = resolve(
            choose(replace(FACTS, images=50_000, teacher_head=False), {**named, "prototypes": prototypes}).fields
        )
        assert many.fitted_images >= max(8 * prototypes, 2 * many.fitted_bottleneck)
    assert resolve(choose(FACTS, {}).fields).teacher == BUNDLED_TEACHER


def test_a_command_without_a_preset_says_what_it_chose_and_one_with_a_preset_keeps_the_papers(tmp_path: Path) -> None:
    said: list[str] = []
    words = TrainArgs("rob", default_layers("rob", data=None, preset=None))
    config = resolve_args(words, say=said.append)
    assert said == [f"Chosen: {reason}" for reason in config.chosen]
    assert "3 minutes for 1254 images" in said[0]
    named = TrainArgs("rob", default_layers("rob", data=None, preset=None), options={"student": "vit_tiny"})
    config = resolve_args(named, say=said.append)
    assert config.student == "vit_tiny"
    assert said[-1].startswith("This may not learn"), "a caution is a line of its own"
    assert said[-1] not in config.chosen
    paper = resolve_args(TrainArgs("rob", default_layers("rob", data=None, preset="rob_dino")), say=said.append)
    assert (paper.chosen, paper.epochs, paper.batch_size) == ((), 300, 1024)


def _pictures(folder: Path, count: int, *, different: int) -> ImageSource:
    for number in range(count):
        picture = np.random.default_rng(number % different).integers(0, 256, (50, 70, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return open_set(str(folder)).open("train")


def test_images_that_nothing_can_be_learned_from_are_refused(tmp_path: Path) -> None:
    for count, different, message in ((1, 1, "holds 1 image, and"), (5, 1, "all of 5 images .* the same picture")):
        folder = tmp_path / str(count)
        folder.mkdir()
        with pytest.raises(LowzooError, match=message):
            look("rob", _pictures(folder, count, different=different), {}, 1)
    folder = tmp_path / "few"
    folder.mkdir()
    facts = look("sslight", _pictures(folder, 3, different=3), {"student": "resnet18"}, 1)
    assert (facts.images, facts.side, facts.student, facts.kind) == (3, 50, "resnet18", "cnn")


@pytest.mark.parametrize("recipe", ["rob", "seed", "sslight"])
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        *(
            (f"{name}=abc", f"{name} = 'abc' is impossible")
            for name in ("prototypes", "batch_size", "steps", "minutes")
        ),
        ("prototypes=[4]", "prototypes = [4] is impossible"),
        ("epochs=many", "epochs = 'many' is impossible"),
        ("student_head=abc", "student_head = 'abc' is impossible"),
        ("views=3", "views = 3 is impossible"),
        ("view=3", "view = 3 names no field of a view"),
        ("view.global=3", "view.global = 3 names no field"),
        ("beta=[1]", "beta = [1] is impossible"),
    ],
)
def test_values_that_nothing_can_follow_from_are_named(recipe: str, setting: str, message: str) -> None:
    if setting.startswith("beta") and recipe == "seed":
        message = "unknown configuration key 'beta'"
    words = TrainArgs(recipe, default_layers(recipe, data=None, preset=None), settings=(setting,))
    with pytest.raises(LowzooError) as caught:
        resolve_args(words)
    assert message in caught.value.message


def test_unreadable_pictures_are_no_copies(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(b"nothing")
    assert look("sslight", open_set(str(tmp_path)).open("train"), {}, 1).side == 1
    assert not [each for each in recwarn if "copies" in str(each.message)]


def test_copies_of_few_pictures_are_noted(tmp_path: Path) -> None:
    source = _pictures(tmp_path, 6, different=2)
    with pytest.warns(LowzooWarning, match="6 images tried in .* are copies of 2 pictures"):
        look("sslight", source, {}, 1)


def test_what_is_known_not_to_learn_in_the_time_is_said_before_it_starts() -> None:
    def said(recipe: str, student: str, named: dict[str, object], images: int = 1254) -> bool:
        facts = replace(FACTS, recipe=recipe, student=student, images=images, drawings=images == 1254)
        return bool(choose(facts, {"student": student, **named}).caution)

    cnn, vit = "mobilenetv2_100", "vit_tiny_patch16_224"
    assert said("sslight", cnn, {})
    assert said("sslight", cnn, {"minutes": 6}, 5000), "it did not, whatever others did"
    assert not said("sslight", "mobilenetv3_large_100", {"minutes": 6}, 5000)
    assert not said("sslight", "mnasnet_100", {"minutes": 6}, 5000), "a CNN has learned in that time"
    assert said("sslight", cnn, {"steps": 447})
    assert said("rob", vit, {})
    assert said("seed", vit, {"epochs": 20}), "no other recipe has taught a ViT in that time either"
    assert not said("sslight", cnn, {"minutes": 240}, 5000)
    assert not said("rob", "mobilenetv3_large_100", {})
    assert not said("rob", vit, {"epochs": 200})


@pytest.mark.parametrize(
    ("named", "bank", "queries"),
    [
        ({"minutes": 0.2}, 1_000, 500),
        ({"minutes": 3}, 4_500, 1_050),
        ({"minutes": 60}, 10_000, 2_000),
        ({"steps": 10}, 10_000, 2_000),
        ({"minutes": 0.2, "monitor_bank": 7}, 7, 500),
    ],
)
def test_the_monitor_of_a_short_run_looks_at_fewer_images(named: dict[str, float], bank: int, queries: int) -> None:
    config = resolve(choose(FACTS, named).fields, options=named)
    assert (config.monitor_bank, config.monitor_queries) == (bank, queries)
    config = resolve(choose(replace(FACTS, gpu=True), {"minutes": 1}).fields, options={"minutes": 1})
    assert (config.monitor_bank, config.monitor_queries) == (10_000, 2_000)


def test_a_student_that_learns_in_the_time_takes_the_place_of_one_that_does_not() -> None:
    few = replace(FACTS, images=1254, drawings=True)
    assert choose(few, {}).fields["student"] == "mobilenetv3_large"
    assert not choose(few, {}).caution
    for named in ({"student": "vit_tiny"}, {"loss": "ibot"}, {"patch_drop": 0.2}, {"minutes": 60}, {"init": "x"}):
        assert choose(few, named).fields["student"] == "vit_tiny"
    assert choose(replace(few, gpu=True), {}).fields["student"] == "vit_tiny"
    assert resolve(choose(few, {}).fields).zero_init_residual
    assert choose(replace(few, drawings=False), {}).fields["student"] == "vit_tiny", "drawings tell nothing of these"


@pytest.mark.parametrize(
    ("student", "kind"),
    [
        ("vit_tiny_patch16_224", "vit"),
        ("deit_small_patch16_224", "vit"),
        ("mixer_b16_224", "vit"),
        ("swin_tiny_patch4_window7_224", "vit"),
        ("resnet18", "cnn"),
        ("mobilevit_s", "cnn"),
        ("convnext_tiny", "cnn"),
        ("seed_mobilenetv3_large", "cnn"),
    ],
)
def test_a_student_is_of_tokens_or_of_convolutions_by_its_tensors_and_not_by_its_name(student: str, kind: str) -> None:
    assert replace(FACTS, student=student).kind == kind


def test_prototypes_and_axes_follow_from_the_images_that_they_are_fitted_to() -> None:
    facts = replace(FACTS, teacher_head=False, teacher_width=1280)
    fields = choose(facts, {"fitted_images": 64}).fields
    assert (fields["prototypes"], fields["fitted_bottleneck"]) == (16, 32)
    assert fields["student_head"]["bottleneck"] == 32
    assert choose(facts, {}).fields["fitted_bottleneck"] == 128


def test_what_is_known_of_a_teacher_stands_in_the_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(teacher: str) -> dict[str, object]:
        return choose(FACTS, {"teacher": teacher}).fields

    assert chosen("rob_vit_tiny")["teacher_prototypes"] is True
    assert "teacher_size" not in chosen("rob_vit_tiny")
    assert "teacher_prototypes" not in chosen("dino_vits16")
    known = dict(catalog.teachers())
    known["dino_vits16"] = replace(known["dino_vits16"], start_at_prototypes=True, least_view=112)
    monkeypatch.setattr(catalog, "teachers", lambda: known)
    assert (chosen("dino_vits16")["teacher_prototypes"], chosen("dino_vits16")["teacher_size"]) == (True, 112)


@pytest.mark.parametrize(("student", "zero"), [("mobilenetv2_100", True), ("vit_tiny_patch16_224", False)])
def test_branches_begin_at_zero_in_networks_of_batch_norms_with_random_weights(student: str, zero: bool) -> None:
    facts = replace(FACTS, student=student)
    assert resolve(choose(facts, {}).fields).zero_init_residual is zero
    assert not resolve(choose(facts, {"init": "mobilenetv2_supervised"}).fields).zero_init_residual


def _resolved(facts: Facts, *settings: str) -> TrainConfig:
    named = checked(facts.recipe, named_fields(settings=settings))
    return resolve(choose(facts, named).fields, settings=settings)


@pytest.mark.parametrize(
    ("settings", "student", "fitted", "starts"),
    [
        ((), 128, 128, True),
        (("fitted_bottleneck=64",), 64, 64, True),
        (("student_head.bottleneck=256",), 256, 256, True),
        (("student_head.kind=linear",), 128, 128, False),
        (("student_head.bottleneck=256", "fitted_bottleneck=64"), 256, 64, False),
        (("student_head.hidden=64",), 128, 128, True),
        (("teacher_prototypes=false",), 128, 128, False),
    ],
)
def test_parts_of_a_head_that_are_named_go_with_fitted_prototypes(
    settings: tuple[str, ...], student: int, fitted: int, starts: bool
) -> None:
    config = _resolved(replace(FACTS, teacher_head=False), *settings)
    assert isinstance(config, RobConfig)
    assert (config.student_head.bottleneck, config.fitted_bottleneck, config.teacher_prototypes) == (
        student,
        fitted,
        starts,
    )
    few = _resolved(replace(FACTS, images=100, teacher_head=False), "student_head.bottleneck=256")
    assert isinstance(few, RobConfig)
    assert (few.student_head.bottleneck, few.fitted_bottleneck, few.teacher_prototypes) == (256, 32, False)


@pytest.mark.parametrize(
    ("settings", "rate", "decay", "said"),
    [
        (("optimizer=sgd",), 0.03 / 4, 1e-4, "sgd's of the papers"),
        (("optimizer=larc",), 0.3 / 4, 1e-6, "larc's of the papers"),
        (("optimizer=lars", "batch_size=32"), 0.48 / 8, 1e-6, "lars's of the papers"),
        (("optimizer=sgd", "lr=0.1"), 0.1, 1e-4, ""),
        (("lr_batch=256",), 1e-3, 0.04, ""),
        (("lr_batch=256", "lr=0.004"), 1e-3, 0.04, ""),
    ],
)
def test_rates_go_with_the_optimiser_and_the_batch_that_are_named(
    settings: tuple[str, ...], rate: float, decay: float, said: str
) -> None:
    config = _resolved(FACTS, *settings)
    assert (config.peak_lr, config.weight_decay) == pytest.approx((rate, decay))
    assert any("Rate" in reason for reason in config.chosen) == bool(said)
    assert not said or any(said in reason for reason in config.chosen)


@pytest.mark.parametrize(
    ("setting", "gpu", "size"),
    [
        ("view.global.size=224", False, 0),
        ("view.global.size=80", False, 96),
        ("view.global.size=64", True, 96),
        ('views=[{name="global",count=1,size=48,scale=[0.4,1.0]}]', True, 96),
    ],
)
def test_a_teacher_sees_views_as_large_as_those_that_are_named(setting: str, gpu: bool, size: int) -> None:
    config = _resolved(replace(FACTS, gpu=gpu), setting)
    assert config.taught is not None
    assert config.taught.teacher_size == size
    of_views = "" if setting.startswith("views") else f"; views: 1 global of {config.global_size} px"
    assert config.chosen[-1] == f"Batches of {config.batch_size}{of_views}"


@pytest.mark.parametrize(
    ("loss", "teacher", "head"), [("kd", "deit_small_patch16_224", "linear"), ("ibot", "ibot_vitb16", "ibot")]
)
def test_a_loss_that_needs_more_than_prototypes_gets_a_teacher_that_has_it(
    tmp_path: Path, loss: str, teacher: str, head: str
) -> None:
    pictures = _pictures(tmp_path, 12, different=12)
    named = {"loss": loss, "device": "cpu"}
    facts = look("rob", pictures, named, 1)
    assert facts.teacher == teacher
    config = resolve(choose(facts, named).fields, options=named)
    assert isinstance(config, RobConfig)
    assert (config.teacher, config.teacher_head, config.teacher_size) == (teacher, "own", 0)
    assert config.student_head.kind == head
    assert look("rob", pictures, named | {"teacher": "ibot_vits16"}, 1).teacher == "ibot_vits16"


def test_numbers_that_are_words_are_numbers() -> None:
    settings = ("batch_size='32'", "prototypes='64'", "steps='100'")
    assert checked("rob", named_fields(settings=settings)) == {"batch_size": 32, "prototypes": 64, "steps": 100}
    config = _resolved(replace(FACTS, teacher_head=False), *settings)
    assert (config.batch_size, config.steps) == (32, 100)
    assert config.chosen[-1].startswith("Views: 1 global")


@pytest.mark.parametrize(("of_each", "classes", "batch"), [(2, 3, 3), (2, 2, 2), (2, 1, 2), (5, 2, 4)])
def test_a_batch_fits_into_what_is_left_when_some_of_each_class_are_held_out(
    tmp_path: Path, of_each: int, classes: int, batch: int
) -> None:
    _pictures(tmp_path, of_each * classes, different=of_each * classes)
    for number, file in enumerate(sorted(tmp_path.glob("*.png"))):
        (tmp_path / str(number % classes)).mkdir(exist_ok=True)
        file.rename(tmp_path / str(number % classes) / file.name)
    source = open_set(str(tmp_path)).open("train")
    facts = look("sslight", source, {}, 1)
    assert resolve(choose(facts, {}).fields).batch_size == batch <= facts.images - facts.spared
    assert facts.spared == (0 if classes == 1 else classes)


def test_a_queue_is_of_half_the_images_at_most() -> None:
    for images, queue in ((70, 32), (5000, 512)):
        config = _resolved(replace(FACTS, recipe="sslight", images=images), "method=swav")
        assert isinstance(config, SslightConfig)
        assert config.queue == queue


def test_no_more_axes_are_fitted_than_the_teacher_has_features(tmp_path: Path) -> None:
    teacher = make_teacher(tmp_path / "teacher", "moco")
    (tmp_path / "pictures").mkdir()
    facts = look("rob", _pictures(tmp_path / "pictures", 4, different=4), {"teacher": str(teacher)}, 1)
    assert (facts.teacher_head, facts.teacher_width) == (False, WIDTH)
    config = resolve(choose(replace(facts, images=5000), {"teacher": str(teacher)}).fields)
    assert isinstance(config, RobConfig)
    assert config.student_head.bottleneck == config.fitted_bottleneck == WIDTH < 128
    pictures = _pictures(tmp_path / "pictures", 4, different=4)
    for word, width in (("mobilenetv2_supervised", 1280), ("vit_tiny_patch16_224", 192), ("dino_vits16", 0)):
        assert look("seed", pictures, {"teacher": word}, 1).teacher_width == width, "0 beside a head of its own"
