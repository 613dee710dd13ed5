"""The teacher cache of a run: opened for its teacher, views and data, or refused with the reason."""

from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.train.distributed import processes as distributed
from lowzoo.train.networks.tokens import patch_side
from lowzoo.train.recipes.base import TaughtConfig
from lowzoo.train.teacher_cache.cache import TeacherCache
from lowzoo.train.teacher_cache.identity import CacheIdentity
from lowzoo.train.teacher_cache.size import refuse_patch_targets
from lowzoo.train.teachers import Teacher


def open_cache(
    folder: Path, teacher: Teacher, config: TaughtConfig, source: ImageSource, precision: str
) -> TeacherCache:
    """Open the cache of a run, or make it.

    Args:
        folder: Folder of the cache.
        teacher: With its head.
        config: Configuration of the run.
        source: Training images.
        precision: Precision of the teacher's backbone.

    Raises:
        LowzooError: The cache holds something else, the loss needs targets of patches, or the source is a stream.
    """
    if source.streamed:
        raise LowzooError(
            f"{source.name} is a stream, whose images have no fixed places in a teacher cache",
            "Name it with hf: in place of hf-stream:, or leave out --teacher-cache",
        )
    if config.minutes and not config.view_epochs:
        raise LowzooError(
            "a teacher cache needs to know how many views of an image there will be, and minutes do not tell",
            "Add --set view_epochs=4, after which the global views repeat, or give --epochs or --steps",
        )
    view_epochs = config.view_epochs or config.epochs or -(-config.steps * config.batch_size // len(source))
    if config.needs.patches:
        patches = (config.global_size // patch_side(teacher.backbone)) ** 2
        refuse_patch_targets(len(source), view_epochs, config.global_views, patches, teacher.bottleneck_width)
    identity = CacheIdentity(
        teacher=config.teacher,
        teacher_checksum=teacher.checksum(),
        head=type(teacher.head).__name__,
        bottleneck=teacher.bottleneck_width,
        precision=precision,
        views=config.views,
        seed=config.seed,
        data=source.fingerprint(),
        count=len(source),
        view_epochs=view_epochs,
    )
    if distributed.is_main():
        TeacherCache.open(folder, identity)
    distributed.barrier()
    return TeacherCache.open(folder, identity)
