"""Export formats: a file each in this folder that declares what the format has, needs and is written by.

A declaration imports nothing heavy: whatever does the work is named as "module:function" and imported when it is used.
The next format is a file here that gives `FORMAT`. Another package declares one by an entry point of the group
`lowzoo.formats`; export, check, bench and info then know it as they know ours.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.lazy import entries_in_folder, resolved_place
from lowzoo.base.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from lowzoo.export.parity.checker import ParityChecker
    from lowzoo.export.parity.runnable import Runnable
    from lowzoo.export.readiness import Readiness
    from lowzoo.export.spec.bounds import Bounds
    from lowzoo.export.spec.spec import ExportSpec
    from lowzoo.zoo.resolve import Resolved

# What a format rewrites for a GPU whatever the format is.
_TARGETS = {"cpu": "", "nnapi": "", "coreml-ep": ""}


@dataclass(frozen=True)
class Format:
    """An export format. A hook is a function, or "module:function".

    Args:
        name: What `--format` takes.
        title: What sentences call it.
        suffix: Suffix of its artifacts, with the dot.
        precisions: What `--precision` takes, the default first.
        writer: Hook (module, resolved, spec, path, judge) -> warnings: writes the module that `exported_module` gave;
            the checker measures candidates where a search is made.
        loader: Hook (path) -> `Runnable`: the artifact in the runtime that parity is measured with.
        noter: Hook (path) -> dict: what an artifact says of itself, without running it; empty if nothing.
        folder: Whether an artifact is a folder, which holds `Manifest.json`.
        parts: Suffixes of the files that belong to an artifact and lie beside it, under its name.
        ending: How names of artifacts end that nobody chose, where that is longer than the suffix.
        extra: The extra of this package that brings what it needs, empty for none.
        needs: The distributions that writing takes, apart from those of lowzoo itself.
        bounds: Bounds of precisions that `lowzoo.export.spec.bounds` does not know, or bounds that differ from those.
        calibrated: Precisions that need calibration images.
        dynamic_batch: Whether the batch can be left open.
        image_is_bytes: Whether an image is uint8 (B, H, W, C) or (B, C, H, W); otherwise an image of its own kind.
        gives_probabilities: Whether a classifier ends in a softmax.
        targets: What `--for` takes beside `cpu`, `nnapi` and `coreml-ep`, with the remedy for other formats.
        whole: Precisions whose tools take whole files of 2 GB at most, with what to call these tools.
        rule: Hook (spec) -> None: refuses what it cannot have.
        inside: Hook (network, spec) -> network: before the normalisation is put in front.
        outside: Hook (network, spec) -> network: after it.
        remarks: Hook (spec) -> dict: further metadata.
        marker: Hook (module, resolved, spec, path, reason) -> `Runnable`: marks an artifact that nothing here can run,
            and gives what stands for it; None where the loader runs everything. Whoever writes metadata anew leaves
            `UNSEALED` for `lowzoo.content`.
        reader: Hook (path, runnable) -> `Readiness`: what phones can do with it; its size alone if None.
        snippet: Hook (resolved, spec) -> str: code that feeds it a picture; none if None.
        system: Hook (spec) -> str: what it runs on, for people.
        next_steps: Commands that take the artifact.
    """

    name: str
    title: str
    suffix: str
    precisions: tuple[str, ...]
    writer: "Callable[[nn.Module, Resolved, ExportSpec, Path, ParityChecker], tuple[str, ...]] | str"
    loader: "Callable[[Path], Runnable] | str"
    noter: Callable[[Path], dict[str, str]] | str
    folder: bool = False
    parts: tuple[str, ...] = ()
    ending: str = ""
    extra: str = ""
    needs: tuple[str, ...] = ()
    bounds: "Mapping[str, Bounds]" = field(default_factory=dict)
    calibrated: tuple[str, ...] = ()
    dynamic_batch: bool = False
    image_is_bytes: bool = True
    gives_probabilities: bool = False
    targets: Mapping[str, str] = field(default_factory=dict)
    whole: Mapping[str, str] = field(default_factory=dict)
    rule: "Callable[[ExportSpec], None] | str | None" = None
    inside: "Callable[[nn.Module, ExportSpec], nn.Module] | str | None" = None
    outside: "Callable[[nn.Module, ExportSpec], nn.Module] | str | None" = None
    remarks: "Callable[[ExportSpec], dict[str, str]] | str | None" = None
    marker: "Callable[[nn.Module, Resolved, ExportSpec, Path, str], Runnable] | str | None" = None
    reader: "Callable[[Path, Runnable], Readiness] | str | None" = None
    snippet: "Callable[[Resolved, ExportSpec], str] | str | None" = None
    system: "Callable[[ExportSpec], str] | str | None" = None
    next_steps: tuple[str, ...] = ("check",)

    def __post_init__(self) -> None:
        if not self.suffix.startswith(".") or not self.precisions:
            raise ValueError(f"the format {self.name} needs a suffix with its dot, and a precision")

    def call(self, hook: str, *arguments: Any) -> Any:
        """Call a hook by its name; None where the format has none.

        Raises:
            LowzooError: A package that it needs is not installed.
        """
        place = getattr(self, hook)
        try:
            return None if place is None else resolved_place(place)(*arguments)
        except ImportError as error:
            remedy = f"Install lowzoo[{self.extra}]" if self.extra else "Install what it needs"
            raise LowzooError(f"{self.title} cannot be used here ({reason_of(error)})", remedy) from error

    def holds(self, path: Path) -> bool:
        """Whether a path is one of its artifacts, by suffix and kind."""
        return path.suffix == self.suffix and path.is_dir() == self.folder

    def is_artifact(self, path: Path) -> bool:
        """Whether something stands at a path that may be replaced by an artifact."""
        return (path / "Manifest.json").is_file() if self.folder else path.is_file()

    def all_targets(self) -> tuple[str, ...]:
        """What `--for` takes."""
        return (*_TARGETS, *self.targets)

    def notes(self, path: Path) -> dict[str, str]:
        """What an artifact says of itself."""
        found: dict[str, str] = self.call("noter", path)
        return found

    def load(self, path: Path) -> "Runnable":
        """The artifact in its runtime."""
        found: Runnable = self.call("loader", path)
        return found


FORMATS = Registry(
    Format,
    "format",
    "lowzoo.formats",
    entries_in_folder(__name__, "FORMAT", first=("onnx", "coreml", "executorch", "litert", "openvino", "ncnn", "mnn")),
)


def format_of(path: Path) -> Format | None:
    """The format of an artifact, by its suffix and kind; None for anything else."""
    return next((each for each in FORMATS.specs() if each.holds(path)), None)


def suffixes() -> tuple[str, ...]:
    """Suffixes of all formats."""
    return tuple(each.suffix for each in FORMATS.specs())


def either(words: Iterable[str]) -> str:
    """Names for a sentence: a, b or c."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
