"""Embedding by a Ray cluster: its actors hold the model and write shards; Ray tries again what failed with a node.

What an actor does is `lowzoo.embedding_shards.write_shard`, so the folder is the same as that of processes, and a call
of either goes on with what the other has left. The folder and the images have to be reachable from every node.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowzoo.base.errors import LowzooError
from lowzoo.embedding_shards import EmbeddedShards, begin, is_whole, summary, write_shard

if TYPE_CHECKING:
    from lowzoo.data.source import ImageSource
    from lowzoo.features.extraction import Extraction
    from lowzoo.zoo.resolve import Resolved

_RETRIES = 3


class _Worker:
    """Opens the images and the network once, in the actor that holds it."""

    def __init__(self, words: Mapping[str, Any]) -> None:
        from lowzoo.data.reading.options import source_options
        from lowzoo.data.source import open_source
        from lowzoo.zoo.compatible import headed
        from lowzoo.zoo.given import resolved_model

        self._words = words
        self._source = open_source(words["images"], words["split"], source_options(words["reading"]))
        self._resolved = headed(resolved_model(words["model"], image_size=words["image_size"]), words["head"])

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Write the shards of these numbers; gives what was written."""
        words = self._words
        folder, how, rows = Path(words["folder"]), words["how"], words["rows"]
        written = [write_shard(self._resolved, self._source, folder, how, int(n), rows) for n in batch["id"]]
        return {"id": batch["id"], "written": written}


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
        how: How features are computed.
        words: `rows` in a shard, `image_size` and `head`.
        address: A cluster's address; None starts one here.
        say: Takes lines.

    Raises:
        LowzooError: Ray is missing, a cluster does not answer, or images that only this process holds.
    """
    try:
        import ray
    except ImportError as error:
        raise LowzooError("engine ray needs Ray", "Run: pip install 'lowzoo[ray]'") from error
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
        gpus = 1 if str(how.device).startswith("cuda") else 0
        nodes = ray.cluster_resources()
        actors = max(1, min(len(missing), int(nodes.get("GPU", 0) if gpus else nodes.get("CPU", 1))))
        say(f"Ray: {len(missing)} of {count} shards by {actors} actors")
        place = None if images is None else str(Path(images).absolute()) if Path(str(images)).exists() else str(images)
        given = {
            "images": place,
            "split": split,
            "reading": dict(reading),
            "model": model,
            "image_size": words["image_size"],
            "head": words["head"],
            "folder": str(folder.absolute()),
            "how": how,
            "rows": words["rows"],
        }
        tasks = ray.data.from_items([{"id": number} for number in missing], override_num_blocks=len(missing))
        done = tasks.map_batches(
            _Worker,
            fn_constructor_args=(given,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_gpus=gpus,
            max_restarts=_RETRIES,
            max_task_retries=_RETRIES,
        )
        written = sum(bool(row["written"]) for row in done.iter_rows())
    finally:
        if started:
            ray.shutdown()
    return summary(folder, count, written)
