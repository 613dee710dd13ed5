"""Features of a frozen network for all images of a source."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import progress_bar
from lowzoo.data.source import ImageSource
from lowzoo.features import cache as feature_cache
from lowzoo.features.cache import Block
from lowzoo.features.divided import require_same_inputs, together
from lowzoo.features.folded import folded, run
from lowzoo.features.inputs import InputDataset, input_loader, normalise_batch
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.system.processes import ALONE, Processes
from lowzoo.zoo.resolve import Resolved

# A figure over a set of which more than this could not be read is a figure over another set.
MAX_UNREADABLE = 0.1

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True)
class Features:
    """Features of the images that could be read.

    Args:
        x: (N, D) float32; mapped from the cache where it comes from there.
        labels: (N,) int64; -1 where the source has none.
        kept: (N,) int64, the index of each image in the source.
        skipped: Images of the source that could not be read.
        odd: Images of each of `ODDITIES`, (K,) int64.
    """

    x: Tensor
    labels: Tensor
    kept: Tensor
    skipped: int
    odd: Mapping[str, Tensor] = field(default_factory=dict)

    def oddities(self, source: ImageSource) -> dict[str, list[str]]:
        """Name the images of the source that are odd, by what is odd about them."""
        return {oddity: [source.where(i) for i in found.tolist()] for oddity, found in self.odd.items()}

    def unreadable(self, source: ImageSource) -> list[str]:
        """Name the images of the source that could not be read."""
        missing = np.setdiff1d(np.arange(len(source)), self.kept.numpy())
        return [source.where(int(index)) for index in missing]


def extract_features(
    resolved: Resolved,
    source: ImageSource,
    *,
    batch_size: int = 64,
    workers: int = 0,
    device: str | torch.device = "cpu",
    precision: Precision = "fp32",
    progress: bool = True,
    cache: bool = True,
    spec: Preprocessing | None = None,
    among: Processes = ALONE,
) -> Features:
    """Run the network over every image, or read what an earlier run kept.

    Several processes divide the batches, and all have the features of all images in the end: the numbers of one process
    that computes with as many threads, as its batches hold the same images.

    Args:
        resolved: The network and its preprocessing; the network is moved to `device`.
        source: The images.
        batch_size: Images in a forward pass.
        workers: Processes that decode; 0 decodes in this one.
        device: What torch calls the device.
        precision: Precision of the forward pass; features are float32 either way.
        progress: Show a bar on stderr.
        cache: Read and write the cache.
        spec: Another preprocessing than the network's own.
        among: Processes that make this call together.

    Raises:
        LowzooError: More than a tenth of the images cannot be read, a feature is not a finite number, or the processes
            were given different images, weights or options.
    """
    spec = spec or Preprocessing.of(resolved)
    model = _placed(resolved, device)
    path = feature_cache.cache_path(model, spec, source.fingerprint(), device, precision) if cache else None
    require_same_inputs(among, source, model, spec, device, precision, batches=batch_size, caches=cache)
    if path:
        # The key holds features of a fixed input, which another number of threads may round otherwise.
        path = path.with_name(among.of_main(path.name))
    found = feature_cache.read(path) if path else None
    if found is None or not all(among.gather(found is not None)):
        tally = _Tally()
        place = path if path and feature_cache.is_writable(path) else None
        batches = _run(resolved, source, spec, batch_size, workers, device, precision, progress, among, tally)
        found = together(among, batches, place, lambda: _check(among.gather(tally), source))
    x, kept = found.x, found.kept
    labels = torch.full((len(kept),), -1) if source.labels is None else torch.from_numpy(source.labels)[kept]
    return Features(x, labels, kept, len(source) - len(kept), found.odd)


def _placed(resolved: Resolved, device: str | torch.device) -> nn.Module:
    return resolved.model.to(device).eval()


@dataclass
class _Tally:
    """Images that could not be read, and what was wrong with the first."""

    count: int = 0
    first: str = ""


def _check(tallies: list[_Tally], source: ImageSource) -> None:
    """Refuse a set of which too much could not be read, by any process."""
    unreadable = sum(tally.count for tally in tallies)
    if unreadable > int(MAX_UNREADABLE * len(source)):
        first = next(tally.first for tally in tallies if tally.count)
        raise LowzooError(
            f"{unreadable} of {len(source)} images of {source.name} cannot be read, the first: {first}",
            "Replace or remove them",
        )


def _run(
    resolved: Resolved,
    source: ImageSource,
    spec: Preprocessing,
    batch_size: int,
    workers: int,
    device: str | torch.device,
    precision: Precision,
    progress: bool,
    among: Processes,
    tally: _Tally,
) -> Iterator[Block]:
    """Yield features (B, D) float32 on the CPU, the indices (B,) of their images, in order, and odd images.

    Of this process's batches; those of all together are the batches of one process.
    """
    indices = range(len(source))
    batches = [indices[i : i + batch_size] for i in range(0, len(source), batch_size)]
    mine = among.part(len(batches))
    batches = batches[mine.start : mine.stop]
    loader = input_loader(InputDataset(source, spec), batches, workers=workers, device=device)
    model = folded(resolved.model, spec.input_size, device)
    bar = progress_bar(f"features of {source.name}", sum(map(len, batches)), wanted=progress)
    with torch.inference_mode(), bar as advance:
        for batch in loader:
            tally.count += len(batch.errors)
            tally.first = tally.first or next(iter(batch.errors), "")
            if len(batch.kept):
                with autocast(device, precision):
                    # The one thing of a batch for which the host waits.
                    x = run(model, normalise_batch(batch.pixels, spec, device)).float().cpu()
                if not torch.isfinite(x).all():
                    raise LowzooError(
                        f"{resolved.name} gives features that are no finite numbers", "Train it again; it has diverged"
                    )
                yield x, batch.kept, batch.odd
            advance(len(batch.kept) + len(batch.errors))


def autocast(device: str | torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """Make the context of a forward pass."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16")
