"""From a word to a teacher: the catalog's files, run folders, and whatever `lowzoo.zoo.resolve` knows."""

from dataclasses import replace
from pathlib import Path

import torch
from timm.models import is_model
from torch import nn

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.catalog import TeacherEntry
from lowzoo.io.safetensors_file import check_safetensors
from lowzoo.train.heads.files import ends_in_embedding, load_head
from lowzoo.train.teachers.classifier import cut_classifier, no_classifier
from lowzoo.train.teachers.normalisation import take_imagenet_normalised
from lowzoo.train.teachers.published import load_published
from lowzoo.train.teachers.published.backbones import build_backbone
from lowzoo.train.teachers.teacher import Teacher, TeacherFacts
from lowzoo.zoo.find import FOLDER_SCHEME
from lowzoo.zoo.resolve import Resolved, check_patches, load_model
from lowzoo.zoo.teacher_file import teacher_checkpoint

_Head = tuple[nn.Module, str, int]  # the module, its kind, and the width of what it gives


def load_teacher(teacher_spec: str, *, size: int, head: str = "own", file: str = "") -> Teacher:
    """Load a teacher; with `head="fitted"` its head is None until `fit_teacher_head` has run.

    Args:
        teacher_spec: A name of the teacher catalog, a run folder, or any MODEL word.
        size: Side of the global views in pixels; a published ViT takes other sizes as well.
        head: "own" demands the teacher's own head, "fitted" leaves it out; "classifier" makes the head of the classes
            that a MODEL was trained for.
        file: The checkpoint of a catalog teacher; without one it is taken from a package or downloaded.

    Raises:
        LowzooError: Unknown word, missing file, missing head, a checkpoint that does not fit, or an impossible size.
    """
    entry = catalog.teachers().get(teacher_spec)
    if entry is not None and catalog.TEACHER_FAMILIES[entry.family].published:
        if head == "classifier":
            raise no_classifier(teacher_spec)
        return _load_published(entry, size, file, with_head=head == "own")
    if file:
        raise LowzooError(
            f"teacher {teacher_spec} does not come from a checkpoint file, and {file} was named",
            "Leave out teacher_file, or name the teacher of the catalog that the file is",
        )
    return _load_model_word(entry.model if entry else teacher_spec, size, entry, teacher_spec, head)


def brings_head(teacher_spec: str, *, prototypes: bool) -> bool:
    """Whether the teacher that a word means has a projection head of its own; nothing is loaded.

    Args:
        teacher_spec: As `load_teacher` takes it.
        prototypes: Whether the head has to end in prototypes, as RoB needs them, or may end in an embedding.

    Raises:
        LowzooError: Its head is damaged.
    """
    entry = catalog.teachers().get(teacher_spec)
    if entry is not None and catalog.TEACHER_FAMILIES[entry.family].published:
        return entry.has_prototypes if prototypes else entry.head_included
    head = _head_file(entry.model if entry else teacher_spec)
    return head is not None and not (prototypes and ends_in_embedding(head))


def _load_published(entry: TeacherEntry, size: int, file: str, *, with_head: bool) -> Teacher:
    if with_head and not entry.head_included:
        raise _no_head(entry.name)
    with torch.device("meta"):  # a network without values, before hundreds of megabytes are fetched
        check_patches(build_backbone(entry), size)
    path = teacher_checkpoint(entry, file)
    facts = TeacherFacts(
        entry.name, entry.architecture, path.name, entry.training, entry.license, entry.derivatives_may_be_published
    )
    backbone, head, outputs = load_published(path, entry, with_head=with_head)
    if head is None:
        return Teacher(backbone, None, facts)
    return Teacher(backbone, head, replace(facts, head=f"own ({entry.family})", prototypes=outputs))


def _load_model_word(teacher_spec: str, size: int, entry: TeacherEntry | None, name: str, head: str) -> Teacher:
    try:
        resolved = load_model(teacher_spec, image_size=size, classes=head == "classifier")
    except LowzooError as error:
        if error.message.startswith("unknown model"):
            near = catalog.near_matches(teacher_spec, [*catalog.teachers(), *catalog.models()])
            raise LowzooError(
                f"unknown teacher {teacher_spec!r}{near}",
                "Name one of `lowzoo teachers`, a run folder, or a timm model",
            ) from None
        raise
    training = entry.training if entry else _training_of(resolved)
    derivatives = entry.derivatives_may_be_published if entry else None
    facts = TeacherFacts(name, resolved.name, resolved.revision, training, resolved.license, derivatives)
    own: _Head | None = None
    if head == "classifier":
        classifier = cut_classifier(resolved.model, name, size)
        own = classifier, "classifier", classifier.layer.out_features
    elif head == "own":
        own = _own_head(teacher_spec, name)
    take_imagenet_normalised(resolved.model, resolved.mean, resolved.std)
    if own is None:
        return Teacher(resolved.model, None, facts)
    module, kind, outputs = own
    return Teacher(resolved.model, module, replace(facts, head=f"own ({kind})", prototypes=outputs))


def _own_head(teacher_spec: str, name: str) -> _Head:
    path = _head_file(teacher_spec)
    if path is None:
        raise _no_head(name)
    check_safetensors(path)
    head, spec, _, outputs = load_head(path)
    return head, spec.kind, outputs


def _no_head(name: str) -> LowzooError:
    return LowzooError(
        f"teacher {name} has no projection head of its own, and its targets need one",
        "Use --teacher-head fitted to fit prototypes to its embeddings, or choose another teacher",
    )


def _head_file(teacher_spec: str) -> Path | None:
    """The head that lies beside the weights that a word means, see `lowzoo.zoo.find`; None where there is none."""
    if teacher_spec.removeprefix(catalog.PREFIX).partition(".")[0] in catalog.models():
        _, weights = catalog.find(teacher_spec)
        if weights.path is None:
            return None
        beside = weights.path.with_name(f"{weights.path.stem}.head.safetensors")
        return beside if beside.is_file() else None
    if Path(teacher_spec).name == teacher_spec and is_model(teacher_spec):
        return None  # timm's, also where a folder has the name
    beside = Path(teacher_spec.removeprefix(FOLDER_SCHEME)) / "head.safetensors"
    return beside if beside.is_file() else None


def _training_of(resolved: Resolved) -> str:
    return f"{resolved.recipe or 'not stated by lowzoo'}: see {resolved.name}"
