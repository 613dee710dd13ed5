"""A format, an engine, a target, a protocol and more from a package that lowzoo knows nothing of."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import lowzoo
from lowzoo.base.errors import LowzooError
from lowzoo.base.lazy import entries_in_folder
from lowzoo.base.registry import Registry
from lowzoo.bench.engines import ENGINES
from lowzoo.bench.targets import TARGETS
from lowzoo.checkpoints.families.published import FAMILIES
from lowzoo.data.schemes import SCHEMES
from lowzoo.data.source import open_set
from lowzoo.evaluate.protocols import PROTOCOLS
from lowzoo.evaluate.transfer_tasks import TASKS, chosen_tasks
from lowzoo.export import formats
from lowzoo.export.formats import FORMATS, Format
from tests.helpers.cli import runner
from tests.helpers.export import tiny_resolved
from tests.helpers.plugins import write_distribution

REGISTRIES: tuple[Registry[Any], ...] = (ENGINES, TARGETS, PROTOCOLS, FORMATS, SCHEMES, TASKS, FAMILIES)

DECLARED = '''
from lowzoo.bench.engines import EngineFacts
from lowzoo.bench.targets import Target
from lowzoo.evaluate.protocols import Protocol
from lowzoo.export.formats import Format
from lowzoo.base.options import Model, OutFile, Progress
from lowzoo.checkpoints.families.family import Family, tensors
from lowzoo.data.schemes import Scheme

FORMAT = Format(
    name="toy", title="Toy", suffix=".toy", precisions=("fp32",), writer="toy_work:write", loader="toy_work:load",
    noter="toy_work:notes", snippet=lambda resolved, spec: "play(toy)", system=lambda spec: "any toy box",
)
ENGINE = EngineFacts("toybox", "toy_work:prepare", "torch", "torch", ".toy", "wood")
TARGET = Target("shelf", ("toybox",), "toy_work:time", needs="a shelf", settings={"height": "2"})


def coin(model: Model, *, sides: int = 2, out: OutFile = None, progress: Progress = None):
    """Guess by a coin.

    Args:
        model: MODEL word.
        sides: Sides of the coin.
        out: Also write the JSON document here.
        progress: Takes lines.
    """
    from toy_work import toss

    return toss(model, sides, progress)


PROTOCOL = Protocol("coin", coin)
SCHEME = Scheme("drawn", "toy_work:draw")
FAMILY = Family(
    "toy_student", "test_vit", "toy: the network", lambda content: tensors(content.get("toy")), own_entry="toy"
)
'''

# By itself, as what a task is made of imports torch.
TASKS_OF_ITS = """
from lowzoo.evaluate.transfer_tasks import TransferTask

TASK = TransferTask("toy_task", "Toy", lambda root, split: None, "val", 1, (), True, True)
"""

WORK = """
import json

import numpy as np
import torch

from lowzoo.export.artifacts.metadata import metadata
from lowzoo.export.parity.runnable import Runnable


def write(module, resolved, spec, path, judge):
    shape = (1, *(resolved.input_size[1:]), resolved.input_size[0]) if spec.pixels_last else (1, *resolved.input_size)
    example = torch.zeros(shape, dtype=torch.uint8 if spec.input == "image" else torch.float32)
    program = torch.jit.trace(module, example)
    notes = {"notes": json.dumps({**metadata(resolved, spec), "shape": shape})}
    torch.jit.save(program, str(path), _extra_files=notes)
    return ("a toy is no product",)


def _opened(path):
    files = {"notes": ""}
    program = torch.jit.load(str(path), _extra_files=files)
    return program, json.loads(files["notes"])


def notes(path):
    return {key: value for key, value in _opened(path)[1].items() if key != "shape"}


def load(path):
    program, said = _opened(path)
    shape = tuple(said.pop("shape"))

    def run(rows):
        with torch.inference_mode():
            return program(torch.from_numpy(np.ascontiguousarray(rows))).numpy()

    pixels = "uint8" in said["lowzoo.input"]
    dtype = np.dtype(np.uint8 if pixels else np.float32)
    return Runnable(path, "toy", "toy box", shape, dtype, pixels, said, run)


def prepare(model, threads, spinning):
    program = _opened(model)[0]
    return lambda pixels: program(torch.from_numpy(np.ascontiguousarray(pixels)))


def time(request):
    from lowzoo.bench.subjects.artifact import identify_other
    from lowzoo.bench.results.assemble import assemble, now_utc, repeat_of
    from lowzoo.bench.host.machine import condition_now, this_device
    from lowzoo.bench.results.schema import Engine, ModelInput

    facts = dict(load_ms=None, first_run_ms=None, warmup_runs=0, baseline_memory_mb=None, peak_memory_mb=None)
    with request.artifact(".toy") as path:
        request.say(f"put on the shelf at {request.options['height']} m")
        return [
            assemble(
                [repeat_of([2.0, 2.0], **facts)], protocol=request.protocol, device=this_device(),
                before=condition_now(), after=condition_now(), target="shelf", measured_at=now_utc(),
                engine=Engine(name="toybox", version="1", provider="wood", threads=1, settings={}),
                model=identify_other(path), versions={},
                input=ModelInput(name="image", type="uint8", shape=(1, 32, 32, 3), content="nothing"),
            )
        ]


def draw(source_spec, options):
    from functools import partial

    from lowzoo.data.reading.found import Found
    from lowzoo.data.stores.memory import open_memory

    def part(split):
        count = int(source_spec.partition(":")[2])
        return open_memory([np.full((8, 8, 3), 20 * i, np.uint8) for i in range(count)])

    return "drawn", {split: partial(part, split) for split in ("train", "validation")}, Found()


def toss(model, sides, progress):
    from lowzoo.evaluate.evaluation import Evaluation
    from lowzoo.evaluate.result import EvaluationResult, Figure, ModelFacts
    from lowzoo.zoo.given import resolved_model

    resolved = resolved_model(model)
    (progress or str)(f"tossing a coin of {sides} sides")
    figure = Figure(metric="guessed", unit="%", mean=100 / sides)
    facts, settings = ModelFacts.of(resolved), {"sides": sides}
    return Evaluation(
        EvaluationResult(protocol="coin", model=facts, data={}, settings=settings, figures=(figure,), versions={})
    )
"""


def distribution(site: Path) -> Path:
    entries = {
        "lowzoo.formats": {"toy": "toy_declared:FORMAT"},
        "lowzoo.engines": {"toybox": "toy_declared:ENGINE"},
        "lowzoo.targets": {"shelf": "toy_declared:TARGET"},
        "lowzoo.protocols": {"coin": "toy_declared:PROTOCOL"},
        "lowzoo.sources": {"drawn": "toy_declared:SCHEME"},
        "lowzoo.transfer_tasks": {"toy_task": "toy_tasks:TASK"},
        "lowzoo.checkpoints": {"toy_student": "toy_declared:FAMILY"},
    }
    modules = {"toy_declared.py": DECLARED, "toy_tasks.py": TASKS_OF_ITS, "toy_work.py": WORK}
    return write_distribution(site, "lowzoo-toy", entries, modules)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package is installed, and processes that start later find it as well."""
    site = distribution(tmp_path / "site")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH")))))
    for module in ("zoo.given", "export.artifacts.identity"):
        monkeypatch.setattr(f"lowzoo.{module}.load_model", lambda word, **_: tiny_resolved())
    for registry in REGISTRIES:
        registry.refresh()
    yield tmp_path
    monkeypatch.undo()
    for registry in REGISTRIES:
        registry.refresh()
    for name in ("toy_declared", "toy_tasks", "toy_work"):
        sys.modules.pop(name, None)


run = runner()


@pytest.mark.slow
def test_a_format_is_exported_checked_read_and_timed(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = toy / "tiny.toy"
    code, text, error = run(capsys, "export", "tiny", "--format", "toy", "--out", file)
    assert (code, file.is_file()) == (0, True), error
    for word in ("any toy box, fp32", "Parity with PyTorch", "by toy box", "play(toy)", "a toy is no product"):
        assert word in text
    assert run(capsys, "export", "tiny", "--format", "toy", "--out", file)[0] == 0, "the same export is replaced"
    code, text, error = run(capsys, "check", file, "--against", "tiny", "--json")
    assert code == 0, error
    report = json.loads(text)
    assert (report["format"], report["broken"]) == ("toy", [])
    code, text, error = run(capsys, "info", file)
    assert code == 0, error
    assert "toy" in text
    assert "tiny.tag" in text
    code, text, error = run(capsys, "bench", file, "--quick", "--json")
    assert code == 0, error
    assert json.loads(text)["engine"]["name"] == "toybox"
    assert "precision 'fp16'" in run(capsys, "export", "tiny", "--format", "toy", "--precision", "fp16")[2]


def test_a_target_times_what_is_exported_for_it(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, error = run(capsys, "bench", "tiny", "--on", "shelf", "--set", "height=3", "--json")
    assert code == 0, error
    document = json.loads(text)
    assert (document["target"], document["statistics"]["median_ms"]) == ("shelf", 2.0)
    assert "put on the shelf at 3 m" in error
    found = lowzoo.bench.latency(tiny_resolved(), on="shelf", settings={"height": "4"})
    assert found.median_ms == 2.0
    code, _, error = run(capsys, "bench", "tiny", "--on", "shelf", "--set", "width=3")
    assert (code, "shelf has no setting 'width'" in error) == (2, True)


def test_a_protocol_is_a_command(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, error = run(capsys, "eval", "coin", "rob_vit_tiny", "--sides", "4")
    assert code == 0, error
    assert "guessed" in text
    assert "25.00" in text
    assert "tossing a coin of 4 sides" in text


def test_a_scheme_names_images_wherever_images_are_named(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = open_set("drawn:3")
    assert (found.name, found.splits, len(found.open("validation"))) == ("drawn", ("train", "validation"), 3)
    code, text, error = run(capsys, "embed", "drawn:5", "--model", "tiny", "--out", toy / "x.parquet")
    assert (code, "Embedded: drawn" in text or "5" in text) == (0, True), error
    assert "drawm:5 does not exist" in run(capsys, "embed", "drawm:5", "--out", toy / "y.parquet")[2]


def test_a_transfer_task_and_a_layout_of_checkpoints_are_known_by_name(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import timm

    assert chosen_tasks(["toy_task"], every=False) == ["toy_task"]
    assert "toy_task" in chosen_tasks([], every=True)
    network = timm.create_model("test_vit", num_classes=0)
    torch.save({"toy": network.state_dict(), "epoch": 3}, toy / "x.pth")
    for words in ((), ("--family", "toy_student")):
        code, text, error = run(capsys, "convert", toy / "x.pth", "--out", toy / "out", *words)
        assert code == 0, error
        assert "x.pth is toy_student: test_vit" in text
    assert (
        "unknown family 'toy_studend' (near: toy_student"
        in run(capsys, "convert", toy / "x.pth", "--out", toy / "out", "--family", "toy_studend")[2]
    )


@pytest.mark.slow
def test_help_lists_plug_ins_and_imports_nothing_heavy(tmp_path: Path) -> None:
    site = distribution(tmp_path / "site")
    code = (
        "import sys\nfrom lowzoo.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    print('heavy', 'torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    for words, wanted in ((["eval", "--help"], "coin"), (["export", "--help"], "toy"), (["bench", "--help"], "shelf")):
        ended = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True)
        assert wanted in ended.stdout, ended.stderr
        assert "heavy False" in ended.stdout


def test_a_broken_plug_in_breaks_nothing_but_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"lowzoo.formats": {"rotten": "no_such_module:FORMAT"}}
    monkeypatch.syspath_prepend(write_distribution(tmp_path, "lowzoo-rotten", entries, {}))
    FORMATS.refresh()
    try:
        assert FORMATS["onnx"].suffix == ".onnx"
        with pytest.warns(UserWarning, match="rotten of lowzoo-rotten 0.1 cannot be used"):
            assert "rotten" not in [each.name for each in FORMATS.specs()]
        with pytest.raises(LowzooError, match="rotten of lowzoo-rotten"):
            FORMATS["rotten"]
    finally:
        monkeypatch.undo()
        FORMATS.refresh()


def test_a_file_in_the_folder_is_all_that_a_format_of_ours_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "next.py").write_text("FORMAT = None\n")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    found = entries_in_folder("lowzoo.export.formats", "FORMAT", first=("onnx",))
    assert list(found) == ["onnx", "coreml", "executorch", "litert", "mnn", "ncnn", "next", "openvino"]
    assert found["next"] == "lowzoo.export.formats.next:FORMAT"


def test_what_a_format_lacks_is_named_with_its_extra() -> None:
    lacking = Format("x", "X", ".x", ("fp32",), "no_such_package:write", "", "", extra="litert")
    with pytest.raises(LowzooError, match=r"X cannot be used here .*no_such_package.*lowzoo\[litert\]"):
        lacking.call("writer")
