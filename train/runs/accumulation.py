"""Into how many parts a batch is divided, so that a step fits into the memory that is free."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.system.processes import local_processes
from lowzoo.train.distributed import collectives
from lowzoo.train.distributed import processes as distributed
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.device_decoding import DECODING_BYTES
from lowzoo.train.runs.memory import Memory, estimate, free_memory, taken_memory, watching
from lowzoo.train.runs.traced_step import memory_on_gpu
from lowzoo.train.teachers import Teacher
from lowzoo.train.teachers.target import Target


@dataclass(frozen=True)
class StepInputs:
    """What takes memory in a step, before any has been made.

    Args:
        backbone: The student.
        teacher: Its teacher, if there is one.
        target: The model that it is to be compatible with, if there is one.
        scores: Outputs of the student's head; 0 where its last layer is its embedding.
        source: Training images.
        held_out: Images for the monitors.
    """

    backbone: nn.Module
    teacher: Teacher | None
    target: Target | None
    scores: int
    source: ImageSource
    held_out: ImageSource | None


@dataclass(frozen=True)
class Placement:
    """Where a step is made.

    Args:
        device: Device of this process.
        precision: fp32, bf16 or fp16.
        autocast: Makes the context that networks compute in.
        workers: Processes that make views.
    """

    device: torch.device
    precision: str
    autocast: Callable[[], Any]
    workers: int


def with_accumulation(
    config: TrainConfig, step: StepInputs, place: Placement, say: Callable[[str], None]
) -> TrainConfig:
    """The same configuration, or one whose batch is divided so that a step fits into memory.

    Args:
        config: Resolved configuration.
        step: What takes memory.
        place: Where.
        say: Told where a batch is divided, and of what no estimate knows.

    Raises:
        LowzooError: It would have to be divided, and cannot be.
    """
    device = place.device
    # Both before the estimate, which leaves the process larger.
    taken = taken_memory(device)
    free = free_memory(device, place.workers, local_processes())
    processes = collectives.world_size()
    if config.accumulate > 1 or config.batch_size % processes or free is None:
        return config
    images = config.batch_size // processes
    needed = _needed(config, step, place, images, say)
    # Batch norm cannot train on one image whose feature map is 1 x 1.
    normed = any(isinstance(module, _BatchNorm) for module in step.backbone.modules())
    least = 2 if normed or config.student_head.batch_norm else 1
    parts = collectives.any_of(needed.parts(images, free, taken, least))
    if parts == 1:
        return config
    if isinstance(config.compile, str):
        raise LowzooError(
            f"a step of {config.batch_size} images does not fit into memory, and compile={config.compile} replays "
            "CUDA graphs, which no batch in parts can do",
            "Use --set compile=true, or a smaller --batch-size",
        )
    say(
        f"A step of {config.batch_size} images would need {needed.peak(images) / 1e9:.1f} GB, and "
        f"{free / 1e9:.1f} are free: it goes through them in {parts} parts (accumulate), "
        f"{needed.peak(images // parts) / 1e9:.1f} GB"
    )
    return config.model_copy(update={"accumulate": parts})


def _needed(config: TrainConfig, step: StepInputs, place: Placement, images: int, say: Callable[[str], None]) -> Memory:
    """Memory of the networks, a step of so many images, and what stands beside them."""
    device, target = place.device, step.target
    needed = None
    if device.type == "cuda":
        needed = memory_on_gpu(
            config, step.backbone, step.teacher, step.source, device, place.precision, place.autocast, images, say
        )
    if needed is None:
        network = None if step.teacher is None else step.teacher.backbone
        needed = estimate(config, step.backbone, step.scores, device, place.autocast, network)
    if target is not None:
        if device.type != "cpu":  # on the CPU it is there already
            tensors = target.teacher.state_dict().values()
            weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            needed = replace(needed, fixed=needed.fixed + weights)
        say(f"Memory: what {target.facts.model} takes while it computes embeddings is not in the estimate")
    if config.decode == "device":
        needed = replace(needed, fixed=needed.fixed + DECODING_BYTES)
    if device.type == "cpu" and distributed.is_main():  # on a GPU monitors keep their images beside it
        needed = replace(needed, fixed=needed.fixed + watching(config, step.source, step.held_out))
    return needed
