"""What the word MODEL means, before anything is built: a zoo name, a Hub repository, a folder, or anybody's weights."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import timm
import torch
from timm.models import get_pretrained_cfg, is_model
from timm.models._hub import _parse_model_cfg
from torch import Tensor

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.base.notes import say_once
from lowzoo.catalog import TeacherEntry
from lowzoo.catalog.position_rules import Rule
from lowzoo.checkpoints.early import is_artifact, is_checkpoint, unknown_model
from lowzoo.checkpoints.model_folder import refuse_other_network
from lowzoo.io import hub
from lowzoo.io.detector_folder import is_detector
from lowzoo.io.files import plain_path
from lowzoo.io.safetensors_file import check_safetensors, short_digest
from lowzoo.zoo import pretrained as published
from lowzoo.zoo import zoo
from lowzoo.zoo.hub_spec import SCHEME, fetch_hub_model, is_hub_spec
from lowzoo.zoo.model_config import check_arguments, plain_cfg
from lowzoo.zoo.teacher_file import named_file, teacher_checkpoint

HUB_SCHEME = SCHEME
FOLDER_SCHEME = "local-dir:"
# Before the digest of a network that a program built: no word loads it.
BUILT_SCHEME = "built:"
# What timm's `save_for_hf` writes unless it is asked for safetensors.
_PICKLED = "pytorch_model.bin"


@dataclass(frozen=True)
class Found:
    """Everything that is needed to build the model.

    Args:
        name: What the word means, with its tag if weights are wanted.
        architecture: What `timm.create_model` takes.
        revision: Which weights exactly.
        cfg: timm's `pretrained_cfg` of them.
        arguments: Further arguments for `timm.create_model`.
        recipe: How the zoo trained it, empty for other models.
        license: SPDX identifier, empty if only timm's `cfg` may know it.
        file: A weights file of the user, which has to fill every parameter.
        positions: How the authors resample position embeddings for other sizes, see
            `lowzoo.zoo.architectures.positions`.
        explicit_cfg: Whether timm must be handed `cfg`, or finds it by the architecture itself.
        state: Weights that have been read already, out of somebody's checkpoint.
        source: A word that means the same from every folder of this computer, where `name` does not.
    """

    name: str
    architecture: str
    revision: str
    cfg: dict[str, Any]
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    recipe: str = ""
    license: str = ""
    file: Path | None = None
    positions: Rule = "timm"
    explicit_cfg: bool = False
    state: dict[str, Tensor] | None = None
    source: str = ""


def find(model_spec: str, *, pretrained: bool) -> Found:
    """Find out what a word means; fetches from the Hub where that is needed.

    Args:
        model_spec: See `lowzoo.zoo.resolve.load_model`.
        pretrained: Whether the weights will be wanted.

    Raises:
        LowzooError: It means nothing, or its weights cannot be had.
    """
    if is_hub_spec(model_spec):
        place, folder, sha = fetch_hub_model(model_spec)
        return dataclasses.replace(_find_folder(folder), name=place.name, revision=sha)
    if model_spec.startswith(FOLDER_SCHEME):
        return _find_folder(Path(model_spec.removeprefix(FOLDER_SCHEME)))
    if (teacher := split_teacher(model_spec)) is not None:
        entry, file = teacher
        return _find_teacher(entry, pretrained, named_file(entry, file))
    if (checkpoint := split_checkpoint(model_spec)) is not None:
        return _find_checkpoint(*checkpoint, pretrained)
    if is_checkpoint(model_spec):
        raise _alone(model_spec)
    base = model_spec.removeprefix(catalog.PREFIX).partition(".")[0]
    say_if_a_folder_has_this_name(model_spec)
    if model_spec.startswith(catalog.PREFIX) or base in catalog.models():
        return _find_zoo(model_spec, pretrained)
    if "/" not in model_spec and os.sep not in model_spec and is_model(model_spec):
        return _find_timm(model_spec, pretrained)
    if is_published_teacher(model_spec):
        return _find_teacher(catalog.teacher(model_spec), pretrained)
    if Path(model_spec).is_file():
        raise _alone(model_spec)
    if "/" in model_spec or os.sep in model_spec or Path(model_spec).exists():
        return _find_folder(Path(model_spec))
    raise unknown_model(model_spec, timm.list_models())


def say_if_a_folder_has_this_name(model_spec: str) -> None:
    """Tell that a name of the zoo or of timm was taken as such, though a model folder of that name is here."""
    base = model_spec.removeprefix(catalog.PREFIX).partition(".")[0]
    known = (
        model_spec.startswith(catalog.PREFIX)
        or base in catalog.models()
        or is_published_teacher(model_spec)
        or ("/" not in model_spec and is_model(model_spec))
    )
    if known and (Path(model_spec) / hub.FILES[0]).is_file():
        ours = model_spec.startswith(catalog.PREFIX) or base in catalog.models() or is_published_teacher(model_spec)
        whose = "lowzoo's" if ours else "timm's"
        say_once(
            f"{model_spec} is taken as {whose} model of that name; the folder {model_spec} that is here is "
            f"./{model_spec}"
        )


def architecture_of(model_spec: str) -> str:
    """Timm's architecture, without a tag, of what a word means; lowzoo's own name where its network is not timm's.

    Raises:
        LowzooError: It means nothing, or cannot be had.
    """
    if split_teacher(model_spec) is None and (checkpoint := split_checkpoint(model_spec)) is not None:
        return checkpoint[0].partition(".")[0]
    name = find(model_spec, pretrained=False).architecture.removeprefix(catalog.PREFIX).partition(".")[0]
    entry = catalog.models().get(name)
    return entry.architecture if entry is not None and not entry.builder else name


def split_teacher(model_spec: str) -> tuple[TeacherEntry, str] | None:
    """The published teacher of the catalog and the file of `TEACHER@FILE`; None for any other word."""
    name, at, file = model_spec.partition("@")
    if not at or not is_published_teacher(name) or Path(model_spec).exists():
        return None
    return catalog.teacher(name), file


def split_checkpoint(model_spec: str) -> tuple[str, Path, str] | None:
    """Architecture, file and branch of `ARCH@FILE[#BRANCH]`; None for any other word."""
    architecture, at, rest = model_spec.partition("@")
    if not at or "/" in architecture.removeprefix(catalog.PREFIX) or Path(model_spec).exists():
        return None
    name = architecture.removeprefix(catalog.PREFIX)
    base, dot, tag = name.partition(".")
    base = catalog.students().get(base, base)
    file, _, branch = (rest, "", "") if Path(rest).exists() else rest.rpartition("#") if "#" in rest else (rest, "", "")
    if not is_model(base) and not Path(file).is_file():
        return None
    return f"{base}{dot}{tag}", Path(file).expanduser(), branch


def _find_checkpoint(architecture: str, file: Path, branch: str, pretrained: bool) -> Found:
    from lowzoo.checkpoints.foreign import read_foreign

    foreign = read_foreign(file, architecture, branch)
    say_once(foreign.describe(file))
    base = architecture.partition(".")[0]
    return Found(
        name=f"{base}@{file.name}" + (f"#{branch}" if branch else "") if pretrained else base,
        architecture=base,
        revision=short_digest(file),
        cfg=foreign.cfg,
        arguments=foreign.arguments,
        file=file,
        positions=foreign.positions,
        explicit_cfg=True,
        state=foreign.state,
        source=f"{architecture}@{file.resolve()}" + (f"#{branch}" if branch else ""),
    )


def is_published_teacher(name: str) -> bool:
    """Whether a word names a teacher of the catalog that comes as a file of its authors, and not as a MODEL."""
    entry = catalog.teachers().get(name)
    return entry is not None and catalog.TEACHER_FAMILIES[entry.family].published and not is_model(name)


def _find_teacher(entry: TeacherEntry, pretrained: bool, named: Path | None = None) -> Found:
    """The backbone of a published teacher, as any other network: to embed with, to compare with, to start from.

    Args:
        entry: What the catalog says of it.
        pretrained: Whether the weights will be wanted.
        named: Its checkpoint; without one that of the catalog.
    """
    from lowzoo.checkpoints.foreign import read_checkpoint

    architecture = f"lowzoo_resnet50w{entry.width}" if entry.width > 1 else entry.architecture
    known = get_pretrained_cfg(architecture)
    cfg = plain_cfg(known.to_dict() if known else {}) | {
        "input_size": entry.input_size,
        "mean": entry.mean,
        "std": entry.std,
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "num_classes": 0,
    }
    found = Found(
        name=entry.name,
        architecture=architecture,
        revision="",
        cfg=cfg,
        arguments={"patch_size": entry.patch_size} if entry.patch_size else {},
        license=entry.license,
        positions=cast("Rule", entry.positions),
        explicit_cfg=True,
        source=entry.name,
    )
    if not pretrained:
        return found
    file = teacher_checkpoint(entry, str(named or ""))
    state = catalog.TEACHER_FAMILIES[entry.family].splits()(read_checkpoint(file), file).backbone
    counters = {
        f"{name.removesuffix('running_mean')}num_batches_tracked": torch.zeros((), dtype=torch.long)
        for name in state
        if name.endswith("running_mean")
    }
    return dataclasses.replace(
        found,
        revision=short_digest(file),
        file=file,
        state=counters | {name: value.float() if value.is_floating_point() else value for name, value in state.items()},
        source=f"{entry.name}@{file.resolve()}" if named else entry.name,
    )


def _alone(model_spec: str) -> LowzooError:
    from lowzoo.checkpoints.files.fit import no_architecture
    from lowzoo.checkpoints.foreign import read_checkpoint

    return no_architecture(model_spec, {} if is_artifact(model_spec) else read_checkpoint(Path(model_spec)))


def _find_zoo(model_spec: str, pretrained: bool) -> Found:
    entry, weights = catalog.find(model_spec)
    tagged = f"{entry.name}.{weights.tag}"
    cfg = zoo.default_cfgs[entry.name].cfgs[weights.tag].to_dict()
    found = Found(
        name=tagged if pretrained else entry.name,
        architecture=tagged,
        revision="",
        cfg=cfg,
        recipe=entry.recipe,
        license=weights.license,
    )
    if not pretrained:
        return found
    file = published.weights_file(entry, weights)
    check_safetensors(file)
    return dataclasses.replace(
        found, revision=published.revision(file), cfg=cfg | {"file": str(file)}, explicit_cfg=True
    )


def _find_timm(model_spec: str, pretrained: bool) -> Found:
    base = model_spec.partition(".")[0]
    try:
        cfg = get_pretrained_cfg(model_spec)
    except RuntimeError as error:  # timm's way to say that there is no such tag
        tags = timm.list_models(f"{base}.*", pretrained=True)
        raise LowzooError(
            f"timm has no weights {model_spec}{catalog.near_matches(model_spec, tags)}",
            f"Take one of {', '.join(tags)}",
        ) from error
    if pretrained and not (cfg and cfg.has_weights):
        raise LowzooError(f"timm has no weights for {model_spec}", "Name another model, e.g. one of `lowzoo list`")
    found = Found(
        name=f"{base}.{cfg.tag}" if pretrained and cfg and cfg.tag else base,
        architecture=model_spec,
        revision=f"timm {timm.__version__}",
        cfg=cfg.to_dict() if cfg else {},
    )
    if not pretrained or not found.cfg.get("hf_hub_id") or found.cfg.get("hf_hub_filename"):
        return found
    # Fetched here and not by timm, so that the revision is known and a missing network is reported as such: timm then
    # tries a pickle of another name and reports that one as missing.
    folder, sha = hub.fetch_model(found.cfg["hf_hub_id"])
    file = folder / "model.safetensors"
    check_safetensors(file)
    return dataclasses.replace(found, revision=sha, cfg=found.cfg | {"file": str(file)}, explicit_cfg=True)


def _find_folder(folder: Path) -> Found:
    if is_detector(folder):
        raise LowzooError(
            f"{folder} holds a detector, and a backbone is asked for",
            "Name the model that it was trained from, which `lowzoo info` tells; `lowzoo export` takes the detector",
        )
    pickled = not (folder / "model.safetensors").is_file() and (folder / _PICKLED).is_file()
    for name in hub.FILES[:1] if pickled else hub.FILES:
        if not (folder / name).is_file():
            raise LowzooError(
                f"{folder} is no model folder: it holds no {name}" if folder.is_dir() else f"no model folder {folder}",
                "Name a folder with config.json and model.safetensors, e.g. a finished run; "
                "a repository of the Hub is written hf-hub:ORG/NAME[/FOLDER][@REVISION]",
            )
    file = folder / (_PICKLED if pickled else "model.safetensors")
    state = _unpickled(file) if pickled else None
    if not pickled:
        check_safetensors(file)
    refuse_other_network(folder)
    try:
        # timm's own reader takes UTF-8 without a byte-order mark alone; of bytes, json finds the encoding.
        said = json.loads((folder / "config.json").read_bytes())
        facts = dict(said.get("lowzoo", {}))
        cfg, architecture, arguments = _parse_model_cfg(said, {"file": str(folder), "source": "local-dir"})
        check_arguments(arguments)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LowzooError(
            f"{folder / 'config.json'} is not timm's model configuration ({error!r})", "Write the folder again"
        ) from error
    if not is_model(architecture):
        raise LowzooError(
            f"{folder / 'config.json'} names the unknown architecture {architecture}", "Update timm or lowzoo"
        )
    # As timm's own `local-dir` the older timm releases would take the first safetensors file by name, which in a run
    # folder is the projection head; so the file is named. Whatever other place the configuration names is left aside.
    cfg = plain_cfg(cfg) | {"file": str(plain_path(file))}
    return Found(
        state=state,
        name=facts.get("name", folder.resolve().name),
        architecture=architecture,
        revision=short_digest(file),
        cfg=cfg,
        arguments=arguments,
        recipe=facts.get("recipe", ""),
        license=facts.get("license", ""),
        file=file,
        positions=facts["positions"] if facts.get("positions") in get_args(Rule) else "timm",
        explicit_cfg=True,
    )


def _unpickled(file: Path) -> dict[str, Tensor]:
    """The tensors of a state dict that torch wrote; nothing in the file is run.

    Raises:
        LowzooError: It is damaged, could run code, or holds anything else.
    """
    from lowzoo.checkpoints.families.family import tensors
    from lowzoo.checkpoints.files.torch_file import read_torch_file

    state = tensors(read_torch_file(file))
    if state is None:
        raise LowzooError(f"{file} holds more than the tensors of a network", "Name it as a checkpoint: ARCH@FILE")
    return state
