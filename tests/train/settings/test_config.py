"""The configuration: sources in order, round trip, and what is refused."""

import tomllib

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.train.command import default_layers
from lowzoo.train.settings.config import preset_names, resolve, to_toml, validate

_NAMES = [name for name in preset_names() if name.startswith(("rob_", "tin100")) or name == "sample"]
ROB = [("rob", {"preset": name}) for name in _NAMES]
SEED = [("seed", {"preset": name}) for name in preset_names() if name.startswith("seed") or name == "sample_seed"]
SSLIGHT = [
    ("sslight", {"preset": preset, "method": method, "student": student})
    for preset in ("baseline", "sslight")
    for method, student in (("dino", "resnet18"), ("dino", "vit_tiny"), ("swav", "mobilenetv2"), ("moco", "resnet34"))
]


@pytest.mark.parametrize(("recipe", "choice"), [*ROB, *SEED, *SSLIGHT])
@pytest.mark.parametrize("data", ["pictures", None])
def test_every_command_means_a_configuration_that_survives_a_round_trip(recipe: str, choice, data: str | None) -> None:
    config = resolve(default_layers(recipe, data=data, **choice))
    assert config.recipe == recipe
    assert validate(tomllib.loads(to_toml(config))) == config


def test_every_preset_belongs_to_a_command() -> None:
    used = {
        layer
        for recipe, choice in [*ROB, *SEED, *SSLIGHT]
        for data in ("pictures", None)
        for layer in default_layers(recipe, data=data, **choice)
    }
    assert used == set(preset_names())


@pytest.mark.parametrize(
    ("method", "student"), [("dino", "resnet18"), ("dino", "vit_tiny"), ("swav", "mobilenetv2"), ("moco", "resnet34")]
)
def test_sslight_differs_from_its_baseline_in_four_settings(method: str, student: str) -> None:
    words = {"data": "pictures", "method": method, "student": student}
    base = resolve(default_layers("sslight", preset="baseline", **words)).model_dump()
    soft = resolve(default_layers("sslight", preset="sslight", **words)).model_dump()
    assert {key for key in base if base[key] != soft[key]} == {"views", "alpha", "beta"}
    for before, after in zip(base["views"], soft["views"], strict=True):
        differing = {key for key in before if before[key] != after[key]}
        assert differing == ({"scale"} if before["name"] == "global" else {"scale", "size"})
    assert [group["scale"] for group in soft["views"]] == [(0.3, 1.0), (0.05, 0.3)]
    assert (soft["views"][1]["size"], soft["alpha"], soft["beta"]) == (128, 0.4, 0.6)
    # The baseline's weights are the shares of the pairs: 2 of global views, 2 a local view.
    local = base["views"][1]["count"]
    assert base["alpha"] == pytest.approx(2 / (2 + 2 * local))
    assert base["beta"] == pytest.approx(1 - base["alpha"])


def test_views_of_sslight_go_with_targets_of_rob() -> None:
    config = resolve(default_layers("rob", data="pictures", preset="rob_msn", views="sslight"))
    assert (config.recipe, config.loss, config.pair_weights) == ("rob", "msn", (0.4, 0.6))
    assert [(group.count, group.scale) for group in config.views] == [(2, (0.3, 1.0)), (10, (0.05, 0.3))]
    assert config.views[1].size == 128
    assert resolve("rob_msn").pair_weights is None
    for wrong in (
        {"views": "softer"},
        {"preset": "sample", "views": "sslight"},
        {"loss": "kd", "views": "sslight"},
    ):
        with pytest.raises(LowzooError, match="views"):
            default_layers("rob", **{"data": None, "preset": None, **wrong})


@pytest.mark.parametrize(
    ("preset", "settings", "message"),
    [
        ("seed", ["batch_size=100"], "queue = 65536 must be a multiple of batch_size = 100, for example 65500"),
        (("sslight_moco_cnn", "sslight_views_sslight"), ["queue=1000"], "queue = 1000 must be a multiple"),
        ("seed", ["view.global.count=2"], "SEED compares one global view"),
        ("seed", ["teacher_prototypes=true"], "SEED's student ends in an embedding"),
        ("rob_swav", ["teacher_prototypes=true"], "such as 'dino', and 'swav' cannot"),
        (
            "rob_dino",
            ["teacher_prototypes=true", "teacher_head=fitted", "fitted_bottleneck=64"],
            "student_head.bottleneck = 256 to be fitted_bottleneck = 64",
        ),
        ("rob_dino", ["alpha=0.4"], "alpha and beta go together"),
        ("rob_kd", ["alpha=0.4", "beta=0.6"], "there are none: set beta = 0"),
        ("rob_kd", ["alpha=1", "beta=0"], "loss 'kd' has no pairs"),
        ("rob_ibot", ["teacher_head=fitted"], "own head scores patches"),
    ],
)
def test_combinations_that_cannot_work_are_refused_before_anything_loads(preset, settings, message: str) -> None:
    with pytest.raises(LowzooError) as caught:
        resolve(preset, settings=settings)
    assert message.lower() in caught.value.message.lower()


def test_figures_of_the_papers() -> None:
    swav = resolve("rob_swav")
    assert swav.peak_lr == pytest.approx(4.8)
    assert (swav.targets_views, swav.epsilon, swav.sinkhorn_iterations, swav.optimizer) == (1, 0.03, 3, "larc")
    seed = resolve("seed")
    assert (seed.queue, seed.student_temperature, seed.teacher_temperature, seed.peak_lr) == (65536, 0.2, 0.01, 0.03)
    assert resolve(("seed", "seed_released")).teacher_temperature == 1e-4
    assert resolve(("seed", "seed_small_patch")).local_views == 6
    cnn = resolve(default_layers("sslight", data="pictures", preset="sslight", method="dino", student="resnet18"))
    assert (cnn.peak_lr, cnn.lr_end, cnn.prototypes) == (pytest.approx(1.92), 0.0048, 4096)
    vit = resolve(default_layers("sslight", data="pictures", preset="sslight", method="dino", student="vit_tiny"))
    assert (vit.peak_lr, vit.optimizer, vit.prototypes, vit.local_views) == (pytest.approx(2e-3), "adamw", 65536, 10)


def test_paper_defaults_of_rob_dino() -> None:
    config = resolve("rob_dino")
    assert (config.epochs, config.batch_size, config.lr, config.weight_decay_end) == (300, 1024, 2e-3, 0.4)
    assert [(group.count, group.size) for group in config.views] == [(2, 224), (8, 96)]
    assert config.views[0].jitter == (0.4, 0.4, 0.4, 0.1)


def test_later_sources_win(tmp_path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("epochs = 7\nseed = 1\n[student_head]\nhidden = 99\n", encoding="utf-8")
    config = resolve("rob_dino", file, {"seed": 2, "student": None}, ["student_head.bottleneck=17", "student=resnet18"])
    assert (config.epochs, config.seed, config.student) == (7, 2, "resnet18")
    assert (config.student_head.hidden, config.student_head.bottleneck) == (99, 17)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epoch=3", "unknown configuration key 'epoch' (near: epochs"),
        ("student_head.hiden=3", "unknown configuration key 'student_head.hiden' (near: hidden)"),
        ("lr=-1", "lr = -1 is impossible"),
        ("lr=nan", "lr = nan is impossible"),
        ("view=48", "view = 48 names no field of a view"),
        ("view.lokal.size=48", "view.lokal names no group of views"),
        ("view.local.sise=48", "unknown configuration key 'views.1.sise' (near: size"),
        ("prototypes=1", "prototypes = 1 is impossible"),
        ("loss=dyno", "loss = 'dyno' is impossible"),
        ("warmup=1.5", "warmup = 1.5 is impossible"),
        ("lr_batch=-256", "lr_batch = -256 is impossible"),
        ("freeze_last=0.5", "unknown configuration key 'freeze_last'"),
        ("epochs", "--set 'epochs' is not of the form key=value"),
    ],
)
def test_unknown_keys_and_impossible_values_are_named(setting: str, message: str) -> None:
    with pytest.raises(LowzooError) as caught:
        resolve("rob_dino", settings=[setting])
    assert message in caught.value.message
    assert caught.value.remedy


def test_seed_bounds_what_every_recipe_bounds() -> None:
    with pytest.raises(LowzooError, match="lr_batch = -256 is impossible"):
        resolve("seed", settings=["lr_batch=-256"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_configuration_may_come_from_any_editor(encoding: str, tmp_path) -> None:
    file = tmp_path / "my.toml"
    file.write_bytes('recipe = "rob"\r\nepochs = 7  # für heute\r\n'.encode(encoding))
    assert resolve("rob_dino", file=file).epochs == 7


VIEWS = "views=[{name='global',count=2,size=64,scale=[0.5,1.0]},{name='local',count=1,size=32,scale=[0.1,0.5]}]"


@pytest.mark.parametrize("recipe", ["rob", "sslight"])
def test_views_that_a_user_names_are_those_of_the_run(recipe: str) -> None:
    choice = {"rob": {"preset": "rob_dino", "views": "sslight"}, "sslight": {"preset": "sslight"}}[recipe]
    layers = default_layers(recipe, data="pictures", **choice)
    config = resolve(layers, settings=[VIEWS])
    assert [(view.size, view.scale) for view in config.views] == [(64, (0.5, 1.0)), (32, (0.1, 0.5))]
    alone = resolve(layers, settings=["views=[{name='global',count=2,size=64,scale=[0.5,1.0]}]", "beta=0"])
    assert [view.name for view in alone.views] == ["global"]
    changed = resolve(layers, settings=[VIEWS, "view.local.size=48"])
    assert [view.size for view in changed.views] == [64, 48]


def test_no_tracker_goes_alone() -> None:
    with pytest.raises(LowzooError, match="none goes alone"):
        resolve("rob_dino", settings=["log=['none','wandb']"])
    assert resolve("rob_dino", settings=["log=none"]).log == ()
