"""What a program would do on a GPU, found without one: work on "cuda" computes shapes, types and places, no values.

Inside `DeviceTrace` tensors on the CPU are real and those on "cuda" are PyTorch's fake tensors. An operation that mixes
devices raises, as it would on a GPU. What would make the host wait for the GPU is recorded with the line that asks for
it: values that are read back (`.item()`, `bool(x)`, `.cpu()`, `tolist`, `nonzero`), and copies to the GPU without
`non_blocking`. Recorded, too, is what a stream uses without waiting for another one that makes it. Operations are
counted in floating-point operations, and the memory that lives on the device is followed as PyTorch's allocator hands
it out, in blocks of 512 bytes.

A value that is read back is 1, so that a program goes on: a loss is finite and a count is not zero.
"""

import contextlib
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from lowzoo.system.device_streams import Streams
from lowzoo.system.flops import operations_of

_META, _BLOCK = torch.device("meta"), 512
# Folders whose lines are not what asks for something.
_ELSEWHERE = ("/site-packages/torch/", "/dist-packages/torch/", "<frozen", "<string>", "/contextlib.py")
# What the answer to a question about a fake tensor's device is must not depend on these.
_UNTRACKED = {"detach", "alias"}


@dataclass(frozen=True, slots=True)
class Wait:
    """Something for which the host waits for the device.

    Args:
        kind: "read-back", "shape" (the size of a result depends on values) or "upload" (a blocking copy); of streams
            "race" or "lent", see `lowzoo.system.device_streams`.
        operation: PyTorch's name of it.
        where: FILE:LINE of the innermost line outside PyTorch.
    """

    kind: str
    operation: str
    where: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of floating-point tensors on the device.

    Args:
        name: PyTorch's name of it.
        types: Floating types of its inputs.
        where: FILE:LINE of the innermost line outside PyTorch; of a backward pass, where it was asked for.
        backward: Whether it belongs to a backward pass.
    """

    name: str
    types: frozenset[torch.dtype]
    where: str
    backward: bool


class DeviceTrace(FakeTensorMode):
    """Follows work on "cuda"; a context.

    Args:
        allowed: Names of functions, with their classes or without, inside which the host may wait: such waits are not
            recorded.

    Attributes:
        waits: Everything for which the host would wait.
        operations: Operations on the device and how often each came, if `watch` is True.
        flops: Floating-point operations, a multiplication and an addition counted as two.
        live: Bytes that live on the device now.
        peak: Most bytes that lived there at once.
        watch: Whether `operations` are noted, which costs time.
    """

    _on = 0

    def __init__(self, allowed: Iterable[str] = (), *, watch: bool = False) -> None:
        self._has_gpu = torch.cuda.is_available()
        super().__init__(allow_non_fake_inputs=True)
        self.allowed, self.watch = frozenset(allowed), watch
        self.waits: list[Wait] = []
        self.operations: Counter[Operation] = Counter()
        self.flops = self.live = self.peak = 0
        self._seen: dict[int, int] = {}
        self._streams = Streams(self._wait)
        self._as_meta, self._inside = 0, False
        self._pending: set[int] = set()
        self._accumulators: list[Any] = []
        self._depth, self._changes = 0, contextlib.ExitStack()

    def __enter__(self) -> "DeviceTrace":
        super().__enter__()
        self._depth += 1
        DeviceTrace._on += 1
        if self._depth > 1:  # its own kernels enter it again
            return self
        with contextlib.ExitStack() as stack:
            if not self._has_gpu:
                stack.enter_context(_pretended_gpu())
            for change in self._patches():
                stack.enter_context(change)
            stack.enter_context(_Attention())
            self._changes = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._depth -= 1
        DeviceTrace._on -= 1
        if not self._depth:
            self._changes.close()
            # Not before: a cast under autocast holds the lock of that cache.
            torch.clear_autocast_cache()
        super().__exit__(*error)

    @staticmethod
    def is_on() -> bool:
        """Whether some trace follows what this thread does now."""
        return DeviceTrace._on > 0

    def __deepcopy__(self, _: Any) -> "DeviceTrace":
        """Itself: the copy of a module on the device is followed by the same trace."""
        return self

    @property
    def avoid_device_init(self) -> bool:
        """Whether there is no device that could be asked anything."""
        return not self._has_gpu

    def reset(self) -> None:
        """Forget what has been counted; what lives stays, and the peak begins there."""
        self.waits.clear()
        self.operations.clear()
        self.flops, self.peak = 0, self.live

    def hold(self, module: nn.Module) -> None:
        """Prepare the parameters of a module for a backward pass; before its first forward pass."""
        for parameter in module.parameters():
            if parameter.requires_grad:
                self._hold(parameter)

    def _hold(self, leaf: Tensor) -> None:
        with self._answering_meta():
            self._accumulators.append(torch.autograd.graph.get_gradient_edge(leaf).node)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute for real what has nothing to do with the device, and follow the rest."""
        kwargs = dict(kwargs or {})
        if func is torch.ops.prim.device.default:
            return self._place(args[0])
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        on_device = any(isinstance(x, FakeTensor) for x in tensors)
        wanted = kwargs.get("device")
        if wanted is not None and torch.device(wanted).type == "meta" and (on_device or self._as_meta):
            kwargs["device"] = wanted = torch.device("cuda", 0)
        to_device = wanted is not None and torch.device(wanted).type == "cuda"
        if not on_device and not to_device:
            return func(*args, **kwargs)
        if self._inside:  # a part of an operation that is accounted for as a whole
            return super().__torch_dispatch__(func, types, args, kwargs)
        # In inference mode nothing has taken such operations apart before.
        if torch.is_inference_mode_enabled() and torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), "CompositeImplicitAutograd"
        ):
            with self:
                return func.decompose(*args, **kwargs)
        name = func.overloadpacket.__name__
        if (answer := self._waiting(name, func, args, kwargs, on_device)) is not None:
            return answer
        self._inside = True
        try:
            out = super().__torch_dispatch__(func, types, args, kwargs)
        except DynamicOutputShapeException:
            out = self._sized_by_values(name, args)
        finally:
            self._inside = False
        self._account(name, func, args, kwargs, tensors, out)
        return out

    def _place(self, tensor: Tensor) -> torch.device:
        """Where PyTorch's C++ side is told that a tensor lies.

        The autograd engine wants streams and threads of a device that is not there, and none for "meta". So what a
        graph remembers of a tensor is "meta"; autocast and everybody else hear "cuda".
        """
        if not isinstance(tensor, FakeTensor):
            return tensor.device
        if self._as_meta:
            return _META
        if not self._inside and id(tensor) in self._pending:
            self._pending.discard(id(tensor))
            return _META
        return torch.device(tensor.fake_device)

    def _waiting(self, name: str, func: Any, args: Any, kwargs: Any, on_device: bool) -> Any:
        """Record what the host waits for; gives the values of what is read back, else None."""
        if name in ("_local_scalar_dense", "item", "is_nonzero"):
            self._wait("read-back", name)
            kind = args[0].dtype
            return True if kind is torch.bool or name == "is_nonzero" else 1 if not kind.is_floating_point else 1.0
        if name == "equal":
            self._wait("read-back", name)
            return True
        if name in ("_to_copy", "to") and on_device and torch.device(kwargs.get("device") or "cuda").type == "cpu":
            self._wait("read-back", name)
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if name == "copy_" and isinstance(args[1], FakeTensor) and not isinstance(args[0], FakeTensor):
            self._wait("read-back", name)
            return args[0].fill_(1)
        if name in ("_to_copy", "copy_"):
            source = args[0] if name == "_to_copy" else args[1]
            blocking = not (kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
            # A number is an argument of a kernel, and nothing is waited for.
            if isinstance(source, Tensor) and not isinstance(source, FakeTensor) and source.numel() and blocking:
                self._wait("upload", name)
        if name in ("index", "index_put", "index_put_"):
            by = [x for x in tree_leaves(args[1]) if isinstance(x, Tensor)]
            if isinstance(args[0], FakeTensor) and any(not isinstance(x, FakeTensor) for x in by):
                self._wait("upload", f"{name} by numbers on the CPU")
            if name == "index" and any(x.dtype in (torch.bool, torch.uint8) for x in by):
                self._wait("shape", "index by a mask")
                return self._masked(args)
        return None

    def _masked(self, args: Any) -> Tensor:
        """What a selection by a mask gives: all of it, as a mask of ones would."""
        masks = [x for x in args[1] if x is not None]
        source = args[0]
        taken = masks[0].ndim
        selected: Tensor = source.new_empty((masks[0].numel(), *source.shape[taken:]))
        return selected

    def _sized_by_values(self, name: str, args: Any) -> Any:
        self._wait("shape", name)
        first = args[0]
        if name == "nonzero":
            return first.new_empty((first.numel(), first.ndim), dtype=torch.int64)
        if name == "masked_select":
            return first.new_empty(first.numel())
        return tree_map(lambda x: x, first.new_empty(first.numel()))

    def _wait(self, kind: str, operation: str) -> None:
        where, names = _asked()
        if not names & self.allowed:
            self.waits.append(Wait(kind, operation, where))

    def _account(self, name: str, func: Any, args: Any, kwargs: Any, tensors: list[Tensor], out: Any) -> None:
        results = [x for x in tree_leaves(out) if isinstance(x, FakeTensor)]
        if torch.is_grad_enabled() and not self._as_meta and name not in _UNTRACKED:
            # Each result that takes part in a graph is asked once for its device, next of all.
            self._pending = (
                {id(x) for x in results if x.dtype.is_floating_point}
                if any(x.requires_grad for x in tensors)
                else set()
            )
        else:
            self._pending = set()
        for x in results:
            self._born(x.untyped_storage())
        given = (x.untyped_storage()._cdata for x in tensors if isinstance(x, FakeTensor))
        self._streams.work(name, given, (x.untyped_storage()._cdata for x in results))
        self.flops += operations_of(func.overloadpacket, args, kwargs, out)
        if self.watch and (floating := frozenset(x.dtype for x in tensors if x.dtype.is_floating_point)):
            self.operations[Operation(name, floating, _asked()[0], bool(self._as_meta))] += 1

    def _born(self, storage: Any) -> None:
        key = storage._cdata
        size = -(-storage.nbytes() // _BLOCK) * _BLOCK
        if key in self._seen:
            return
        self._seen[key] = size
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._died, key)

    def _died(self, key: int) -> None:
        self.live -= self._seen.pop(key, 0)
        self._streams.died(key)

    @contextlib.contextmanager
    def _answering_meta(self) -> Iterator[None]:
        self._as_meta += 1
        try:
            yield
        finally:
            self._as_meta -= 1

    def _patches(self) -> Iterator[Any]:
        engine = torch.autograd._engine_run_backward  # type: ignore[attr-defined]  # nothing public stands there
        function = torch.autograd.Function
        apply = next(vars(kind)["apply"] for kind in function.__mro__ if "apply" in vars(kind))

        def backward(*args: Any, **more: Any) -> Any:
            with self._answering_meta():
                return engine(*args, **more)

        def applied(kind: Any, *args: Any, **more: Any) -> Any:
            # Such functions say themselves in which precision they compute.
            with self._answering_meta():
                return apply.__get__(None, kind)(*args, **more)

        plain = Tensor.requires_grad_

        def wanting(x: Tensor, wanted: bool = True) -> Tensor:
            found = plain(x, wanted)
            if wanted and isinstance(x, FakeTensor) and not isinstance(x, nn.Parameter) and x.is_leaf:
                self._hold(x)
            return found

        yield from self._streams.patches()
        yield mock.patch.object(Tensor, "requires_grad_", wanting)
        yield mock.patch.object(torch.autograd, "_engine_run_backward", backward)
        yield mock.patch.object(function, "apply", classmethod(applied))
        yield mock.patch.object(nn.Module, "_apply", _apply)


class _Attention(TorchFunctionMode):
    """Attention by the fused kernels that a GPU has, which are chosen by asking it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not nn.functional.scaled_dot_product_attention or not isinstance(args[0], FakeTensor):
            return func(*args, **kwargs)
        q, k, v = args[:3]
        dropout, causal = kwargs.get("dropout_p", 0.0), kwargs.get("is_causal", False)
        if kwargs.get("attn_mask") is not None or len(args) > 3:
            return func(*args, **kwargs)
        if torch.is_autocast_enabled("cuda"):
            q, k, v = (x.to(torch.get_autocast_dtype("cuda")) for x in (q, k, v))
        if q.dtype in (torch.bfloat16, torch.float16):
            return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, dropout, causal)[0]
        keep = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
        return torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, None, keep, dropout, causal)[0]


@contextlib.contextmanager
def _pretended_gpu() -> Iterator[None]:
    """Let PyTorch say that there is a GPU, of 80 GB, which computes in bfloat16."""
    names: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "is_bf16_supported": lambda *_, **__: True,
        "synchronize": lambda *_: None,
        "memory_allocated": lambda *_: 0,
        "mem_get_info": lambda *_: (80 * 10**9, 80 * 10**9),
        "is_current_stream_capturing": lambda: False,
        "_lazy_init": lambda: None,
    }
    with mock.patch.multiple(torch.cuda, **names), mock.patch.object(Tensor, "pin_memory", lambda x, *_: x):
        yield


def _apply(self: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """What `nn.Module._apply` does, with new parameters: real ones cannot hold fake data, nor fake ones be swapped."""
    moved: dict[int, tuple[Tensor, Tensor]] = {}

    def once(x: Tensor) -> Tensor:
        if id(x) not in moved:  # shared ones stay shared
            with torch.no_grad():
                new = change(x)
            if isinstance(x, nn.Parameter) and new is not x:
                new = nn.Parameter(new, x.requires_grad)
            moved[id(x)] = x, new
        return moved[id(x)][1]

    for module in self.modules() if recurse else (self,):
        for held in (module._parameters, module._buffers):
            held.update({key: once(x) for key, x in held.items() if x is not None})  # type: ignore[misc]
    return self


def _asked() -> tuple[str, frozenset[str]]:
    """FILE:LINE of the innermost line outside PyTorch and this file, and the names of the functions around it."""
    frame: FrameType | None = sys._getframe(1)
    where, names = "", set()
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__ and not any(part in file for part in _ELSEWHERE):
            where = where or f"{file}:{frame.f_lineno}"
            names |= {frame.f_code.co_name, frame.f_code.co_qualname}
        frame = frame.f_back
    return where, frozenset(names)
