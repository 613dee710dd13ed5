"""Settings that are impossible are one line that names them, whichever part of the run would have met them first."""

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.train.detection.config import PRESETS, _parsed, _typed, preset_fields


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("network.strides=8", "network.strides = 8 is impossible: input should be a list"),
        ("network.strides=[]", "not rising powers of two"),
        ("network.strides=[0]", "not rising powers of two"),
        ("network=c4", "a group of settings"),
        ("network.kind=c5", "network.kind"),
        ("test_size=abc", "test_size = 'abc' is impossible: input should be an integer"),
        ("warmup=abc", "warmup = 'abc' is impossible: input should be a number"),
        ("milestones=5", "milestones = 5 is impossible: input should be a list"),
        ("milestones=[1,'a']", "entry 1"),
        ("steps=-1", "greater than or equal to 0"),
        ("steps.of=1", "steps"),
        ("chanels=3", "unknown setting 'chanels'"),
        ("foo.bar=3", "unknown setting 'foo'"),
        ("network.chanels=3", "near: channels"),
    ],
)
def test_an_impossible_setting_is_one_line_that_names_it(setting, message):
    with pytest.raises(LowzooError) as caught:
        _typed(_parsed(setting))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_remedy_names_the_settings():
    with pytest.raises(LowzooError) as caught:
        _typed({"foo": 1})
    assert "warmup" in caught.value.remedy
    assert "network.channels" in caught.value.remedy


def test_what_presets_say_is_possible():
    for preset in PRESETS:
        for kind in ("", "mobilenet", "vit"):
            assert _typed(preset_fields(preset, kind))["preset"] == preset
