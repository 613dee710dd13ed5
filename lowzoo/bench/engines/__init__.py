"""What can run a model on this computer: one engine a file, each with `prepare`, and what stands in a result about it.

`prepare(model, threads, spinning)` loads, and gives a function from the input to the outputs. Engines are imported by
name in the process that measures, so that its memory is that of one engine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray

from lowzoo.errors import LowzooError

Run = Callable[[NDArray[Any]], object]


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """An engine.

    Args:
        name: What `--engine` takes.
        module: Module of this package that runs it.
        imports: The package that it needs.
        distribution: Name of that package where it is installed from.
        suffix: Suffix of the files it runs; empty for PyTorch, which runs the network itself.
        provider: The back end inside it.
        settings: Everything that is set, apart from threads.
    """

    name: str
    module: str
    imports: str
    distribution: str
    suffix: str
    provider: str
    settings: dict[str, str]

    @property
    def version(self) -> str:
        """Version of the installed package."""
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


ENGINES = {
    engine.name: engine
    for engine in (
        EngineFacts(
            "onnxruntime",
            "ort",
            "onnxruntime",
            "onnxruntime",
            ".onnx",
            "CPUExecutionProvider",
            {"graph_optimization": "all", "execution_mode": "sequential", "inter_op_threads": "1"},
        ),
        EngineFacts("executorch", "executorch", "executorch", "executorch", ".pte", "XNNPACK", {}),
        EngineFacts("litert", "litert", "ai_edge_litert", "ai-edge-litert", ".tflite", "XNNPACK", {}),
        EngineFacts("torch", "pytorch", "torch", "torch", "", "eager", {"memory_format": "contiguous"}),
        EngineFacts(
            "torch-compile", "pytorch_compiled", "torch", "torch", "", "inductor", {"memory_format": "contiguous"}
        ),
    )
}


def prepare(engine: str, model: str, threads: int, *, spinning: bool) -> Run:
    """Load a model in an engine by its name; see the module's docstring."""
    module = import_module(f"lowzoo.bench.engines.{ENGINES[engine].module}")
    run: Run = module.prepare(model, threads, spinning)
    return run


def engine_for(suffix: str) -> EngineFacts | None:
    """The engine that runs files with a suffix."""
    return next((engine for engine in ENGINES.values() if suffix and engine.suffix == suffix), None)
