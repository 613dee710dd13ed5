"""Who a file is: the hash of the weights it was made from, and where those are to be had.

A name alone is confused too easily: a folder may be called as somebody else's model, and weights change while a name
stays. So a file says a hash of every tensor, and a source that `lowzoo check` resolves and holds against that hash. A
folder is noted by its name, as a place on one's computer is nobody's business; where it lay is remembered in lowzoo's
cache, by the hash, and a folder of that name is looked for beside the file and in the working directory too. The same
goes for a checkpoint that was named with its architecture.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.export.network.features import with_features
from lowzoo.export.network.head import OWN, attach, read_head
from lowzoo.export.network.prototypes import PROTOTYPES, read_prototypes, with_prototypes
from lowzoo.export.spec.spec import ExportSpec, Features
from lowzoo.io.cache_folder import cache_folder
from lowzoo.io.files import write_text
from lowzoo.io.safetensors_file import sha256
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.compatible import COMPATIBLE, map_folder, with_map
from lowzoo.zoo.compatible import FILE as MAP_FILE
from lowzoo.zoo.digest import weights_digest
from lowzoo.zoo.find import BUILT_SCHEME, FOLDER_SCHEME, HUB_SCHEME, split_checkpoint
from lowzoo.zoo.resolve import Resolved, load_model

# Revisions that are a digest of content: equal ones are equal weights, whatever a resampling on loading rounds.
_BY_CONTENT = 40
_UNTRAINED = "random initialisation, seed "


def identity(resolved: Resolved, spec: ExportSpec) -> dict[str, str]:
    """Key and value pairs for a file's metadata: hash of the weights, source, and hash of all that decides the file."""
    weights = weights_digest(resolved.model)
    source: dict[str, Any] = {"model": _public(resolved.source)}
    if resolved.features:
        source["features"] = [each.index for each in resolved.features]
    if resolved.head in (OWN, COMPATIBLE):
        source["head"] = resolved.head
    elif resolved.head:
        source |= {"head": Path(resolved.head).name}
    if (digest := _head_digest(resolved)) is not None:
        source["head_sha256"] = digest
    decides = {
        **dataclasses.asdict(spec),
        "size": None,
        "preprocessing": dataclasses.asdict(Preprocessing.of(resolved)),
    }
    del decides["features"]  # a word and indices may mean the same maps
    if resolved.features:
        decides["features"] = source["features"]
    settings = hashlib.sha256(f"{weights} {json.dumps(decides, sort_keys=True)}".encode()).hexdigest()
    return {
        "lowzoo.weights": f"sha256:{weights}",
        "lowzoo.source": json.dumps(source),
        "lowzoo.settings": f"sha256:{settings[:32]}",
    }


def refuse_to_replace(path: Path, notes: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Refuse to write over a file that is not the same export.

    Args:
        path: Which exists.
        notes: What it says of itself; empty if nothing.
        own: What `identity` gives for the export that would replace it.

    Raises:
        LowzooError: It is another one.
    """
    if notes.get("lowzoo.settings") == own["lowzoo.settings"]:
        return
    model = notes.get("lowzoo.model")
    other = f"another export ({model}, {notes.get('lowzoo.precision')})" if model else "no export of this lowzoo"
    if model and notes.get("lowzoo.weights", own["lowzoo.weights"]) != own["lowzoo.weights"]:
        other += " of other weights"
    raise LowzooError(f"{path} exists and is {other}", "Name another place with --out, or replace it with --force")


def remember(resolved: Resolved, weights: str) -> None:
    """Note where weights and head lay, for a later check; a cache that cannot be written to is no error."""
    places = {"model": resolved.source, "head": resolved.head}
    if _local(resolved.source) or resolved.head not in ("", OWN, COMPATIBLE):
        try:
            write_text(_memory(weights), json.dumps(places))
        except LowzooError:
            return


@dataclasses.dataclass(frozen=True)
class Reference:
    """The network that a file is held against.

    Args:
        resolved: The network.
        same: Whether its weights are the file's own; None: not known.
        backbone: Of a file that was taught, the network without its head; else None.
    """

    resolved: Resolved
    same: bool | None
    backbone: Resolved | None = None


def reference_of(
    path: Path,
    notes: Mapping[str, str],
    side: tuple[int, int],
    against: str | None,
    head: str | None,
    features: Features | None = None,
) -> Reference:
    """Load the network that a file was made from, or the one it is to be held against.

    Args:
        path: Path of the file.
        notes: Its metadata.
        side: Height and width of its input in pixels.
        against: A MODEL word; the file's own source if None.
        head: "own", or the path of a linear probe; what the file names if None.
        features: The maps that the file gives; what it names if None.

    Raises:
        LowzooError: The file names no source, or its weights or its head are not to be found; or they have changed.
    """
    source = _source(notes)
    if against is None and not source.get("model"):
        raise LowzooError(
            f"{path} does not say what it was made from", "Name what it should compute by --against MODEL"
        )
    if against is None and source["model"].startswith(BUILT_SCHEME):
        raise LowzooError(
            f"{path} was made from a network that a program built ({notes.get('lowzoo.model')})",
            "Give it in Python, lowzoo.export.check(FILE, against=network), or name a checkpoint by --against MODEL",
        )
    words = [against] if against is not None else list(_places(path, source["model"], notes))
    if not words:
        folder = source["model"].startswith(FOLDER_SCHEME)
        what = f"the folder {source['model'].removeprefix(FOLDER_SCHEME)}" if folder else source["model"]
        raise LowzooError(
            f"{path} was made from {what}, which is neither where it was, nor beside the file, nor here",
            f"Name where it is by --against {'FOLDER' if folder else 'ARCH@FILE'}",
        )
    found = []
    for word in words:
        resolved = _at_side(word, side, notes, own=(head or source.get("head")) == OWN)
        backbone = None
        if taught(notes) and head is None:
            # The hash of the weights is the backbone's: the head came later, and has a hash of its own.
            same, backbone = _same(resolved, notes, {}), resolved
            resolved = with_prototypes(resolved, read_prototypes(path, source), str(path))
        else:
            resolved = _with_head(resolved, path, source, notes, head)
            resolved = giving_maps(resolved, notes, features)
            same = _same(resolved, notes, source)
        if against is not None or same is not False:
            return Reference(resolved, same, backbone)
        found.append(f"{word.removeprefix(FOLDER_SCHEME)} ({resolved.revision})")
    weights = notes.get("lowzoo.weights", "")[:19] or "that it does not name"
    raise LowzooError(
        f"{path} was made from {notes.get('lowzoo.model', source['model'])} with weights {weights} "
        f"({notes.get('lowzoo.revision')}), and these are others: {', '.join(found)}",
        "Name what it should compute by --against MODEL",
    )


def given_reference(
    resolved: Resolved,
    path: Path,
    notes: Mapping[str, str],
    head: str | None = None,
    features: Features | None = None,
) -> Reference:
    """A network that is loaded, and whether its weights are those that a file was made from.

    Args:
        resolved: The network.
        path: Path of the file.
        notes: Its metadata.
        head: "own", the path of a linear probe, or "compatible" for the map into another model's space; None takes the
            network as it is, and the map if the file names it.
        features: The maps that the file gives; what it names if None.

    Raises:
        LowzooError: It does not have the feature maps that the file gives, is not the one that was taught, has no map
            into another model's space, or one of other weights; or it does not go with the head.
    """
    resolved = _given_head(resolved, head or (COMPATIBLE if _source(notes).get("head") == COMPATIBLE else None), head)
    # By its tensors alone: a program may have trained it on since it was loaded.
    stated = notes.get("lowzoo.weights")
    resolved = giving_maps(resolved, notes, features)
    same = None if stated is None else stated == f"sha256:{weights_digest(resolved.model)}"
    if not taught(notes) or head is not None:
        return Reference(resolved, same)
    return Reference(with_prototypes(resolved, read_prototypes(path, _source(notes)), str(path)), same, resolved)


def _given_head(resolved: Resolved, wanted: str | None, asked: str | None) -> Resolved:
    """A network that is loaded, with the head that is wanted of it, which a file may want and a caller asks for."""
    if asked == OWN and (resolved.headless or resolved.head not in ("", OWN)):
        ends = "was loaded without its classifier" if resolved.headless else f"ends in another head ({resolved.head})"
        raise LowzooError(f"{resolved.name} {ends}", "Load it with classes=True, or name it by its word")
    if wanted is None or wanted == OWN:
        return resolved
    if resolved.head:
        is_it = resolved.head in (wanted, str(Path(wanted).resolve()))
        if asked is not None and not is_it:
            raise LowzooError(f"{resolved.name} ends in a head already ({resolved.head})", "Leave head out")
        return resolved
    if wanted == COMPATIBLE:
        return with_map(resolved)
    return attach(resolved, *read_head(Path(wanted)), source=Path(wanted))


def taught(notes: Mapping[str, str]) -> bool:
    """Whether a file says that its head is prototypes inside it, see `lowzoo.export.network.prototypes`."""
    return _source(notes).get("head") == PROTOTYPES


def giving_maps(resolved: Resolved, notes: Mapping[str, str], features: Features | None = None) -> Resolved:
    """Make a network give the feature maps that a file gives, where it gives some or the caller says so.

    Raises:
        LowzooError: It does not have them, or a classifier was named with them.
    """
    if resolved.features:
        return resolved
    if features is not None:
        return with_features(resolved, features)
    indices = _source(notes).get("features")
    if not isinstance(indices, list):
        return resolved
    return with_features(resolved, tuple(int(index) for index in indices))


def _source(notes: Mapping[str, str]) -> dict[str, Any]:
    try:
        said = json.loads(notes.get("lowzoo.source", "{}"))
    except json.JSONDecodeError:
        said = {}
    said = said if isinstance(said, dict) else {}
    # Files of before the source was noted say a name alone.
    return {**said, "model": said.get("model") or notes.get("lowzoo.model", "")}


def _public(source: str) -> str:
    """A source without the folders of whoever exports: what lies below the working directory relative to it."""
    if (local := _local(source)) is None:
        return source
    scheme, place = local
    here = Path.cwd().resolve()
    return f"{scheme}{place.relative_to(here) if place.is_relative_to(here) else place.name}"


def _local(source: str) -> tuple[str, Path] | None:
    """What a source that lies on one's computer begins with, and its place, its #BRANCH included; else None."""
    if source.startswith(FOLDER_SCHEME):
        return FOLDER_SCHEME, Path(source.removeprefix(FOLDER_SCHEME))
    architecture, at, place = source.partition("@")
    return (f"{architecture}@", Path(place)) if at and not source.startswith(HUB_SCHEME) else None


def _is_there(model_spec: str) -> bool:
    if model_spec.startswith(FOLDER_SCHEME):
        return (Path(model_spec.removeprefix(FOLDER_SCHEME)) / "config.json").is_file()
    checkpoint = split_checkpoint(model_spec)
    return checkpoint is not None and checkpoint[1].is_file()


def _places(path: Path, source: str, notes: Mapping[str, str]) -> Iterator[str]:
    """Words that may mean the source, each once."""
    if (local := _local(source)) is None:
        yield source
        return
    scheme, noted = local
    remembered = _recalled(notes).get("model", "").removeprefix(scheme)
    near = [root / name for root in (path.resolve().parent, Path.cwd()) for name in (noted, Path(noted.name))]
    places = [Path(remembered)] if remembered else []
    for place in dict.fromkeys(each.resolve() for each in (*places, *near)):
        if _is_there(word := f"{scheme}{place}"):
            yield word


def _at_side(model_spec: str, side: tuple[int, int], notes: Mapping[str, str], *, own: bool) -> Resolved:
    revision = notes.get("lowzoo.revision", "")
    more: dict[str, Any] = {"classes": True} if own else {}
    if revision.startswith(_UNTRAINED):
        more |= {"pretrained": False, "seed": int(revision.removeprefix(_UNTRAINED))}
    resolved = load_model(model_spec, **more)
    if resolved.input_size[1:] != side:
        more["image_size"] = side
        resolved = load_model(model_spec, **more)
    return resolved


def _with_head(
    resolved: Resolved, path: Path, source: Mapping[str, Any], notes: Mapping[str, str], head: str | None
) -> Resolved:
    named = head or source.get("head") or ""
    if named == COMPATIBLE:
        return with_map(resolved)
    if not named and "lowzoo.classes" in notes:
        raise LowzooError(f"{path} is a classifier that does not say which", "Name its linear probe by --head FILE")
    if not named or named == OWN:
        return resolved
    if head is not None:
        return attach(resolved, *read_head(Path(head)), source=Path(head))
    remembered = _recalled(notes).get("head", "")
    near = [Path(remembered)] if remembered else []
    near += [path.parent / named, Path(named)]
    for file in near:
        if file.is_file() and sha256(file) == source.get("head_sha256"):
            return attach(resolved, *read_head(file), source=file)
    raise LowzooError(
        f"the head {named} of {path} is neither where it was, nor beside the file, nor here, or has changed",
        "Name it by --head FILE",
    )


def _same(resolved: Resolved, notes: Mapping[str, str], source: Mapping[str, Any]) -> bool | None:
    stated, revision = notes.get("lowzoo.weights"), notes.get("lowzoo.revision")
    head = _head_digest(resolved)
    by_content = revision is not None and (revision.startswith("sha256:") or len(revision) == _BY_CONTENT)
    if "@" in resolved.name:  # a checkpoint may hold several copies of a network
        by_content = by_content and resolved.name == notes.get("lowzoo.model")
    if by_content and revision == resolved.revision and head == source.get("head_sha256"):
        return True
    if stated is None:
        return None if revision is None else revision == resolved.revision
    return stated == f"sha256:{weights_digest(resolved.model)}"


def _head_digest(resolved: Resolved) -> str | None:
    """SHA-256 of the file of what stands behind a network; None where nothing does, or what its weights hold."""
    if resolved.head == COMPATIBLE:
        folder = map_folder(resolved)
        return None if folder is None else sha256(folder / MAP_FILE)
    return sha256(Path(resolved.head)) if resolved.head not in ("", OWN) else None


def _recalled(notes: Mapping[str, str]) -> dict[str, str]:
    try:
        said = json.loads(_memory(notes.get("lowzoo.weights", "")).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: str(value) for key, value in said.items()} if isinstance(said, dict) else {}


def _memory(weights: str) -> Path:
    digest = "".join(letter for letter in weights.removeprefix("sha256:")[:32] if letter in "0123456789abcdef")
    return cache_folder("exports") / f"{digest or 'none'}.json"
