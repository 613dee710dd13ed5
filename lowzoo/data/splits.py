"""From a SRC word to the splits that it holds, found and not opened yet."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lowzoo import marks
from lowzoo.data.formats import PICTURE_EXTENSIONS
from lowzoo.data.found import Found, kinds_of
from lowzoo.data.layout import Arranged, arrange
from lowzoo.data.options import SourceOptions
from lowzoo.data.reader import Opened, Part
from lowzoo.data.split_names import SPLITS, split_of_folder, split_of_shard, split_of_table, split_of_word
from lowzoo.data.stores.folder import FolderReader, Listing, list_folder
from lowzoo.data.stores.huggingface import PREFIX, dataset_splits, is_saved_dataset, open_dataset
from lowzoo.data.stores.parquet import holds_images, open_parquet
from lowzoo.data.stores.samples import SAMPLE_SPLITS, open_samples
from lowzoo.data.stores.shards import expand_shards, is_shard_list, is_shard_word, read_shard_list
from lowzoo.data.stores.stream import STREAM_PREFIX, open_stream, stream_splits
from lowzoo.data.stores.tars import open_tars
from lowzoo.errors import LowzooError

SAMPLES_NAME = "lowzoo-samples"

_Parts = tuple[dict[str, Part], Found]


def find_splits(word: str | Path | None, options: SourceOptions) -> tuple[str, dict[str, Part], Found]:
    """Find what a word means.

    Args:
        word: A folder of images, of parquet files or of tars, one such file, a pattern or a list of tars, `hf:NAME`,
            `hf-stream:NAME`, a folder that `datasets` has saved; None is the embedded sample set.
        options: How its images are found.

    Returns:
        The set's name, what opens it for each of its splits (a set that is not divided is all "train"), and what it was
        made from, as far as that shows before it is opened.

    Raises:
        LowzooError: No such path, or nothing usable in it.
    """
    if word is None:
        return SAMPLES_NAME, {split: partial(open_samples, split) for split in SAMPLE_SPLITS}, Found()
    text = str(word)
    if text.startswith(PREFIX):
        return _of_datasets(text)
    if text.startswith(STREAM_PREFIX):
        name, splits = stream_splits(text)
        return name, {split_of_word(split) or split: partial(open_stream, text, split) for split in splits}, Found()
    if "://" in text:
        raise LowzooError(f"{text} is an address, and images are read from this machine", "Fetch the files first")
    if is_shard_word(text):
        return Path(text).name, *_of_named_tars(expand_shards(str(Path(text).expanduser())))
    path = Path(word).expanduser()
    if not path.exists():
        raise LowzooError(f"{path} does not exist", "Name a folder of images, parquet, tars or hf:NAME")
    if path.is_file():
        return path.resolve().name, *_of_file(path)
    if is_saved_dataset(path):
        return _of_datasets(text)
    try:
        return path.resolve().name, *_of_folder(path)
    except OSError as error:
        raise LowzooError(f"cannot read the folder {path}: {error.strerror}", "Check its permissions") from error


def _of_datasets(word: str) -> tuple[str, dict[str, Part], Found]:
    name, splits = dataset_splits(word)
    return name, {split_of_word(split) or split: partial(open_dataset, word, split) for split in splits}, Found()


def _of_file(path: Path) -> _Parts:
    if path.suffix.lower() == ".parquet":
        part: Part = partial(open_parquet, [path])
        return {"train": part} | {split: part for split in SPLITS if split_of_table(path.stem) == split}, Found()
    if path.suffix.lower() == ".tar":
        return _of_named_tars([path])
    if is_shard_list(path):
        return _of_named_tars(read_shard_list(path))
    raise LowzooError(
        f"{path} is neither a folder nor a parquet file nor tars", "Name the folder that holds the images"
    )


def _of_named_tars(files: list[Path]) -> _Parts:
    """Tars that the user has named one by one are all "train", unless some of them say so."""
    divided, left_out = _divide(files, split_of_shard)
    parts: dict[str, Part] = {split: partial(open_tars, mine) for split, mine in divided.items()}
    del left_out  # they are part of "train" here
    return {"train": partial(open_tars, files)} | parts, Found()


def _of_folder(path: Path) -> _Parts:
    tables = _tables(path) or _tables(path / "data")
    if tables:
        return _of_tables(path, tables)
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    folders = [entry for entry in entries if entry.is_dir()]
    # An archive beside the folders that came out of it is no shard.
    tars = [] if folders else _files(path, ".tar")
    if tars:
        divided, left_out = _divide(tars, split_of_shard)
        shards: dict[str, Part] = {split: partial(open_tars, mine) for split, mine in divided.items()}
        return shards or {"train": partial(open_tars, tars)}, _noted(left_out, "tars")
    packed = {split: folder for folder in folders if (split := split_of_folder(folder.name)) and _packed(folder)}
    if packed:
        return {split: _of_packed(packed[split]) for split in SPLITS if split in packed}, Found()
    return _of_pictures(path, list_folder(path))


def _of_pictures(path: Path, listing: Listing) -> _Parts:
    if not listing.names:
        if next(path.iterdir(), None) is None:
            raise LowzooError(f"the folder {path} is empty", "Name a folder that holds images")
        tables = [file for file in _files(path, ".parquet") if not marks.is_own_table(file)]
        if tables:
            open_parquet(tables)  # says what is wrong with them
        found = Found.of(0, listing.left_out, listing.notes)
        raise LowzooError(
            f"no image file in the folder {path} ({'; '.join(found.lines())})",
            f"Give files that end in {', '.join(sorted(f'.{kind}' for kind in PICTURE_EXTENSIONS))}",
        )
    splits, notes = arrange(listing.names, path.resolve().name)
    parts: dict[str, Part] = {
        split: partial(_open_files, path, listing.names, arranged) for split, arranged in splits.items()
    }
    return parts, Found.of(len(listing.names), listing.left_out, (*listing.notes, *notes))


def _open_files(root: Path, names: Sequence[str], arranged: Arranged) -> Opened:
    reader = FolderReader.of(root, [names[i] for i in arranged.indices.tolist()])
    return Opened(reader, arranged.labels, arranged.class_names)


def _of_tables(path: Path, tables: list[Path]) -> _Parts:
    divided, left_out = _divide(tables, split_of_table)
    parts: dict[str, Part] = {split: partial(open_parquet, mine) for split, mine in divided.items()}
    noted = _noted(left_out, "parquet files")
    beside = Counter(
        kind
        for kind in kinds_of(file.name for file in path.iterdir() if file.is_file()).elements()
        if kind.removeprefix(".") in PICTURE_EXTENSIONS
    )
    if beside:
        noted = noted.with_notes(
            f"{beside.total()} pictures beside the parquet files of {path.name} are not part of the set"
        )
    return parts or {"train": partial(open_parquet, tables)}, noted


def _noted(left_out: list[Path], what: str) -> Found:
    if not left_out:
        return Found()
    return Found(notes=(f"{len(left_out)} {what} belong to no split and are left out: {left_out[0].name}, ...",))


def _packed(folder: Path) -> bool:
    return bool(_tables(folder) or _files(folder, ".tar"))


def _of_packed(folder: Path) -> Part:
    tables = _tables(folder)
    return partial(open_parquet, tables) if tables else partial(open_tars, _files(folder, ".tar"))


def _tables(folder: Path) -> list[Path]:
    """The parquet files of a folder that hold pictures; what `lowzoo embed` wrote is none."""
    files = _files(folder, ".parquet")
    return [file for file in files if not marks.is_own_table(file) and holds_images(file)]


def _files(folder: Path, suffix: str) -> list[Path]:
    return sorted(file for file in folder.glob(f"*{suffix}") if file.is_file() and not file.name.startswith("."))


def _divide(files: Sequence[Path], split_of: Callable[[str], str | None]) -> tuple[dict[str, list[Path]], list[Path]]:
    """The files of each split, and those that name none where others do."""
    splits = [split_of(file.stem) for file in files]
    divided = {
        name: [file for file, split in zip(files, splits, strict=True) if split == name]
        for name in SPLITS
        if name in splits
    }
    return divided, [file for file, split in zip(files, splits, strict=True) if divided and split is None]
