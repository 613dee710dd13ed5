"""Views a step ahead: finished on a GPU's stream of their own, beside the step that trains.

The stream of the step waits for the batch's event and tells the allocator that it uses the views, so that their memory
is not given away while it reads them. This has been proven on a traced device alone (`lowzoo.system.device_streams`).
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch

from lowzoo.train.data.dataset import ViewBatch
from lowzoo.train.networks.step import Views

PendingViews = tuple[ViewBatch, Callable[[], Views]]


def ahead(
    batches: Iterable[ViewBatch], finish: Callable[[ViewBatch], Views], device: torch.device
) -> Iterator[PendingViews]:
    """Yield (batch, thunk), in order, once the work on the next batch has been asked for; the thunk returns its views.

    Args:
        batches: From a loader.
        finish: Makes the views of a batch on the device.
        device: A GPU.
    """
    stream = torch.cuda.Stream(device)

    def started(batch: ViewBatch) -> PendingViews:
        if not len(batch):  # refused by whoever asks for its views
            return batch, partial(finish, batch)
        with torch.cuda.stream(stream):
            views = finish(batch)
        done = stream.record_event()

        def given() -> Views:
            step = torch.cuda.current_stream(device)
            step.wait_event(done)
            for tensor in views.on_device():
                tensor.record_stream(step)
            return views

        return batch, given

    waiting: PendingViews | None = None
    for batch in batches:
        coming = started(batch)
        if waiting is not None:
            yield waiting
        waiting = coming
    if waiting is not None:
        yield waiting
