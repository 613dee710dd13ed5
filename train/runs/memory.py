"""How much memory a run will need, known before its first step; a batch that would not fit is gone through in parts.

What a step keeps for its backward pass is counted on two images, which costs a fraction of a second, and grows with the
images that go through the networks at once. All else is plain arithmetic. `benchmarks/train_memory.py` compares the
estimate with the peaks of real runs.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.system.control_groups import memory_left
from lowzoo.train.monitoring.label_free import LIMIT
from lowzoo.train.optim.optimizers import OPTIMIZERS
from lowzoo.train.recipes.base import TrainConfig

_FLOAT = 4
_PROBE = 2
# A CPU's allocator keeps what it freed, in pieces that do not always fit the next layer.
_SCATTER = 1.1
# Of the memory that is free, a run may take so much: the rest is for the system and for what an estimate misses.
_SHARE = 0.8
# Scores, their logarithms, softmaxes and gradients live at once.
_SCORE_COPIES = 5
# Batches of finished views that wait beside the one that trains.
_WAITING = 2
# What a data worker has of its own, beside what it shares with the process that started it.
WORKER_BYTES = 300_000_000


@dataclass(frozen=True)
class Memory:
    """An estimate.

    Args:
        fixed: Bytes that do not depend on the batch: what the process has now, gradients, the optimiser, a second
            network.
        per_image: Bytes for each image that goes through the networks at once.
    """

    fixed: int
    per_image: int

    def peak(self, images: int) -> int:
        """Bytes at the peak of a step with so many images at once."""
        return self.fixed + images * self.per_image

    def parts(self, images: int, free: int, taken: int, least: int = 1) -> int:
        """The least number of equal parts of a batch that stay within the free memory; the most where none do.

        Args:
            images: Number of images in a step, in this process.
            free: Bytes that the device still has.
            taken: Bytes of the estimate that are in use already.
            least: Images in a part.

        Raises:
            LowzooError: The smallest parts need more than there is, even if nothing is left for anyone else.
        """
        sizes = [part for part in range(images, 0, -1) if images % part == 0 and part >= min(least, images)]
        fitting = next((part for part in sizes if self.peak(part) <= _SHARE * free + taken), sizes[-1])
        if self.peak(fitting) > free + taken:
            at_once = "1 image" if fitting == 1 else f"{fitting} images"
            raise LowzooError(
                f"a step needs {(self.peak(fitting) - taken) / 1e9:.1f} GB beside what is in use, even with {at_once} "
                f"at once, and {free / 1e9:.1f} are free",
                "Use smaller views (--set view.global.size=...), a smaller --student, or free some memory; "
                "--set accumulate=N tries it all the same",
            )
        return images // fitting


def estimate(
    config: TrainConfig,
    backbone: nn.Module,
    outputs: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    teacher: nn.Module | None = None,
) -> Memory:
    """What a run will need.

    Args:
        config: Configuration of the run.
        backbone: The student's; left as it is.
        outputs: Scores of the student's head, K.
        device: Where it will train.
        autocast: Makes the context in which networks compute.
        teacher: Backbone of a frozen teacher, if there is one.
    """
    weights = sum(parameter.numel() for parameter in backbone.parameters()) * _FLOAT
    states = OPTIMIZERS[config.optimizer].states
    needs = config.needs
    fixed = taken_memory(device) + weights * (1 + states + needs.momentum_teacher)
    if device.type != "cpu":  # on the CPU both are there already
        fixed += weights
        if teacher is not None:
            fixed += sum(value.numel() * value.element_size() for value in teacher.state_dict().values())
    views = sum(group.count for group in config.views)
    pixels = sum(3 * group.count * group.size**2 for group in config.views)
    loss = views * outputs * _SCORE_COPIES * _FLOAT
    loss += 2 * views * needs.bank * _FLOAT
    kept = kept_for_backward(config, backbone, device, autocast)
    scatter = _SCATTER if device.type == "cpu" else 1.0
    of_student = int(scatter * kept) + loss
    before = int(scatter * of_teacher(config, teacher)) if teacher is not None else 0
    return Memory(fixed, max(of_student, before) + pixels * _FLOAT * (1 + _WAITING))


def kept_for_backward(
    config: TrainConfig, backbone: nn.Module, device: torch.device, autocast: Callable[[], AbstractContextManager[Any]]
) -> int:
    """Bytes an image that the student's forward pass over all views keeps for the backward pass.

    The widest of them counts three times, as its gradient and that of the layer before it live beside it.
    """
    # Computed with copies, as running statistics change; `copy.deepcopy` asks tensors for their data, which those on a
    # device that is not there have none of. So storages are told apart by their identity and not by their address.
    tensors = {name: value.detach().to(device, copy=True) for name, value in backbone.named_buffers()}
    own = set[int]()
    for name, value in backbone.named_parameters():
        tensors[name] = value.detach().to(device, copy=True).requires_grad_(value.requires_grad)
        own.add(tensors[name].untyped_storage()._cdata)
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return x

    states = torch.random.get_rng_state()
    graph = []  # what is kept has to live on, or its place in memory is given to something else
    with _training(backbone), torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x), autocast():
        for number, group in enumerate(config.views):
            count = group.count - config.needs.keys if number == 0 else group.count
            images = torch.zeros(_PROBE * count, 3, group.size, group.size, device=device)
            images = images.contiguous(memory_format=torch.channels_last)
            graph.append(torch.func.functional_call(backbone, tensors, (images,)))
    torch.random.set_rng_state(states)
    return (sum(kept.values()) + 2 * max(kept.values(), default=0)) // _PROBE


@torch.no_grad()
def of_teacher(config: TrainConfig, backbone: nn.Module) -> int:
    """Bytes an image that a frozen teacher needs for its views: its widest layer's input and output.

    They are given up before the student begins.

    Args:
        config: Configuration of the run.
        backbone: The teacher's; left as it is.
    """
    widest = 0

    def see(_: nn.Module, given: tuple[Any, ...], out: Any) -> None:
        nonlocal widest
        tensors = [x for x in (*given, out) if isinstance(x, Tensor)]
        widest = max(widest, sum(x.numel() * x.element_size() for x in tensors))

    leaves = [module for module in backbone.modules() if not any(module.children())]
    hooks = [module.register_forward_hook(see) for module in leaves]
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    group = config.views[0]
    side = (config.taught.teacher_size if config.taught else 0) or group.size
    like = next(backbone.parameters())
    try:
        backbone(torch.zeros(1, 3, side, side, device=like.device, dtype=like.dtype))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return widest * group.count


def watching(config: TrainConfig, images: ImageSource, held_out: ImageSource | None) -> int:
    """Bytes of the decoded images that a run's monitors keep; 0 where they never measure.

    Args:
        config: Configuration of the run.
        images: To train on.
        held_out: Not to train on.
    """
    if not config.monitor_epochs:
        return 0
    squares = 3 * min(LIMIT, len(images if held_out is None else held_out))  # as they are, and two views of each
    if held_out is not None and images.labels is not None:
        squares += min(config.monitor_bank, len(images)) + min(config.monitor_queries, len(held_out))
    return squares * 3 * config.global_size**2


@contextmanager
def _training(network: nn.Module) -> Iterator[None]:
    """Put a network into training mode while the block runs."""
    modes = [(module, module.training) for module in network.modules()]
    network.train()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def taken_memory(device: torch.device) -> int:
    """Bytes that this process has on the device now."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def free_memory(device: torch.device, workers: int = 0, processes: int = 1) -> int | None:
    """Bytes that the device has to give to this process; None where it does not tell.

    Args:
        device: GPU or CPU; on a CPU the processes of a run and their data workers share the memory.
        workers: Data workers of each process.
        processes: Processes of the run on this machine.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    available, group, own = int(psutil.virtual_memory().available), memory_left(), _address_space_left()
    shared = available if group is None else min(available, group)
    left = max(0, shared // processes - workers * WORKER_BYTES)
    return left if own is None else min(left, own)


def _address_space_left() -> int | None:
    """Bytes of address space that this process may still map (`ulimit -v`); None without a limit."""
    if not hasattr(psutil, "RLIMIT_AS"):  # of Linux and FreeBSD alone
        return None
    limit = psutil.Process().rlimit(psutil.RLIMIT_AS)[0]
    return None if limit == psutil.RLIM_INFINITY else max(0, int(limit - psutil.Process().memory_info().vms))
