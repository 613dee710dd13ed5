"""A documented function as a command: arguments, options, defaults, choices and help come from the function alone."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, Unpack

import pytest
import typer
from typer.testing import CliRunner

from lowzoo.base.errors import LowzooError, LowzooWarning
from lowzoo.base.options import Model, Option, Progress, Reading, Side, Workers, read_whole_numbers
from lowzoo.cli.options.from_signature import Command, arguments_of, command, described, group


class Result:
    def __init__(self, **found: Any) -> None:
        self.found = found

    def to_json(self) -> str:
        return json.dumps(self.found)


def measure(
    model: Model,
    *,
    data: Annotated["str | list[Any] | None", Option(metavar="SRC")] = None,
    protocol: Literal["dino", "rob"] = "dino",
    size: Side = None,
    ks: Annotated[Sequence[int] | None, Option("--k", metavar="K,K,...", read=read_whole_numbers)] = None,
    batch: Annotated[int | Literal["dynamic"], Option(metavar="N|dynamic", read=lambda text, _: int(text))] = 1,
    task: Sequence[str] = (),
    workers: Workers = 0,
    bf16: bool = False,
    augment: Annotated[bool | None, Option("--augment/--cached")] = None,
    share: float = 0.5,
    progress: Progress = None,
    **reading: Unpack[Reading],
) -> Result:
    """Measure a model.

    By a protocol.

    Args:
        model: What to measure. In Python also an `nn.Module`.
        data: Images, or
            more of them.
        protocol: Whose settings.
        size: Side.
        ks: Neighbours.
        batch: Images in a run.
        task: May be repeated.
        workers: Processes.
        bf16: Run in `bfloat16`.
        augment: Random crops.
        share: Fraction.
        progress: Takes lines.
        **reading: How images are read.

    Returns:
        What was measured.
    """
    if progress is not None:
        progress("measuring")
    found = {"data": data, "protocol": protocol, "size": size, "ks": ks, "batch": batch, "task": task}
    return Result(
        model=str(model), **found, workers=workers, bf16=bf16, augment=augment, share=share, reading=dict(reading)
    )


def lines(result: Result) -> Iterator[str]:
    yield f"measured {result.found['model']}"


def ran(function: Callable[..., None], *words: str) -> Any:
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command(cls=Command)(function)
    return CliRunner().invoke(app, words)


def found(*words: str) -> dict[str, Any]:
    outcome = ran(command(measure, lines), *words, "--json")
    assert outcome.exit_code == 0, outcome.output
    answer: dict[str, Any] = json.loads(outcome.stdout)
    return answer


def test_defaults_are_those_of_the_signature() -> None:
    assert found("rob_vit_tiny") == {
        "model": "rob_vit_tiny",
        "data": None,
        "protocol": "dino",
        "size": None,
        "ks": None,
        "batch": 1,
        "task": [],
        "workers": 0,
        "bf16": False,
        "augment": None,
        "share": 0.5,
        "reading": {
            "orientation": "exif",
            "intensity": "auto",
            "image_column": None,
            "label_column": None,
            "labels": None,
        },
    }


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (("--data", "photos"), "data", "photos"),
        (("--protocol", "rob"), "protocol", "rob"),
        (("--image-size", "32x64"), "size", [32, 64]),
        (("--size", "32"), "size", [32, 32]),
        (("--k", "1,20"), "ks", [1, 20]),
        (("--batch", "4"), "batch", 4),
        (("--task", "a", "--task", "b"), "task", ["a", "b"]),
        (("--bf16",), "bf16", True),
        (("--augment",), "augment", True),
        (("--cached",), "augment", False),
        (("--share", "0.25"), "share", 0.25),
    ],
)
def test_an_option_gives_the_functions_argument_its_value(words: tuple[str, ...], key: str, value: object) -> None:
    assert found("rob_vit_tiny", *words)[key] == value


def test_entries_of_a_typed_dict_are_options() -> None:
    assert found("rob_vit_tiny", "--orientation", "stored")["reading"]["orientation"] == "stored"


def test_help_is_the_docstring_without_what_is_for_python_alone() -> None:
    shown = " ".join(ran(command(measure, lines, note="A note."), "--help").stdout.split())
    for text in ("Measure a model. By a protocol. A note.", "Images, or more of them.", "--protocol dino|rob"):
        assert text in shown
    assert "What to measure." in shown
    assert "nn.Module" not in shown
    assert "--progress" not in shown
    assert "Run in bfloat16." in shown


def test_progress_goes_to_stdout_and_with_json_to_stderr() -> None:
    plain = ran(command(measure, lines), "rob_vit_tiny")
    assert plain.stdout.splitlines() == ["measuring", "measured rob_vit_tiny"]
    as_json = ran(command(measure, lines), "rob_vit_tiny", "--json")
    assert json.loads(as_json.stdout)["model"] == "rob_vit_tiny"
    assert as_json.stderr.splitlines() == ["measuring"]


def test_an_unknown_choice_is_refused_with_the_others() -> None:
    error = ran(command(measure, lines), "rob_vit_tiny", "--protocol", "none").exception
    assert isinstance(error, LowzooError)
    assert str(error) == "unknown protocol 'none'. Use --protocol dino or rob"


@pytest.mark.parametrize("words", [("--workers", "-1"), ("--share", "x")])
def test_impossible_values_are_misuse(words: tuple[str, ...]) -> None:
    assert ran(command(measure, lines), "rob_vit_tiny", *words).exit_code == 2


def test_a_reader_refuses_with_the_options_name() -> None:
    outcome = ran(command(measure, lines), "rob_vit_tiny", "--k", "a")
    assert isinstance(outcome.exception, LowzooError)
    assert "--k a" in outcome.exception.message


def test_the_exit_status_is_the_results() -> None:
    assert ran(command(measure, lines, status=lambda result: 1), "rob_vit_tiny").exit_code == 1


def test_an_argument_without_a_line_is_refused() -> None:
    def silent(model: str, *, depth: int = 1) -> Result:
        """Say nothing of the depth.

        Args:
            model: A model.
        """
        return Result(model=model, depth=depth)

    with pytest.raises(TypeError, match="says nothing of its argument depth"):
        arguments_of(silent)


def test_an_argument_that_no_text_gives_is_refused() -> None:
    def odd(model: str, *, depth: bytes | None = None) -> Result:
        """Take bytes.

        Args:
            model: A model.
            depth: Bytes.
        """
        return Result(model=model, depth=depth)

    with pytest.raises(TypeError, match="no words for depth"):
        arguments_of(odd)


def test_options_of_another_function_stand_in_place_of_words() -> None:
    def wrapper(models: Sequence[str], *, size: Side = (8, 8), **words: Any) -> Result:
        """Measure several.

        Args:
            models: Models.
            size: Sides.
            **words: As `measure`.
        """
        return measure(models[0], size=size, **words)

    outcome = ran(command(wrapper, lines, like=measure), "a", "b", "--protocol", "rob", "--json")
    assert json.loads(outcome.stdout)["protocol"] == "rob"
    assert [each.name for each in arguments_of(wrapper, like=measure)].count("size") == 1


def test_a_docstring_is_read_by_its_sections() -> None:
    text, helps = described(measure)
    assert text == "Measure a model.\n\nBy a protocol."
    assert helps["data"] == "Images, or more of them."
    assert "Returns" not in helps


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, lowzoo.cli.options.from_signature, lowzoo.base.options; "
        "print('torch' in sys.modules, 'timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["False"] * 2


def grouped() -> typer.Typer:
    def make(name: str) -> Callable[..., None]:
        if name == "broken":
            raise LowzooError("the protocol broken of toy 1 cannot be used", "Uninstall toy")
        return command(measure, lines)

    app = typer.Typer(
        cls=group(lambda: ["one", "broken"], make),
        rich_markup_mode=None,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lambda: None)
    return app


def test_a_group_makes_the_commands_that_a_registry_names() -> None:
    outcome = CliRunner().invoke(grouped(), ["one", "rob_vit_tiny", "--json"])
    assert json.loads(outcome.stdout)["model"] == "rob_vit_tiny"
    assert "Measure a model." in CliRunner().invoke(grouped(), ["one", "-h"]).stdout
    assert CliRunner().invoke(grouped(), ["none"]).exit_code == 2


def test_a_broken_entry_of_a_group_is_noted_in_the_list_and_refused_when_called() -> None:
    with pytest.warns(LowzooWarning, match="cannot be used"):
        shown = CliRunner().invoke(grouped(), ["--help"])
    assert shown.exit_code == 0
    assert "one" in shown.stdout
    assert isinstance(CliRunner().invoke(grouped(), ["broken"]).exception, LowzooError)
