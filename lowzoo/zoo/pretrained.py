"""The weights of an entry as a safetensors file: fetched from where its authors put them, converted once, and kept.

Converted files lie in `~/.cache/lowzoo/converted` (`$LOWZOO_CACHE/converted`), or in the caller's `cache_dir`. Each
says in its metadata which file it was made from, so that it is used again only for that one.
"""

from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.catalog import ModelEntry, WeightsEntry
from lowzoo.io import hub
from lowzoo.io.cache_folder import cache_folder
from lowzoo.io.download import download, has_digest
from lowzoo.io.files import atomic_path
from lowzoo.io.safetensors_file import check_safetensors, read_metadata, sha256

# Counts up when the same file gives other tensors than before.
_CONVERTER = "1"


def weights_file(entry: ModelEntry, weights: WeightsEntry, cache_dir: str | Path | None = None) -> Path:
    """The safetensors file of a set of weights, made if it is not there yet.

    Args:
        entry: The model.
        weights: One of its sets.
        cache_dir: Where the Hub's files and the converted one are kept; by default the Hub's and lowzoo's cache.

    Raises:
        LowzooError: Weights that nobody published, that cannot be fetched, or that are not what they should be.
    """
    name = f"{entry.name}.{weights.tag}"
    if weights.path is not None:
        return weights.path
    if not weights.available:
        raise _not_to_be_had(name, weights)
    if weights.origin == "hub":
        folder, _ = hub.fetch_model(weights.pinned_repo, cache_dir)
        return folder / hub.FILES[1]
    return _converted(name, weights, cache_dir)


def revision(path: Path) -> str:
    """Which weights exactly a file of `weights_file` holds: what it was converted from, or its own digest."""
    return read_metadata(path).get("revision", "") or f"sha256:{sha256(path)[:12]}"


def _not_to_be_had(name: str, weights: WeightsEntry) -> LowzooError:
    remedies = [f"make them with `{weights.train}`"] if weights.train else []
    remedy = " or ".join([*remedies, "create the model with pretrained=False"])
    reason = f": {weights.unavailable_reason}" if weights.unavailable_reason else ""
    state = "cannot be had" if weights.unavailable_reason else "are not published"
    return LowzooError(f"the weights {name} {state}{reason}", f"{remedy[:1].upper()}{remedy[1:]}")


def _converted(name: str, weights: WeightsEntry, cache_dir: str | Path | None) -> Path:
    from filelock import FileLock

    folder = Path(cache_dir) / "lowzoo-converted" if cache_dir else cache_folder("converted")
    path = folder / f"{name}.safetensors"
    expected = {"source": weights.address, "family": weights.family, "converter": _CONVERTER}
    if _is_current(path, expected):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LowzooError(
            f"cannot write to the folder {folder}: {error.strerror or error}", "Name another place with LOWZOO_CACHE"
        ) from error
    with FileLock(folder / f".{name}.lock"):
        if not _is_current(path, expected):  # another process may have been at it
            source, found = _fetch(name, weights, cache_dir)
            _convert(source, path, expected | {"revision": found}, weights.family)
    return path


def _is_current(path: Path, expected: dict[str, str]) -> bool:
    if not path.is_file():
        return False
    try:
        check_safetensors(path)
    except LowzooError:  # it can be made again
        return False
    metadata = read_metadata(path)
    return all(metadata.get(key) == value for key, value in expected.items())


def _fetch(name: str, weights: WeightsEntry, cache_dir: str | Path | None) -> tuple[Path, str]:
    """The authors' file, checked, and which one it is."""
    try:
        if weights.repo:
            folder, sha = hub.fetch_files(weights.pinned_repo, [weights.checkpoint], cache_dir)
            path = folder / weights.checkpoint
            if weights.digest and not has_digest(path, weights.digest):
                raise LowzooError(
                    f"{path} has not the published digest {weights.digest[:19]}",
                    f"Remove {path.resolve()} and fetch it again",
                )
            return path, sha
        place = f"students/{name}/{weights.checkpoint}"
        path = download(weights.url, place, size=weights.size, digest=weights.digest)
        return path, f"sha256:{sha256(path)[:12]}"
    except LowzooError as error:
        raise LowzooError(
            f"the weights {name} cannot be had: {error.message}",
            f"Run `lowzoo download {name}` where there is a network and take its cache along. Or: {error.remedy}",
        ) from error


def _convert(source: Path, path: Path, metadata: dict[str, str], family: str) -> None:
    from safetensors.torch import save_file

    from lowzoo.checkpoints.families.published import convert_checkpoint

    converted = convert_checkpoint(source, family)
    with atomic_path(path) as temporary:
        save_file(converted.state, temporary, metadata={"format": "pt", **metadata})
