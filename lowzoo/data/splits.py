"""From a SRC word to the splits that it holds, found and not opened yet."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.data.labels.members import Members, named_by_user, parts_of, the_only_part
from lowzoo.data.labels.rows import LIST_SUFFIXES, TABLE_SUFFIXES
from lowzoo.data.labels.split_names import SPLITS, split_of_folder, split_of_shard, split_of_table, split_of_word
from lowzoo.data.pixels.formats import HEAD_BYTES, PICTURE_EXTENSIONS, extension, starts_like_picture
from lowzoo.data.reading.found import Found, kinds_of, some_of
from lowzoo.data.reading.kinds import HIDDEN_FOLDERS
from lowzoo.data.reading.options import SourceOptions
from lowzoo.data.reading.reader import Opened, Part, Reader
from lowzoo.data.remote import FILE_PREFIX, fetch, is_address, path_of
from lowzoo.data.schemes import Splits, scheme_of
from lowzoo.data.stores.folder import FolderReader, Listing, head_of, list_folder
from lowzoo.data.stores.huggingface import dataset_splits, is_saved_dataset, open_dataset
from lowzoo.data.stores.lists import list_members
from lowzoo.data.stores.parquet import holds_images, is_readable, open_parquet
from lowzoo.data.stores.samples import SAMPLE_SPLITS, open_samples
from lowzoo.data.stores.shards import expand_shards, is_shard_list, is_shard_pattern, is_tar, read_shard_list
from lowzoo.data.stores.stream import open_stream, stream_splits
from lowzoo.data.stores.tars import open_tars, tar_members
from lowzoo.data.stores.zips import SUFFIX as ZIP_SUFFIX
from lowzoo.data.stores.zips import zip_members
from lowzoo.io import marks

SAMPLES_NAME = "lowzoo-samples"
_PACKED_KINDS = (".parquet", ".tar", ".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".tbz2", ".txz")

_Parts = tuple[dict[str, Part], Found]


def find_splits(source_spec: str | Path | None, options: SourceOptions) -> Splits:
    """Find what a word means.

    Args:
        source_spec: A folder of images, of parquet files or of tars, one such file, a zip archive, a list of images or
            of tars, one picture, a pattern of tars, `hf:NAME`, `hf-stream:NAME`, a folder that `datasets` has saved, or
            an address of any of these files, or a word of a scheme that another package declares; None is the embedded
            sample set.
        options: How its images are found.

    Returns:
        The set's name, what opens it for each of its splits (a set that is not divided is all "train"), and what it was
        made from, as far as that shows before it is opened.

    Raises:
        LowzooError: No such path, or nothing usable in it, or an option that it has no use for.
    """
    if source_spec is None:
        _refuse_options("the embedded sample set", options, "image_column", "label_column", "labels")
        return SAMPLES_NAME, {split: partial(open_samples, split) for split in SAMPLE_SPLITS}, Found()
    text = str(source_spec)
    if not text.strip():
        raise LowzooError("the source of images is empty", "Name a folder or file, or leave it out")
    if (scheme := scheme_of(text)) is not None:
        return scheme.splits(text, options)
    if text.startswith(FILE_PREFIX):
        return find_splits(path_of(text), options)
    if is_address(text):
        return _of_address(text, options)
    if is_shard_pattern(text):
        files = expand_shards(str(Path(text).expanduser()))
        return Path(text).name, *_of_named_tars(files, Path(text).name, options)
    path = Path(source_spec).expanduser()
    try:
        if not path.exists():
            raise LowzooError(
                f"{path} does not exist", "Name a folder of images, an archive, a list, parquet, tars or hf:NAME"
            )
        name = path.resolve().name or str(path)
        if path.is_dir():
            if is_saved_dataset(path):
                return of_datasets(text, options)
            return name, *_of_folder(path, options)
        return name, *_of_file(path, options)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LowzooError(f"cannot read {path}: {reason}", "Check its name and its permissions") from error


def _refuse_options(what: str, options: SourceOptions, *names: str) -> None:
    """An option without an effect would let the user believe in it."""
    for name in names:
        if getattr(options, name) is not None:
            option = "--" + name.replace("_", "-")
            raise LowzooError(f"{what} has no use for {option}", f"Leave out {option}")


def of_datasets(source_spec: str, options: SourceOptions) -> Splits:
    """Find the splits of a set of the Hub, `hf:ORG/NAME`, or of one that `datasets` has saved."""
    _refuse_options(source_spec, options, "labels")
    name, splits = dataset_splits(source_spec)
    return name, _parts_by_word(splits, lambda split: partial(open_dataset, source_spec, split, options)), Found()


def of_stream(source_spec: str, options: SourceOptions) -> Splits:
    """Find the splits of a set of the Hub that is read while it arrives, `hf-stream:ORG/NAME`."""
    _refuse_options(source_spec, options, "label_column", "labels")
    name, splits = stream_splits(source_spec)
    return name, _parts_by_word(splits, lambda split: partial(open_stream, source_spec, split, options)), Found()


def _parts_by_word(splits: Sequence[str], part_of: Callable[[str], Part]) -> dict[str, Part]:
    """The splits of a library by our names for them, and by its own where two of them mean the same."""
    ours = [split_of_word(split) or split for split in splits]
    return {mine if ours.count(mine) == 1 else split: part_of(split) for split, mine in zip(splits, ours, strict=True)}


def _of_address(source_spec: str, options: SourceOptions) -> Splits:
    fetched = fetch(source_spec)
    name, parts, found = find_splits(fetched.path, options)
    noted = found.with_notes(*fetched.notes)
    if fetched.left_out and noted.files:
        left_out = Counter(dict(noted.left_out)) + Counter(fetched.left_out)
        noted = Found.of(noted.pictures, left_out, noted.notes)
    elif fetched.left_out:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in fetched.left_out.items())
        noted = noted.with_notes(f"not fetched: {kinds}")
    return name, parts, noted


def _of_file(path: Path, options: SourceOptions) -> _Parts:
    name, kind = path.name.lower(), _kind_of_file(path)
    if kind == "parquet":
        _refuse_options(str(path), options, "labels")
        part: Part = partial(open_parquet, [path], options)
        return {"train": part} | {split: part for split in SPLITS if split_of_table(path.stem) == split}, Found()
    if name.endswith(TABLE_SUFFIXES + LIST_SUFFIXES):
        if is_shard_list(path):
            return _of_named_tars(read_shard_list(path), str(path), options)
        members = list_members(path, options)
        parts, found = parts_of(members, str(path), root=path.parent, labels=options.labels)
        return named_by_user(parts), found
    _refuse_options(str(path), options, "image_column", "label_column")
    if kind == "tar":
        return _of_named_tars([path], str(path), options)
    if kind == "zip":
        parts, found = parts_of(zip_members(path), str(path), root=path.with_suffix(""), labels=options.labels)
        return _by_name(named_by_user(parts), split_of_shard(path.stem)), found
    if kind == "picture":
        members = Members([path.name], lambda _: FolderReader.of(path.parent, [path.name]))
        return parts_of(members, str(path), root=path.parent, labels=options.labels)
    if not path.is_file():
        raise LowzooError(f"{path} is a pipe, a socket or a device", "Name a file or a folder")
    raise LowzooError(
        f"{path} is neither a folder nor a parquet file nor an archive, a list or a picture",
        "Name the folder that holds the images",
    )


def _kind_of_file(path: Path) -> str:
    """What a file is by its name, or by its first bytes where the name says nothing."""
    name = path.name.lower()
    if not path.is_file():
        return ""
    if is_tar(name):
        return "tar"
    for suffix in (".parquet", ".zip"):
        if name.endswith(suffix):
            return suffix[1:]
    if extension(name) and extension(name) not in PICTURE_EXTENSIONS:
        return ""
    if extension(name) or starts_like_picture(head_of(str(path))(HEAD_BYTES)):
        return "picture"
    beginnings = {b"PAR1": "parquet", b"PK\3\4": "zip"}
    with path.open("rb") as file:
        head = file.read(512)
    return beginnings.get(head[:4], "tar" if head[257:262] == b"ustar" else "")


def _by_name(parts: dict[str, Part], split: str | None) -> dict[str, Part]:
    """A set that is not divided and whose file's name is that of a split can be asked for by that, too."""
    return parts | {split: parts["train"]} if split and set(parts) == {"train"} else parts


def _of_named_tars(files: list[Path], what: str, options: SourceOptions) -> _Parts:
    """Tars that the user has named one by one are all "train", unless some of them, or folders in them, say so."""
    _refuse_options(what, options, "image_column", "label_column")
    divided, _ = _divide(files, split_of_shard)
    if len(divided) > 1 and options.labels is None:
        parts: dict[str, Part] = {split: partial(open_tars, mine, what) for split, mine in divided.items()}
        return {"train": partial(open_tars, files, what)} | parts, Found()
    parts, found = parts_of(tar_members(files), what, root=files[0].parent, labels=options.labels)
    return _by_name(named_by_user(parts), next(iter(divided), None)), found


def _of_folder(path: Path, options: SourceOptions) -> _Parts:
    tables, unreadable = _tables(path, options)
    if not tables:
        tables, more = _tables(path / "data", options)
        unreadable = more if tables else unreadable
    if tables:
        if unreadable:
            raise LowzooError(f"cannot read {unreadable[0]} as parquet", "Name a complete parquet file, or remove it")
        _refuse_options(str(path), options, "labels")
        return _of_tables(path, tables, options)
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(HIDDEN_FOLDERS)]
    folders = [entry for entry in entries if entry.is_dir()]
    # An archive beside the folders that came out of it is no shard.
    tars = [] if folders else _tars(path)
    if tars:
        return _of_folder_of_tars(path, tars, options)
    packed = {
        split: folder for folder in folders if (split := split_of_folder(folder.name)) and _packed(folder, options)
    }
    if packed:
        return _of_packed(path, folders, options)
    listing = list_folder(path)
    listing.notes += [f"{file.name} cannot be read as parquet" for file in unreadable]
    if not listing.names and (texts := [file for file in _files(path, ".parquet") if not marks.is_own_table(file)]):
        return _of_tables(path, texts, options)
    _refuse_options(str(path), options, "image_column", "label_column")
    return _of_pictures(path, listing, options)


def _of_folder_of_tars(path: Path, tars: list[Path], options: SourceOptions) -> _Parts:
    _refuse_options(str(path), options, "image_column", "label_column")
    divided, left_out = _divide(tars, split_of_shard)
    noted = _beside(path, "tars", _noted(left_out, "tars"), tars)
    if divided and options.labels is None:
        return {split: partial(open_tars, mine, f"{path}/{split}") for split, mine in divided.items()}, noted
    members = tar_members([tar for tar in tars if tar not in left_out])
    parts, found = parts_of(members, str(path), root=path, labels=options.labels)
    return parts, found.with_notes(*noted.notes)


def _of_packed(path: Path, folders: list[Path], options: SourceOptions) -> _Parts:
    """A folder of split folders, some of which hold parquet files or tars."""
    parts: dict[str, Part] = {}
    notes: list[str] = []
    for folder in sorted(folders):
        split = split_of_folder(folder.name)
        if split is None:
            notes.append(f"the folder {folder.name} of {path} belongs to no split")
        elif split in parts:
            raise LowzooError(f"two folders of {path} mean the split {split}", "Rename one of them")
        else:
            inside, found = _of_folder(folder, options)
            notes += [f"{folder.name}: {note}" for note in found.notes]
            part = the_only_part(inside, str(folder))
            parts[split] = partial(_with_found, part, found)
    loose = kinds_of(entry.name for entry in path.iterdir() if entry.is_file() and entry.name[0] != ".")
    if loose:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in loose.items())
        notes.append(f"files beside the split folders of {path.name} were left out: {kinds}")
    return {split: parts[split] for split in SPLITS if split in parts}, Found(notes=tuple(notes))


def _with_found(part: Part, found: Found) -> Opened:
    opened = part()
    return opened if not found.files else replace(opened, found=replace(found, notes=()))


def _of_pictures(path: Path, listing: Listing, options: SourceOptions) -> _Parts:
    if not listing.names:
        if next(path.iterdir(), None) is None:
            raise LowzooError(f"the folder {path} is empty", "Name a folder that holds images")
        found = Found.of(0, listing.left_out, listing.notes)
        archives = [file.name for file in sorted(path.iterdir()) if is_archive(file.name) and file.is_file()]
        raise LowzooError(
            f"no image file in the folder {path} ({'; '.join(found.lines())})",
            f"Name the archive itself: {path / archives[0]}"
            if archives
            else f"Give files that end in {', '.join(sorted(f'.{kind}' for kind in PICTURE_EXTENSIONS))}",
        )
    names = listing.names

    def pick(indices: NDArray[np.int64] | None) -> Reader:
        return FolderReader.of(path, names if indices is None else [names[i] for i in indices.tolist()])

    members = Members(names, pick, left_out=listing.left_out, notes=listing.notes)
    return parts_of(members, path.resolve().name, root=path, labels=options.labels)


def is_archive(name: str) -> bool:
    """Tell whether a file has the name of an archive that can hold a set of images."""
    return is_tar(name) or name.lower().endswith(ZIP_SUFFIX)


def _tars(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if is_tar(file.name) and file.is_file() and file.name[0] != ".")


def _of_tables(path: Path, tables: list[Path], options: SourceOptions) -> _Parts:
    divided, left_out = _divide(tables, split_of_table)
    parts: dict[str, Part] = {split: partial(open_parquet, mine, options) for split, mine in divided.items()}
    noted = _beside(path, "parquet files", _noted(left_out, "parquet files"), _files(tables[0].parent, ".parquet"))
    others = [file.name for file in _files(path, ".parquet") if file not in tables]
    if others and tables[0].parent == path:
        noted = noted.with_notes(f"{len(others)} parquet files of {path.name} hold no images: {some_of(others)}")
    return parts or {"train": partial(open_parquet, tables, options)}, noted


def _beside(path: Path, what: str, noted: Found, used: Sequence[Path]) -> Found:
    """Say that pictures and archives beside the files that hold the set are none of it."""
    listing = list_folder(path)
    others = Counter(listing.left_out) - kinds_of(file.name for file in used)
    packed = [f"{count:,} {kind}" for kind, count in others.items() if kind in _PACKED_KINDS]
    if packed:
        noted = noted.with_notes(f"left out, as the {what} of {path.name} hold the set: {', '.join(packed)}")
    beside = len(listing.names)
    if not beside:
        return noted
    return noted.with_notes(
        f"{beside} pictures beside the {what} of {path.name} are part of the set only where a row names them"
        if what == "parquet files"
        else f"{beside} pictures beside the {what} of {path.name} are not part of the set"
    )


def _noted(left_out: list[Path], what: str) -> Found:
    if not left_out:
        return Found()
    return Found(notes=(f"{len(left_out)} {what} belong to no split and are left out: {left_out[0].name}, ...",))


def _packed(folder: Path, options: SourceOptions) -> bool:
    return bool(_tables(folder, options)[0] or _files(folder, ".tar"))


def _tables(folder: Path, options: SourceOptions) -> tuple[list[Path], list[Path]]:
    """The parquet files of a folder that hold pictures, and those that are none; what lowzoo wrote does not count."""
    files = [file for file in _files(folder, ".parquet") if not marks.is_own_table(file)]
    unreadable = [file for file in files if not is_readable(file)]
    tables = [file for file in files if file not in unreadable and holds_images(file, options.image_column)]
    return tables, unreadable


def _files(folder: Path, suffix: str) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        file
        for file in folder.iterdir()
        if file.name.lower().endswith(suffix) and file.is_file() and not file.name.startswith(".")
    )


def _divide(files: Sequence[Path], split_of: Callable[[str], str | None]) -> tuple[dict[str, list[Path]], list[Path]]:
    """The files of each split, and those that name none where others do."""
    splits = [split_of(file.stem) for file in files]
    divided = {
        name: [file for file, split in zip(files, splits, strict=True) if split == name]
        for name in SPLITS
        if name in splits
    }
    return divided, [file for file, split in zip(files, splits, strict=True) if divided and split is None]
