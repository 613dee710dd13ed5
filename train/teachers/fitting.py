"""A head for a teacher that has none: prototypes fitted to its features, an extension of the paper."""

from dataclasses import replace

from torch import Tensor, nn

from lowzoo.train.prototypes import fit_head
from lowzoo.train.teachers.teacher import Teacher


def fit_teacher_head(
    teacher: Teacher, features_ND: Tensor, *, prototypes: int, bottleneck: int, whitening: float, seed: int
) -> Teacher:
    """The same teacher with prototypes fitted to its features of the training images."""
    head = fit_head(features_ND, prototypes=prototypes, bottleneck=bottleneck, whitening=whitening, seed=seed)
    text = (
        f"fitted: {prototypes} spherical k-means prototypes over {len(features_ND)} embeddings, "
        f"{head.projection.shape[1]} principal axes, whitening {whitening} (an extension of the paper)"
    )
    facts = replace(teacher.facts, head=text, prototypes=prototypes, extension=True)
    return Teacher(teacher.backbone, head, facts)


def with_fitted_head(teacher: Teacher, head: nn.Module, facts: dict[str, object]) -> Teacher:
    """The same teacher with a head that an earlier part of the run fitted."""
    known = replace(teacher.facts, head=str(facts["head"]), prototypes=int(str(facts["prototypes"])), extension=True)
    return Teacher(teacher.backbone, head, known)
