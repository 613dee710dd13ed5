"""The configuration: sources in order, round trip, and what is refused."""

import pytest

from lowzoo.errors import LowzooError
from lowzoo.train.config import preset_names, resolve, to_toml


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_resolves_and_survives_a_round_trip(preset: str, tmp_path) -> None:
    config = resolve(preset)
    file = tmp_path / "config.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    assert resolve("rob_dino", file) == config


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
        ("epoch=3", "unknown configuration key 'epoch' (near: epochs)"),
        ("student_head.hiden=3", "unknown configuration key 'student_head.hiden' (near: hidden)"),
        ("lr=-1", "lr = -1 is impossible"),
        ("lr=nan", "lr = nan is impossible"),
        ("loss=dyno", "loss = 'dyno' is impossible"),
        ("warmup=1.5", "warmup = 1.5 is impossible"),
        ("epochs", "--set 'epochs' is not of the form key=value"),
    ],
)
def test_unknown_keys_and_impossible_values_are_named(setting: str, message: str) -> None:
    with pytest.raises(LowzooError) as caught:
        resolve("rob_dino", settings=[setting])
    assert message in caught.value.message
    assert caught.value.remedy
