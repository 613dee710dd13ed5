"""From a SRC word to the splits that it holds, found and not opened yet."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lowzoo.data.stores.folder import open_folder
from lowzoo.data.stores.huggingface import PREFIX, dataset_splits, is_saved_dataset, open_dataset
from lowzoo.data.stores.parquet import open_parquet
from lowzoo.data.reader import Part
from lowzoo.data.stores.samples import SAMPLE_SPLITS, open_samples
from lowzoo.data.stores.shards import expand_shards, is_shard_list, is_shard_word, read_shard_list
from lowzoo.data.stores.stream import STREAM_PREFIX, open_stream, stream_splits
from lowzoo.data.stores.tars import open_tars
from lowzoo.errors import LowzooError

SAMPLES_NAME = "lowzoo-samples"
_SPELLINGS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}


def find_splits(word: str | Path | None) -> tuple[str, dict[str, Part]]:
    """Find what a word means.

    Args:
        word: A folder of images, of parquet files or of tars, one such file, a pattern or a list of tars, `hf:NAME`,
            `hf-stream:NAME`, a folder that `datasets` has saved; None is the embedded sample set.

    Returns:
        The set's name, and a function that opens it for each of its splits; a set that is not divided is all "train".

    Raises:
        LowzooError: No such path, or nothing usable in it.
    """
    if word is None:
        return SAMPLES_NAME, {split: partial(open_samples, split) for split in SAMPLE_SPLITS}
    text = str(word)
    if text.startswith(PREFIX):
        return _of_datasets(text)
    if text.startswith(STREAM_PREFIX):
        name, splits = stream_splits(text)
        return name, {_canonical(split) or split: partial(open_stream, text, split) for split in splits}
    if "://" in text:
        raise LowzooError(f"{text} is an address, and images are read from this machine", "Fetch the files first")
    if is_shard_word(text):
        return Path(text).name, _of_named_tars(expand_shards(str(Path(text).expanduser())))
    path = Path(word).expanduser()
    if not path.exists():
        raise LowzooError(f"{path} does not exist", "Name a folder of images, parquet, tars or hf:NAME")
    if path.is_file():
        return path.resolve().name, _of_file(path)
    if is_saved_dataset(path):
        return _of_datasets(text)
    try:
        return path.resolve().name, _of_folder(path)
    except OSError as error:
        raise LowzooError(f"cannot read the folder {path}: {error.strerror}", "Check its permissions") from error


def _of_datasets(word: str) -> tuple[str, dict[str, Part]]:
    name, splits = dataset_splits(word)
    return name, {_canonical(split) or split: partial(open_dataset, word, split) for split in splits}


def _of_file(path: Path) -> dict[str, Part]:
    if path.suffix.lower() == ".parquet":
        part = partial(open_parquet, [path])
        return {"train": part, **{split: part for split in _SPELLINGS if _table_split(path) == split}}
    if path.suffix.lower() == ".tar":
        return _of_named_tars([path])
    if is_shard_list(path):
        return _of_named_tars(read_shard_list(path))
    raise LowzooError(
        f"{path} is neither a folder nor a parquet file nor tars", "Name the folder that holds the images"
    )


def _of_named_tars(files: list[Path]) -> dict[str, Part]:
    """Tars that the user has named one by one are all "train", unless some of them say so."""
    divided = _divide(files, [_shard_split(file) for file in files])
    parts: dict[str, Part] = {split: partial(open_tars, mine) for split, mine in divided.items()}
    return {"train": partial(open_tars, files)} | parts


def _of_folder(path: Path) -> dict[str, Part]:
    tables = _files(path, ".parquet") or _files(path / "data", ".parquet")
    if tables:
        divided = _divide(tables, [_table_split(table) for table in tables])
        return {split: partial(open_parquet, mine) for split, mine in (divided or {"train": tables}).items()}
    folders: dict[str, Path] = {}
    for split, spellings in _SPELLINGS.items():
        found = [path / spelling for spelling in spellings if (path / spelling).is_dir()]
        if found:
            folders[split] = found[0]
    others = [entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    # An archive beside the folders that came out of it is no shard.
    tars = [] if others else _files(path, ".tar")
    if tars:
        divided = _divide(tars, [_shard_split(tar) for tar in tars])
        return {split: partial(open_tars, mine) for split, mine in (divided or {"train": tars}).items()}
    # train/ beside bus/ and car/ is a class, not a split.
    if "train" in folders and (len(folders) > 1 or len(others) == 1):
        return {split: _of_split_folder(folder) for split, folder in folders.items()}
    return {"train": partial(open_folder, path)}


def _of_split_folder(folder: Path) -> Part:
    tables, tars = _files(folder, ".parquet"), _files(folder, ".tar")
    if tables:
        return partial(open_parquet, tables)
    return partial(open_tars, tars) if tars else partial(open_folder, folder)


def _files(folder: Path, suffix: str) -> list[Path]:
    return sorted(file for file in folder.glob(f"*{suffix}") if file.is_file() and not file.name.startswith("."))


def _divide(files: Sequence[Path], splits: Sequence[str | None]) -> dict[str, list[Path]]:
    """The files of each split; those that name none belong to none."""
    divided: dict[str, list[Path]] = {}
    for name in _SPELLINGS:
        mine = [file for file, split in zip(files, splits, strict=True) if split == name]
        if mine:
            divided[name] = mine
    return divided


def _table_split(table: Path) -> str | None:
    """Parquet files begin with the split: train-00000-of-00002."""
    return _canonical(re.split(r"[-_.]", table.stem)[0].lower())


def _shard_split(shard: Path) -> str | None:
    """Tars name it anywhere: imagenet1k-train-0000."""
    return next((split for token in re.split(r"[-_.]", shard.stem.lower()) if (split := _canonical(token))), None)


def _canonical(spelling: str) -> str | None:
    return next((split for split, spellings in _SPELLINGS.items() if spelling in spellings), None)
