"""Features of a frozen network for all images of a source."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lowzoo.data.decode import BadImage, decode_rgb
from lowzoo.data.progress import progress_bar
from lowzoo.data.source import ImageSource
from lowzoo.errors import LowzooError
from lowzoo.evaluate import cache as feature_cache
from lowzoo.evaluate.preprocess import Preprocessing, preprocess
from lowzoo.resolve import Resolved

# A figure over a set of which more than this could not be read is a figure over another set.
MAX_UNREADABLE = 0.1


@dataclass(frozen=True, slots=True)
class Features:
    """Features of the images that could be read.

    Args:
        x: (N, D) float32.
        labels: (N,) int64; -1 where the source has none.
        kept: (N,) int64, the index of each image in the source.
        skipped: Images of the source that could not be read.
    """

    x: Tensor
    labels: Tensor
    kept: Tensor
    skipped: int


class _Inputs(Dataset["Tensor | str"]):
    """Network inputs (3, H, W); a broken image gives its message instead."""

    def __init__(self, source: ImageSource, spec: Preprocessing) -> None:
        self.source, self.spec = source, spec

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Tensor | str:
        try:
            return preprocess(decode_rgb(self.source.encoded(index), self.source.where(index)), self.spec)
        except BadImage as error:
            return error.message


def extract_features(
    resolved: Resolved,
    source: ImageSource,
    *,
    batch_size: int = 64,
    workers: int = 0,
    device: str | torch.device = "cpu",
    progress: bool = True,
    cache: bool = True,
) -> Features:
    """Run the network over every image, or read what an earlier run kept.

    Args:
        resolved: The network and its preprocessing; the network is moved to `device`.
        source: The images.
        batch_size: Images in a forward pass.
        workers: Processes that decode; 0 decodes in this one.
        device: What torch calls the device.
        progress: Show a bar on stderr.
        cache: Read and write the cache.

    Raises:
        LowzooError: More than a tenth of the images cannot be read, or a feature is not a finite number.
    """
    spec = Preprocessing.of(resolved)
    model = resolved.model.to(device).eval()
    path = feature_cache.cache_path(model, spec, source.fingerprint(), device) if cache else None
    found = feature_cache.read(path) if path else None
    if found is None:
        x, kept, first_error = _run(resolved, source, spec, batch_size, workers, device, progress)
        _check(x, len(source), resolved.name, source.name, first_error)
        if path:
            feature_cache.write(path, x, kept)
    else:
        x, kept = found
    labels = torch.full((len(kept),), -1) if source.labels is None else torch.from_numpy(source.labels)[kept]
    return Features(x, labels, kept, len(source) - len(kept))


def _run(
    resolved: Resolved,
    source: ImageSource,
    spec: Preprocessing,
    batch_size: int,
    workers: int,
    device: str | torch.device,
    progress: bool,
) -> tuple[Tensor, Tensor, str]:
    loader = DataLoader(
        _Inputs(source, spec),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
        pin_memory=torch.device(device).type == "cuda",
        worker_init_fn=_one_thread,
    )
    outputs: list[Tensor] = []
    kept: list[int] = []
    first_error, start = "", 0
    bar = progress_bar(f"features of {source.name}", len(source), wanted=progress)
    with torch.inference_mode(), bar as advance:
        for items in loader:
            readable = [i for i, item in enumerate(items) if not isinstance(item, str)]
            first_error = first_error or next((item for item in items if isinstance(item, str)), "")
            if readable:
                batch = torch.stack([items[i] for i in readable]).to(device, non_blocking=True)
                outputs.append(resolved.model(batch).float().cpu())
            kept.extend(start + i for i in readable)
            start += len(items)
            advance(len(items))
    return torch.cat(outputs) if outputs else torch.empty(0, 0), torch.tensor(kept, dtype=torch.int64), first_error


def _check(x: Tensor, images: int, model: str, data: str, first_error: str) -> None:
    skipped = images - len(x)
    if skipped > MAX_UNREADABLE * images:
        raise LowzooError(
            f"{skipped} of {images} images of {data} cannot be read, the first: {first_error}",
            "Replace or remove them",
        )
    if not torch.isfinite(x).all():
        raise LowzooError(f"{model} gives features that are no finite numbers", "Train it again; it has diverged")


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
