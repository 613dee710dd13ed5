"""What can run a model on this computer: one engine a file, each with `prepare`, and what stands in a result about it.

`prepare(model, threads, spinning)` loads, and gives a function from the input to the outputs. Engines are imported by
name in the process that measures, so that its memory is that of one engine. Another package declares one by an entry
point of the group `lowzoo.engines` that gives an `EngineFacts`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.base.lazy import resolved_place
from lowzoo.base.registry import Registry

Run = Callable[[NDArray[Any]], object]


@dataclass(frozen=True)
class EngineFacts:
    """An engine's declaration.

    Args:
        name: What `--engine` takes.
        prepare: (model, threads, spinning) -> `Run`, or "module:function" of it; its module is imported before memory
            is measured, so whatever it imports at its top is no part of what the model needs.
        imports: The package that it needs.
        distribution: Name of that package where it is installed from.
        suffix: Suffix of the files it runs; empty for PyTorch, which runs the network itself.
        provider: The back end inside it.
        settings: Everything that is set, apart from threads.
        subject: (engine, model) -> `lowzoo.bench.subjects.subject.Subject`, or "module:function" of it: opens what is
            to be timed and gives its identity and its input.
        spins: Whether one can choose that idle threads spin.
    """

    name: str
    prepare: Callable[[str, int, bool], Run] | str
    imports: str
    distribution: str
    suffix: str
    provider: str
    settings: dict[str, str] = field(default_factory=dict)
    subject: Callable[["EngineFacts", str], Any] | str = "lowzoo.bench.subjects.subject:file_subject"
    spins: bool = False

    @property
    def version(self) -> str:
        """Of the installed package."""
        return version(self.distribution)

    def require(self) -> None:
        """Refuse if it is not installed.

        Raises:
            LowzooError: It is not.
        """
        try:
            there = find_spec(self.imports) is not None and bool(self.version)
        except (PackageNotFoundError, ModuleNotFoundError):
            there = False
        if not there:
            raise LowzooError(f"{self.name} is not installed", f"Run `pip install {self.distribution}`")


ENGINES = Registry(
    EngineFacts,
    "engine",
    "lowzoo.engines",
    {
        name: f"lowzoo.bench.engines.declared:{constant}"
        for name, constant in (
            ("onnxruntime", "ONNXRUNTIME"),
            ("executorch", "EXECUTORCH"),
            ("litert", "LITERT"),
            ("openvino", "OPENVINO"),
            ("ncnn", "NCNN"),
            ("mnn", "MNN"),
            ("torch", "TORCH"),
            ("torch-compile", "TORCH_COMPILE"),
        )
    },
)


def prepare(engine: str, model: str, threads: int, *, spinning: bool) -> Run:
    """Load a model in an engine by its name; see the module's docstring."""
    run: Run = resolved_place(ENGINES[engine].prepare)(model, threads, spinning)
    return run


def engine_for(suffix: str) -> EngineFacts | None:
    """The engine that runs files with a suffix."""
    return next((engine for engine in ENGINES.specs() if suffix and engine.suffix == suffix), None)
