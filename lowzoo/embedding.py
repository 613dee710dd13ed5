"""`lowzoo.embed`: a model's features of images, as vectors, as a table and as a picture of what it finds alike."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

from lowzoo.base.options import Divide, Model, Option, Picture, Progress, Reading, Side, Workers
from lowzoo.embedding_shards import EmbeddedShards, embed_shards, is_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lowzoo.data.source import ImageSource
    from lowzoo.evaluate.result import DataFacts
    from lowzoo.features.features import Features
    from lowzoo.zoo.resolve import Resolved


@dataclass(frozen=True)
class Embeddings:
    """Features of the images that could be read.

    Args:
        model: The network.
        images: The images.
        features: Theirs, with the numbers of the images that could be read.
        data: What was read, and what could not be.
        out: The table that was written.
        sheet: The picture that was written.
    """

    model: "Resolved"
    images: "ImageSource"
    features: "Features"
    data: "DataFacts"
    out: Path | None = None
    sheet: Path | None = None

    @property
    def vectors(self) -> "NDArray[np.float32]":
        """(N, D), a row for each image that could be read."""
        return self.features.x.numpy()

    @property
    def paths(self) -> list[str]:
        """(N,) where each of these images lies."""
        return [self.images.where(index) for index in self.features.kept.tolist()]

    @property
    def labels(self) -> list[str | int | None]:
        """(N,) class of each of these images by its name, or its number where classes have none; None without one."""
        names = self.images.class_names
        numbers = self.features.labels.tolist()
        return [None if number < 0 else names[number] if names else number for number in numbers]

    def __len__(self) -> int:
        return len(self.features.x)

    def draw_neighbours(self, path: str | Path, *, rows: int = 12, columns: int = 8) -> None:
        """Draw some images and their nearest neighbours, as a PNG.

        Args:
            path: The file.
            rows: Images whose neighbours are shown.
            columns: Neighbours of each.

        Raises:
            LowzooError: The place cannot be written to.
        """
        from lowzoo.evaluate.contact_sheet import draw_neighbours

        title = f"{self.model.name}: images of {self.images.name} and their nearest neighbours (cosine similarity)"
        pair = (self.images, self.features)
        draw_neighbours(*pair, *pair, Path(path), title=title, columns=columns, most_rows=rows)

    def as_dict(self) -> dict[str, Any]:
        """What was read and written, without the vectors."""
        return {
            "images": len(self),
            "skipped": self.features.skipped,
            "dimensions": self.features.x.shape[1],
            **({"compatible": self.model.compatible.as_dict()} if self.model.compatible else {}),
            "data": self.data.model_dump(),
            "out": None if self.out is None else str(self.out),
            "sheet": None if self.sheet is None else str(self.sheet),
        }

    def to_json(self) -> str:
        """`as_dict` as a document."""
        return json.dumps(self.as_dict(), indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        from lowzoo.evaluate.evaluation import data_line
        from lowzoo.preprocess.input_facts import size_text

        yield f"Model: {self.model.name} ({self.model.revision}) at {size_text(self.model.input_size[1:])} px"
        yield f"Embedded: {data_line(self.data)} in {self.features.x.shape[1]} dimensions"
        if self.model.compatible is not None:
            yield f"Unit vectors in the space of {self.model.compatible}, to be compared by cosine"
        for path in (self.out, self.sheet):
            if path is not None:
                yield f"Written to {path}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return f"Embeddings({len(self)} x {self.features.x.shape[1]}, {self.model.name}, {self.images.name})"

    def _repr_html_(self) -> str:
        from lowzoo.base import html

        shown = html.block(self.lines())
        return shown + html.picture(self.draw_neighbours, "images and their nearest neighbours") if len(self) else shown


def embed(
    images: Annotated["str | Path | Sequence[Any] | ImageSource | None", Option(metavar="[SRC]")] = None,
    *,
    model: Model = "rob_vit_tiny",
    out: Annotated[
        str | Path | None,
        Option(metavar="FILE.parquet|DIR/", read="lowzoo.cli.options.places:file_or_folder_to_write"),
    ] = None,
    sheet: Picture = None,
    rows: Annotated[int, Option(minimum=1, maximum=100)] = 12,
    columns: Annotated[int, Option(minimum=1, maximum=50)] = 8,
    split: str = "train",
    head: Annotated[Literal["compatible"] | None, Option(metavar="compatible")] = None,
    image_size: Side = None,
    device: str = "auto",
    workers: Workers = 0,
    bf16: bool = False,
    engine: Literal["processes", "ray"] = "processes",
    address: str | None = None,
    shard: Annotated[int, Option(minimum=1)] = 8192,
    progress: Progress = None,
    divide: Divide = False,
    **reading: Unpack[Reading],
) -> "Embeddings | EmbeddedShards":
    """Write MODEL's features of images for search and clustering, and draw which images it finds alike.

    Args:
        images: Folder of images, parquet or tars; the embedded sample set if absent. In Python also a list of PIL
            images, arrays (H, W, 3) of uint8 or tensors (3, H, W) of uint8 or of floats in 0 to 1.
        model: Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a
            checkpoint. In Python also what `lowzoo.load` gave, or a network.
        out: Table of path, vector and, if there are any, label. A folder (DIR/) takes parquet shards as they are made,
            by any number of processes, torchrun's or others; a second call goes on with those that are missing.
        sheet: Picture of some images and their nearest neighbours.
        rows: Images on the sheet whose neighbours are shown.
        columns: Neighbours of each on the sheet.
        split: Which part of SRC.
        head: compatible: unit vectors in the space of the model that a run was trained to be --compatible-with, instead
            of features.
        image_size: Side of the network's input, or height x width, such as 128x256; the model's own if absent.
        device: cpu, cuda, cuda:1, mps or auto; with --engine ray auto takes the cluster's GPUs, if it has any.
        workers: Processes that decode; 0 decodes in this one.
        bf16: Run the network in bfloat16.
        engine: Who makes the shards of a folder: processes, this one and those that torchrun started beside it, or ray,
            a cluster's actors, each with the model (`pip install 'lowzoo[ray]'`).
        address: Address of a running Ray cluster; a local one is started if absent.
        shard: Images in a shard of a folder.
        progress: Takes each line of what is being done, such as `print`; None is silent.
        divide: In Python: divide the images of one table among the processes that torchrun started, or that this
            program's process group has; all of them have to make this call then. Commands always do.
        **reading: How images are found and read, see `lowzoo.base.options.Reading`.

    Returns:
        The vectors, and what was read and written; of a folder of shards what is there now.

    Raises:
        LowzooError: Unknown model or images, or a place that cannot be written to.
    """
    from lowzoo.base.errors import LowzooError
    from lowzoo.base.progress import told
    from lowzoo.data.reading.options import source_options
    from lowzoo.data.source import open_source
    from lowzoo.evaluate.embeddings import require_pyarrow, write_embeddings
    from lowzoo.evaluate.evaluation import found_lines
    from lowzoo.evaluate.result import DataFacts
    from lowzoo.evaluate.run import begin, extraction
    from lowzoo.system.device import pick_device
    from lowzoo.system.processes import started_first
    from lowzoo.zoo.compatible import headed
    from lowzoo.zoo.given import resolved_model

    if out is not None and is_folder(out):
        if sheet is not None:
            raise LowzooError(
                "a picture needs all vectors at once, and a folder of shards never holds them",
                "Leave out --sheet, or name a file that ends in .parquet",
            )
        how = {
            "device": device,
            "workers": workers,
            "bf16": bf16,
            "image_size": image_size,
            "rows": shard,
            "head": head,
        }
        return _into_folder(images, model, Path(out), split, how, engine, address, progress, reading)
    if engine != "processes" or address is not None:
        raise LowzooError("an engine makes the shards of a folder", "Name one with --out DIR/")
    table, drawing = (None if path is None else Path(path) for path in (out, sheet))
    if table is not None and table.suffix.lower() != ".parquet":
        raise LowzooError(f"{table} is no parquet file", "Name one that ends in .parquet")
    with told(progress) as say:
        run = begin(images, say, divide=divide, out=table, confusion=drawing)
        if table is not None:
            require_pyarrow()
        source = open_source(images, split, source_options(reading))
        if images is not None:
            for line in found_lines(source):
                run.say(line)
        place = pick_device(device)
        resolved = headed(resolved_model(model, image_size=image_size), head)
        (features,) = extraction(place, workers, bf16, divide).run(resolved, (source,))
        first = not divide or started_first()
        if table is not None and first:
            write_embeddings(table, source, features, resolved)
        facts = DataFacts.of_features(source, features)
        found = Embeddings(resolved, source, features, facts, table, drawing)
        if drawing is not None and first:
            found.draw_neighbours(drawing, rows=rows, columns=columns)
    return found


def _into_folder(
    images: Any,
    model: Any,
    folder: Path,
    split: str,
    how: dict[str, Any],
    engine: str,
    address: str | None,
    progress: Any,
    reading: Any,
) -> EmbeddedShards:
    """Write the shards of a folder that are missing."""
    import torch

    from lowzoo.base.progress import told
    from lowzoo.data.reading.options import source_options
    from lowzoo.data.source import open_source
    from lowzoo.evaluate.evaluation import found_lines
    from lowzoo.evaluate.run import begin
    from lowzoo.features.extraction import Extraction
    from lowzoo.system.device import pick_device
    from lowzoo.zoo.compatible import headed
    from lowzoo.zoo.given import resolved_model

    number, local = (int(os.environ.get(name, "0")) for name in ("RANK", "LOCAL_RANK"))
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    with told(progress) as say:
        run = begin(images, say, divide=True)
        source = open_source(images, split, source_options(reading))
        if images is not None:
            for line in found_lines(source):
                run.say(line)
        # The GPUs of a cluster need not be on the machine that asks, so `embed_by_ray` chooses among its own.
        asked = how["device"]
        elsewhere = engine == "ray" and (asked == "auto" or asked.startswith("cuda"))
        place = torch.device("cpu") if elsewhere else pick_device(asked)
        if place.type == "cuda" and place.index is None and engine != "ray":
            place = torch.device("cuda", local)
        resolved = headed(resolved_model(model, image_size=how["image_size"]), how["head"])
        # A lock on each shard divides the work, so these processes are not joined.
        extract = Extraction(device=place, workers=how["workers"], precision="bf16" if how["bf16"] else "fp32")
        if engine == "ray":
            from lowzoo.embedding_ray import embed_by_ray

            return embed_by_ray(resolved, model, images, split, reading, source, folder, extract, how, address, say)
        shards = -(-len(source) // how["rows"])
        first = shards * number // processes
        return embed_shards(resolved, source, folder, extract, rows=how["rows"], first=first, say=say)
