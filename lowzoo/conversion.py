"""`lowzoo.convert`: a checkpoint as a folder that timm loads."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.base.options import Option, Progress
from lowzoo.checkpoints.early import refuse_architecture, refuse_checkpoint, refuse_misfit, refuse_unpublished

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Conversion:
    """A model folder that was written.

    Args:
        out: The folder, with `model.safetensors` and `config.json`.
        what: What the checkpoint was and what of it is left out, in a sentence.
        architecture: What `timm.create_model` takes.
        arguments: Further arguments for it.
        positions: How the authors resample position embeddings for other sizes; "timm" for timm's own rule.
        tensors: Number of tensors that were written.
        parameters: Number of floating-point values in them.
        facts: Where the network lay in the file, or which published one it is, and what is left out.
    """

    out: Path
    what: str
    architecture: str
    arguments: Mapping[str, Any]
    positions: str
    tensors: int
    parameters: int
    facts: Mapping[str, Any]

    @property
    def needs_lowzoo(self) -> bool:
        """Whether the network is built only after `import lowzoo`."""
        return self.architecture.startswith(("lowzoo_", "seed_"))

    def model(self) -> "nn.Module":
        """The network with its weights, as timm creates it."""
        from lowzoo.api import create_model

        return create_model(self.out.absolute())

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **self.facts,
            "architecture": self.architecture,
            "arguments": dict(self.arguments),
            "needs_lowzoo": self.needs_lowzoo,
            "tensors": self.tensors,
            "out": str(self.out),
        }

    def to_json(self) -> str:
        """`as_dict` as a document."""
        return json.dumps(self.as_dict(), indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        yield self.what
        yield (
            f"wrote {self.out / 'model.safetensors'} ({self.parameters * 4 / 1e6:.1f} MB) and "
            f"{self.out / 'config.json'}"
        )
        yield f"    {'import lowzoo, timm' if self.needs_lowzoo else 'import timm'}"
        yield f'    model = timm.create_model("local-dir:{self.out}", pretrained=True)'
        if self.positions != "timm":
            yield (
                "For other sizes than 224 px timm resamples the positions by its own rule, "
                "which changes features; lowzoo's commands follow the authors' rule."
            )

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return f"Conversion({self.out}, {self.architecture}, {self.tensors} tensors)"

    def _repr_html_(self) -> str:
        from lowzoo.base import html

        return html.block(self.lines())


def convert(
    checkpoint: Annotated[str | Path, Option(metavar="CHECKPOINT")],
    *,
    out: Annotated[str | Path, Option(metavar="DIR")],
    arch: Annotated[str | None, Option(metavar="NAME")] = None,
    branch: Annotated[str, Option(metavar="B")] = "",
    family: Annotated[str | None, Option(metavar="F")] = None,
    force: bool = False,
    progress: Progress = None,
) -> Conversion:
    """Convert a CHECKPOINT to safetensors: a published student's or teacher's, or with --arch anybody's.

    Nothing in the file is run; tensors go by name, all of the network is filled, and what is left out is said. The
    folder loads with timm.create_model("local-dir:DIR", pretrained=True). The other commands take the file itself,
    where a MODEL or a teacher is named: ARCH@FILE, or ARCH@FILE#BRANCH.

    Args:
        checkpoint: The file: .pth, .pth.tar, .ckpt, .bin or .safetensors.
        out: Folder to write to.
        arch: Of anybody's checkpoint: timm's name of its architecture; with a tag (resnet18.a1_in1k) images are
            prepared as for those weights.
        branch: With --arch: which copy, e.g. state_dict_ema, student; an EMA copy if absent.
        family: Of a published checkpoint: what it is, e.g. seed_r18; recognised if absent.
        force: Replace another model in the folder.
        progress: Takes each line of what is being done, such as `print`; None is silent.

    Returns:
        What was written and what was left out.

    Raises:
        LowzooError: No such file, architecture or family, a file that is damaged, could run code or holds another
            network, or a folder that holds another model.
    """
    file, folder = refuse_checkpoint(Path(checkpoint)), Path(out)
    refuse_architecture(arch)
    if arch and family:
        raise LowzooError("a family has its architecture", "Give --arch or --family")
    if branch and not arch:
        raise LowzooError("--branch goes with --arch", "Give both")
    from lowzoo.base.progress import told

    with told(progress):
        return _foreign(file, folder, arch, branch, force) if arch else _published(file, folder, family, force)


def _foreign(file: Path, out: Path, arch: str, branch: str, force: bool) -> Conversion:
    refuse_misfit(file, arch, branch)
    from lowzoo.checkpoints.folder import convert_foreign
    from lowzoo.checkpoints.foreign import backbone_names

    found = convert_foreign(file, out, arch, branch, force=force)
    facts = {"place": found.place, "others": list(found.others), "left_out": found.left_out}
    base = arch.removeprefix(catalog.PREFIX).partition(".")[0]
    architecture = catalog.students().get(base, base)
    names = backbone_names(architecture)
    state = {name: value for name, value in found.state.items() if name in names}
    return _written(out, found.describe(file), architecture, found.arguments, found.positions, state, facts)


def _published(file: Path, out: Path, family: str | None, force: bool) -> Conversion:
    refuse_unpublished(file, family)
    from lowzoo.checkpoints.folder import convert_to_folder

    converted = convert_to_folder(file, out, family, force=force)
    found, state = converted.family, converted.state
    left = f"left out {converted.left_out}" if converted.left_out else "none left over"
    what = f"{file.name} is {found.name}: {found.architecture}, {len(state)} tensors; {left}"
    facts = {"family": found.name, "left_out": converted.left_out}
    return _written(out, what, found.architecture, dict(found.arguments), found.positions, state, facts)


def _written(
    out: Path,
    what: str,
    architecture: str,
    arguments: Mapping[str, Any],
    positions: str,
    state: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> Conversion:
    parameters = sum(value.numel() for value in state.values() if value.is_floating_point())
    return Conversion(out, what, architecture, arguments, positions, len(state), parameters, facts)
