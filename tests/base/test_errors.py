"""What a user reads of an error: message and remedy, and other libraries' words in one line."""

from pathlib import Path
from typing import Literal

import pytest
import torch
from pydantic import BaseModel, ValidationError, model_validator

from lowzoo.base.errors import LowzooError, first_misfit, reason_of
from lowzoo.export import ExportSpec
from lowzoo.export.artifact import write_artifact
from lowzoo.io.files import atomic_path
from tests.helpers.export import tiny_resolved


def test_message_and_remedy_are_two_sentences():
    assert str(LowzooError("it is empty", "Name another")) == "it is empty. Name another"
    assert str(LowzooError("it is empty")) == "it is empty"


def test_a_reason_is_one_short_line_and_never_empty():
    assert reason_of(RuntimeError("size mismatch:\n\tweight\n  is (3, 4)")) == "size mismatch: weight is (3, 4)"
    assert reason_of(OSError()) == "OSError"
    assert len(reason_of(ValueError("x" * 1000))) == 200


class Odd(torch.nn.Module):
    """What the exporter has no function for."""

    def forward(self, x):
        return torch.special.airy_ai(x).mean((2, 3))


@pytest.mark.slow
def test_an_error_of_the_exporter_gives_its_reason_alone(tmp_path):
    with pytest.raises(LowzooError) as refused:
        write_artifact(tiny_resolved(Odd()), ExportSpec(), tmp_path / "x.onnx")
    assert "it uses torch's special_airy_ai, which the ONNX exporter does not know" in refused.value.message
    for noise in ("\x1b", "GitHub", "Next steps", "Exception summary", "stack trace"):
        assert noise not in str(refused.value)
    assert "--batch" not in refused.value.remedy, "the batch is 1 already"
    assert not list(tmp_path.iterdir())


def test_words_that_stand_before_a_reason_are_left_out():
    said = "[ONNXRuntimeError] : 1 : FAIL : Load model from /tmp/.x.0l6/x.onnx failed:Type Error: bound to two types"
    assert reason_of(RuntimeError(said)) == "Type Error: bound to two types"
    advice = RuntimeError("Next steps:\n- Create an issue in the PyTorch GitHub repository")
    advice.__cause__ = ValueError("the real one")
    assert reason_of(advice) == "the real one"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
@pytest.mark.parametrize("place", ["/proc/x.onnx", "/proc/self/x.onnx"])
def test_a_folder_that_takes_no_files_is_named(place):
    said = f"no file can be made in the folder {Path(place).parent}"
    with pytest.raises(LowzooError, match=said), atomic_path(Path(place)):
        pass
    with pytest.raises(LowzooError, match="no file can be made in the folder /proc"):
        write_artifact(tiny_resolved(), out=Path("/proc/x.onnx"))


def test_what_pydantic_says_comes_without_its_prefix() -> None:
    class Pair(BaseModel):
        low: int
        high: int

        @model_validator(mode="after")
        def _ordered(self) -> "Pair":
            if self.low > self.high:
                raise ValueError("low is above high")
            return self

    with pytest.raises(ValidationError) as refused:
        Pair(low=2, high=1)
    assert first_misfit(refused.value) == ("", "low is above high")
    with pytest.raises(ValidationError) as refused:
        Pair(low=2)
    assert first_misfit(refused.value) == ("high", "Field required")


def test_a_value_of_several_types_is_refused_by_all_of_them():
    class Mode(BaseModel):
        mode: bool | Literal["fast", "slow"] = False
        sizes: tuple[int, ...] = ()

    with pytest.raises(ValidationError) as refused:
        Mode(mode="quick")
    place, reason = first_misfit(refused.value)
    assert place == "mode"
    assert "boolean" in reason
    assert "'fast' or 'slow'" in reason
    with pytest.raises(ValidationError) as refused:
        Mode(sizes=(1, "x", "x"))
    assert first_misfit(refused.value)[0] == "sizes.1"
