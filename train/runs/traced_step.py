"""What a step takes of a GPU, known before there is one: arithmetic and peak memory of the step itself, traced.

The step is that of the run (views, teacher, student, loss, backward pass, optimiser) on `DeviceTrace`'s tensors without
values, so its size costs nothing. Two batches give what grows with the images and what does not. What the allocator
loses between blocks and what libraries take for themselves is not in it, and no GPU has been held against it yet.
"""

import copy
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from lowzoo.base.errors import reason_of
from lowzoo.data.source import ImageSource
from lowzoo.system.device_trace import DeviceTrace
from lowzoo.train.data.view_batch import ViewBatch
from lowzoo.train.heads import FittedHead, WeightNormLinear
from lowzoo.train.monitoring.progress import StepClock
from lowzoo.train.networks.class_token import shorten_last_block
from lowzoo.train.networks.encoder import feature_width
from lowzoo.train.networks.step import StepContext
from lowzoo.train.networks.tokens import patch_side
from lowzoo.train.optim.updates import Updates
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.build import build_method
from lowzoo.train.runs.device_views import DeviceViews
from lowzoo.train.runs.memory import Memory, taken_memory
from lowzoo.train.settings.length import Length
from lowzoo.train.teacher_cache.frozen import FrozenTeacher
from lowzoo.train.teachers import Teacher
from lowzoo.train.teachers.resized import Resized
from lowzoo.train.views.params import RECORD_FIELDS, sample_params

M = TypeVar("M", bound=nn.Module)

_CUDA = torch.device("cuda")
# Height and width of the pictures that views are drawn for, and how many differ.
_PICTURE, _DRAWN = (375, 500), 64


@dataclass(frozen=True)
class StepCost:
    """What a step takes of one device.

    Args:
        flops: Floating-point operations of a step.
        images: Images in it.
        memory: Its peak by the number of images.
    """

    flops: int
    images: int
    memory: Memory


def memory_on_gpu(
    config: TrainConfig,
    backbone: nn.Module,
    teacher: Teacher | None,
    source: ImageSource,
    device: torch.device,
    precision: str,
    autocast: Callable[[], AbstractContextManager[Any]],
    images: int,
    say: Callable[[str], None],
) -> Memory | None:
    """What a step of a run needs on a GPU, beside what the process has there; None where that cannot be traced.

    Args:
        config: Configuration of the run.
        backbone: The student's.
        teacher: As `create_teacher` gives it.
        source: Training images.
        device: The GPU.
        precision: Precision of the networks.
        autocast: Makes the context in which they compute.
        images: Images that go through the networks at once.
        say: Told why a step could not be traced.
    """
    if DeviceTrace.is_on():  # this run is traced itself
        return None
    try:
        memory = traced_step(config, backbone, teacher, source, precision, autocast, images).memory
    except Exception as error:  # of a network that somebody else wrote, with operations that nobody has foreseen
        say(f"The memory of a step is estimated, as it could not be traced ({reason_of(error)})")
        return None
    return Memory(memory.fixed + taken_memory(device), memory.per_image)


def traced_step(
    config: TrainConfig,
    backbone: nn.Module,
    teacher: Teacher | None,
    source: ImageSource,
    precision: str,
    autocast: Callable[[], AbstractContextManager[Any]],
    images: int,
) -> StepCost:
    """Trace a step of this many images, and of half as many.

    Args:
        config: Configuration of the run.
        backbone: The student's; left as it is.
        teacher: As `create_teacher` gives it; left as it is.
        source: Training images, for their labels.
        precision: Precision of the networks.
        autocast: Makes the context in which they compute.
        images: Images that go through the networks at once.
    """
    states = torch.random.get_rng_state()
    half = max(1, images // 2)
    try:
        # Alone, whatever other processes this one has joined.
        with mock.patch.object(dist, "is_initialized", return_value=False):
            found = [_traced(config, backbone, teacher, source, precision, autocast, n) for n in (images, half)]
    finally:
        torch.random.set_rng_state(states)
    (flops, peak), (_, less) = found
    per_image = -(-(peak - less) // (images - half)) if images > half else peak
    return StepCost(flops, images, Memory(peak - images * per_image, per_image))


def _traced(
    config: TrainConfig,
    backbone: nn.Module,
    teacher: Teacher | None,
    source: ImageSource,
    precision: str,
    autocast: Callable[[], AbstractContextManager[Any]],
    images: int,
) -> tuple[int, int]:
    """Operations and peak of a step after the first, which makes the optimiser's state."""
    is_ahead = config.ahead
    config = config.model_copy(update={"ahead": False})
    with DeviceTrace() as trace:
        frozen = None if teacher is None else FrozenTeacher(_placed(teacher, config))
        method = build_method(config, _twin(backbone), frozen, _CUDA)
        trace.hold(method)
        method.train()
        updates = Updates(config, method.student, Length.known(1000, 100), _CUDA, precision)
        views = DeviceViews(config, source, _CUDA, patch_side(backbone))
        for step in range(2):
            trace.reset()
            now = StepContext(step, step / 1000, StepClock(_CUDA), autocast)
            method.before_step(now)
            ready = views(_batch(config, source, images, step))
            # Made before the step, and kept beside it.
            coming = views(_batch(config, source, images, step + 1)) if is_ahead else None
            loss = method.loss(ready, now)
            del ready
            updates.backward(loss)
            updates.apply(method, now)
            method.after_step(now)
            del coming, loss
        found = trace.flops, trace.peak
        del method, updates, views, frozen
    return found


def _placed(teacher: Teacher, config: TrainConfig) -> Teacher:
    """A twin of the teacher as the run has it on the device, with a head where one is yet to be fitted."""
    taught = config.taught
    assert taught is not None
    head, facts = teacher.head, teacher.facts
    if head is None:
        width = feature_width(teacher.backbone, taught.teacher_size or config.global_size)
        bottleneck = min(taught.fitted_bottleneck, width, taught.fitted_images)
        head, facts = (
            FittedHead(width, taught.prototypes, bottleneck=bottleneck),
            replace(facts, prototypes=taught.prototypes),
        )
    twin = _twin(teacher.backbone)
    if not config.needs.patches:
        shorten_last_block(twin)
    placed = Teacher(Resized(twin, taught.teacher_size) if taught.teacher_size else twin, _twin(head), facts)
    placed = placed.to(_CUDA).to(memory_format=config.layout)
    placed.layout = config.layout
    for module in placed.modules():
        if isinstance(module, WeightNormLinear):
            module.freeze()
    return placed


def _twin(module: M) -> M:
    """A copy that shares its tensors, which a move to the device then replaces in the copy alone."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})


def _batch(config: TrainConfig, source: ImageSource, images: int, epoch: int) -> ViewBatch:
    """Black views with the parameters of random ones."""
    drawn = [sample_params(config.views, config.seed, epoch, index, *_PICTURE).photometric for index in range(_DRAWN)]
    return ViewBatch(
        crops=[
            torch.zeros(images, group.count, 3, group.size, group.size, dtype=torch.uint8) for group in config.views
        ],
        photometric=torch.from_numpy(np.resize(np.stack(drawn), (images, *drawn[0].shape))),
        bad=[],
        epoch=epoch,
        indices=torch.arange(images) % len(source),
        records=torch.zeros(images, config.global_views, len(RECORD_FIELDS)),
        seen=images,
    )
