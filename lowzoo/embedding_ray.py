"""Embedding by a Ray cluster: its actors hold the model and write shards; Ray tries again what failed with a node.

What an actor does is `lowzoo.embedding_shards.write_shard`, so the folder is the same as that of processes, and a call
of either goes on with what the other has left. The folder and the images have to be reachable from every node, by the
same paths.
"""

import contextlib
import importlib.metadata
import inspect
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.printable import harmless, printable
from lowzoo.embedding_shards import EmbeddedShards, begin, is_whole, summary, write_shard

if TYPE_CHECKING:
    from lowzoo.data.source import ImageSource
    from lowzoo.features.extraction import Extraction
    from lowzoo.zoo.resolve import Resolved

_RETRIES = 3
# What Python writes between an error and the one that was made from it.
_CHAINED = "The above exception was the direct cause of the following exception:"
_SEE_NODES = "See what `ray status` and the nodes' logs say, and call again: shards that are there are kept"


class _Worker:
    """Opens the images and the network once, in the actor that holds it.

    An error that a user can mend is a value, as one that is raised comes back inside Ray's own, with its traces.
    """

    def __init__(self, words: Mapping[str, Any]) -> None:
        from lowzoo.data.reading.options import source_options
        from lowzoo.data.source import open_source
        from lowzoo.zoo.compatible import headed
        from lowzoo.zoo.given import resolved_model

        self._words = words
        self._error: LowzooError | None = None
        # Relative paths are those of the caller.
        with contextlib.suppress(OSError):
            os.chdir(words["cwd"])
        try:
            self._source = open_source(words["images"], words["split"], source_options(words["reading"]))
            model = resolved_model(words["model"], image_size=words["image_size"])
            self._resolved = headed(model, words["head"])
        except LowzooError as error:
            self._error = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Write the shard of a number, a batch of one; gives whether it was written, and what went wrong."""
        words = self._words
        folder, how, rows = Path(words["folder"]), words["how"], words["rows"]
        written, error = False, self._error
        if error is None:
            try:
                written = write_shard(self._resolved, self._source, folder, how, int(batch["id"][0]), rows)
            except LowzooError as failure:
                error = failure
        told = ("", "") if error is None else (error.message, error.remedy)
        return {"id": batch["id"], "written": [written], "error": [told[0]], "remedy": [told[1]]}


def embed_by_ray(
    resolved: "Resolved",
    model: Any,
    images: Any,
    split: str,
    reading: Mapping[str, Any],
    source: "ImageSource",
    folder: Path,
    how: "Extraction",
    words: Mapping[str, Any],
    address: str | None,
    say: Callable[[str], None],
) -> EmbeddedShards:
    """Write the missing shards of a folder by the actors of a cluster.

    Args:
        resolved: The network, of which the folder's first file tells.
        model: MODEL word, from which each actor loads it.
        images: SRC, which each actor opens.
        split: Which part of it.
        reading: How images are found and read.
        source: The images, opened.
        folder: Where shards go.
        how: How features are computed; where, as far as `words` leave it to the cluster.
        words: `rows` in a shard, `image_size`, `head`, and the `device` that was asked for: auto takes the cluster's
            GPUs, where it has any, and else its CPUs.
        address: A cluster's address; None starts one here.
        say: Takes lines.

    Raises:
        LowzooError: Ray is missing, a cluster does not answer, has no device of the kind that is asked for, or loses an
            actor again and again; images that only this process holds; or what `write_shard` says of a shard.
    """
    try:
        import ray
    except ImportError as error:
        raise LowzooError("engine ray needs Ray", "Run: pip install 'lowzoo[ray]'") from error
    import torch

    if images is not None and not isinstance(images, str | Path):
        raise LowzooError("a cluster cannot read images that this process holds", "Name a folder, parquet or tars")
    begin(resolved, source, folder, how, words["rows"])
    count = -(-len(source) // words["rows"])
    missing = [number for number in range(count) if not is_whole(folder, number)]
    if not missing:
        return summary(folder, count, 0)
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(address=address, include_dashboard=False, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise LowzooError(
                f"the Ray cluster at {address} does not answer ({error})", "Start it, or leave out --address"
            ) from error
    try:
        there = ray.cluster_resources()
        device = torch.device(actor_device(words["device"], there))
        gpus = 1 if device.type == "cuda" else 0
        kind = "GPU" if gpus else "CPU"
        how = replace(how, device=device)
        # An actor that no node has room for waits without end.
        room = int(there.get(kind, 0))
        if not room:
            raise LowzooError(
                f"the Ray cluster has no {kind} for an actor",
                "Start nodes that have one" + (", or name --device cpu" if gpus else ""),
            )
        actors = min(len(missing), room)
        say(f"Ray: {len(missing)} of {count} shards by {actors} actors" + (", each with a GPU" if gpus else ""))
        free = ray.available_resources()  # without what is used up; empty before the nodes have told
        if free and free.get(kind, 0) < 1:
            say(f"Ray: waiting for a {kind}, as others use {'the only one' if room == 1 else f'all {room}'}")
        place = None if images is None else str(Path(images).absolute()) if Path(str(images)).exists() else str(images)
        given = {
            "images": place,
            "split": split,
            "reading": dict(reading),
            "model": model,
            "image_size": words["image_size"],
            "head": words["head"],
            "folder": str(folder.absolute()),
            "cwd": str(Path.cwd()),
            "how": how,
            "rows": words["rows"],
        }
        with _quiet(ray.data):
            tasks = ray.data.from_items([{"id": number} for number in missing], override_num_blocks=len(missing))
            done = tasks.map_batches(
                _Worker,
                fn_constructor_args=(given,),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=actors),
                num_cpus=None if gpus else 1,
                num_gpus=gpus or None,
                **_limits(tasks.map_batches),
            )
            written = 0
            for row in done.iter_rows():
                if row["error"]:
                    raise LowzooError(row["error"], row["remedy"])
                written += bool(row["written"])
                say(f"Shard {row['id']}: {'written' if row['written'] else 'written or held by another process'}")
    except ray.exceptions.RayError as error:
        raise LowzooError(f"the Ray cluster could not write all shards ({reason_in(error)})", _SEE_NODES) from error
    finally:
        if started:
            ray.shutdown()
    return summary(folder, count, written)


def reason_in(error: BaseException) -> str:
    """What an error of Ray says went wrong, in one line: that of the worker, without its traces.

    Ray's own text begins with the name of a task or an actor and ends with the reason. Where Ray Data puts an error of
    its own around that of a worker, only the text still holds the first of them.
    """
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException) and not type(cause).__module__.startswith("ray."):
        return harmless(printable(f"{type(cause).__name__}: {reason_of(cause)}"))
    lines = [line for line in str(error).partition(_CHAINED)[0].splitlines() if line.strip()]
    return harmless(printable(reason_of(RuntimeError(lines[-1])))) if lines else type(error).__name__


def actor_device(asked: str, there: Mapping[str, float]) -> str:
    """The device of each actor: as asked, or a GPU where that is left to a cluster that has any.

    Args:
        asked: Word for a device. Ray shows an actor one GPU, which is its first, so its number does not count.
        there: What the cluster has, by Ray's names.
    """
    if asked == "auto":
        return "cuda" if there.get("GPU", 0) >= 1 else "cpu"
    return "cuda" if asked.startswith("cuda") else asked


def _limits(map_batches: Callable[..., Any]) -> dict[str, Any]:
    """Limits, without which an actor that dies of the same thing each time is restarted for ever.

    Raises:
        LowzooError: This Ray takes none, as from 2.64 on.
    """
    if "ray_remote_args_fn" not in inspect.signature(map_batches).parameters:
        raise LowzooError(
            f"Ray {importlib.metadata.version('ray')} takes no limit on how often an actor that dies is started again",
            "Run: pip install 'lowzoo[ray]'",
        )
    return {"ray_remote_args_fn": lambda: {"max_restarts": _RETRIES, "max_task_retries": _RETRIES}}


@contextlib.contextmanager
def _quiet(data: Any) -> Iterator[None]:
    """Without Ray's own bars, plans and notes on its next versions: the lines of the caller tell what comes."""
    context, log = data.DataContext.get_current(), logging.getLogger("ray.data")
    bars, level = context.enable_progress_bars, log.level
    context.enable_progress_bars = False
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        context.enable_progress_bars = bars
        log.setLevel(level)
