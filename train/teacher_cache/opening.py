"""The teacher cache of a run: opened for its teacher, views and data, or refused with the reason."""

from hashlib import sha256
from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.train.distributed import processes as distributed
from lowzoo.train.networks.tokens import patch_side
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.teacher_cache.cache import TeacherCache
from lowzoo.train.teacher_cache.identity import CacheIdentity
from lowzoo.train.teacher_cache.size import refuse_patch_targets
from lowzoo.train.teachers import Teacher


def open_cache(
    folder: Path,
    teacher: Teacher,
    config: TrainConfig,
    source: ImageSource,
    precision: str,
    *,
    patches: bool = False,
    preparation: str = "",
) -> TeacherCache:
    """Open the cache of a run, or make it.

    Args:
        folder: Folder of the cache.
        teacher: With its head.
        config: Configuration of the run.
        source: Training images.
        precision: Precision of the teacher's backbone.
        patches: Whether targets of patches are needed, too.
        preparation: How the teacher is fed, where its weights do not tell it.

    Raises:
        LowzooError: The cache holds something else, the loss needs targets of patches, or the source is a stream.
    """
    if source.streamed:
        raise LowzooError(
            f"{source.name} is a stream, whose images have no fixed places in a teacher cache",
            "Name it with hf: in place of hf-stream:, or leave out --teacher-cache",
        )
    repeated = config.taught.view_epochs if config.taught else 0
    if config.minutes and not repeated:
        views = "Add --set view_epochs=4, after which the global views repeat, or give" if config.taught else "Give"
        raise LowzooError(
            "a teacher cache needs to know how many views of an image there will be, and minutes do not tell",
            f"{views} --epochs or --steps",
        )
    # An epoch has whole batches alone, so that steps go through more epochs than there are images for.
    view_epochs = repeated or config.epochs or -(-config.steps // (len(source) // config.batch_size))
    if patches:
        grid = (config.global_size // patch_side(teacher.backbone)) ** 2
        refuse_patch_targets(len(source), view_epochs, config.global_views, grid, teacher.bottleneck_width)
    checksum = teacher.checksum()
    if preparation:
        checksum = sha256(f"{checksum} {preparation}".encode()).hexdigest()
    identity = CacheIdentity(
        teacher=teacher.facts.name,
        teacher_checksum=checksum,
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
