"""`inspect`: open every split of a set, look at each picture once, and say what there is."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.orientation import UPRIGHT
from lowzoo.data.reading.found import Found
from lowzoo.data.reading.options import DEFAULT_OPTIONS, SourceOptions
from lowzoo.data.source import Images, ImageSource, open_set
from lowzoo.inspect.alike import CORRELATION, COSINE, Alike, find_alike
from lowzoo.inspect.header import format_by_name, same_format
from lowzoo.inspect.report import Group, Item, Leak, Report, SplitFacts, Spread
from lowzoo.inspect.scan import Picture, Scanned, scan
from lowzoo.zoo.given import resolved_model
from lowzoo.zoo.resolve import Resolved, load_model

MODEL = "rob_vit_tiny"
_SIDES = (32, 64, 128, 256, 512, 1024, 2048)
_ASPECTS = ("narrower than 1:2", "upright", "nearly square", "lying", "wider than 2:1")


@dataclass(frozen=True)
class Inspection:
    """A report and the pictures that it is of.

    Args:
        report: What was seen.
        sources: The splits by name, to show some pictures.
    """

    report: Report
    sources: dict[str, ImageSource]


def inspect(
    images: Images = None,
    options: SourceOptions = DEFAULT_OPTIONS,
    *,
    splits: Sequence[str] = (),
    model: "str | Path | nn.Module | Resolved | None" = MODEL,
    workers: int = 0,
    progress: bool = True,
) -> Inspection:
    """Look at a set of images.

    Args:
        images: As for `lowzoo.data.source.open_set`; None is the embedded sample set.
        options: How images are found and read.
        splits: Those to look at; all of them if empty.
        model: Whose features find nearly same pictures, and below whose input a picture is small; None looks for the
            same bytes only.
        workers: Threads; 0 takes all cores.
        progress: Show bars on stderr.

    Raises:
        LowzooError: Nothing usable there, no such split, a stream, or no such model.
    """
    found_set = open_set(images, options)
    # In the order of the set, in which what judges comes after what it judges; `open` refuses the names of no split.
    wanted = [split for split in found_set.splits if split in splits or not splits]
    sources, notes = _apart({split: found_set.open(split) for split in (*wanted, *(set(splits) - set(wanted)))})
    named = {source.class_names is not None for source in sources.values() if source.labels is not None}
    if len(named) > 1:
        notes.append("some splits name their classes and others number them, so the classes of splits are not compared")
    resolved, crop = _network(model)
    scanned = {split: scan(source, resolved, workers=workers, progress=progress) for split, source in sources.items()}
    names = tuple(sources)
    pictures = [picture for split in names for picture in scanned[split].pictures]
    number = np.repeat(np.arange(len(names)), [len(sources[split]) for split in names])
    alike = find_alike(
        [picture.digest for picture in pictures],
        number,
        _joined(scanned),
        np.concatenate([scanned[split].small for split in names]),
        np.array([picture.size is not None and "constant" not in picture.oddities for picture in pictures]),
        progress=progress,
    )
    items = [item for split in names for item in _items(split, sources[split])]
    found = _found(found_set.found, sources.values(), notes)
    groups = tuple(_groups(items, alike))
    facts = tuple(
        _facts(sources[split], split, scanned[split], number == i, alike, crop, resolved is not None)
        for i, split in enumerate(names)
    )

    def those(has: Callable[[Picture], bool]) -> tuple[Item, ...]:
        return tuple(item for item, picture in zip(items, pictures, strict=True) if has(picture))

    report = Report(
        name=found_set.name,
        word=str(images) if isinstance(images, (str, Path)) else None,
        embedded=images is None,
        all_splits=tuple(found_set.splits),
        chosen=options.chosen(),
        found=tuple(found.lines()),
        files=found.files,
        left_out=dict(found.left_out),
        splits=facts,
        crop=crop,
        orientation=options.orientation,
        features=None if resolved is None else _how(resolved),
        unreadable=tuple((i, p.reason) for i, p in zip(items, pictures, strict=True) if p.size is None),
        constant=those(lambda picture: "constant" in picture.oddities),
        clipped=those(lambda picture: "clipped" in picture.oddities),
        misnamed=tuple(_misnamed(items, pictures)),
        groups=groups,
        leaks=tuple(_leaks(names, number, items, alike)),
        conflicts=tuple(group for group in groups if len(group.labels) > 1),
        lacking=tuple(_lacking(facts)) if len(named) < 2 else (),
    )
    return Inspection(report, sources)


def _apart(opened: dict[str, ImageSource]) -> tuple[dict[str, ImageSource], list[str]]:
    """Each picture in one split: of tables and tars named one by one, "train" holds those of the others too."""
    streams = [source.name for source in opened.values() if source.streamed]
    if streams:
        raise LowzooError(f"{streams[0]} is a stream, which is not kept to be looked at", "Name it with hf: instead")
    if len(opened) < 2 or "train" not in opened:
        return opened, []
    train = opened["train"]
    others = {source.where(i) for split, source in opened.items() if split != "train" for i in range(len(source))}
    own = [i for i in range(len(train)) if train.where(i) not in others]
    shared = len(train) - len(own)
    if not shared:
        return opened, []
    note = f"{shared} pictures of train belong to another split too and are counted there"
    if not own:
        return {split: source for split, source in opened.items() if split != "train"}, [note]
    return opened | {"train": train.subset(np.array(own))}, [note]


def _network(model: "str | Path | nn.Module | Resolved | None") -> tuple[Resolved | None, int]:
    """The network that gives features, and the side of the crop that it takes of its own."""
    if model is None:
        return None, catalog.find(MODEL)[1].input_size[1]
    name = model.removeprefix(catalog.PREFIX) if isinstance(model, str) else ""
    if name.partition(".")[0] in catalog.models():
        _, weights = catalog.find(name)
        return load_model(name, image_size=weights.copies_size), weights.input_size[1]
    resolved = resolved_model(model)
    return resolved, resolved.input_size[1]


def _joined(scanned: dict[str, Scanned]) -> torch.Tensor | None:
    found = [seen.features for seen in scanned.values()]
    return None if any(x is None for x in found) else torch.cat([x for x in found if x is not None])


def _items(split: str, source: ImageSource) -> Iterable[Item]:
    labels = source.labels.tolist() if source.labels is not None else [-1] * len(source)
    for index, label in enumerate(labels):
        yield Item(split, index, source.where(index), None if label < 0 else _in_words(source, label))


def _in_words(source: ImageSource, label: int) -> str:
    return source.class_names[label] if source.class_names else str(label)


def _found(whole: Found, sources: Iterable[ImageSource], notes: list[str]) -> Found:
    """What lies in the set: said of it as a whole, or by its splits one by one."""
    parts = [source.found for source in sources]
    if whole.files:
        files, pictures, left_out = whole.files, whole.pictures, Counter(dict(whole.left_out))
    else:
        files, pictures = sum(part.files for part in parts), sum(part.pictures for part in parts)
        left_out = Counter()
        for part in parts:
            left_out.update(dict(part.left_out))
    every = dict.fromkeys((*whole.notes, *(note for part in parts for note in part.notes), *notes))
    return Found(files, pictures, tuple(left_out.most_common()), tuple(every))


def _how(resolved: Resolved) -> dict[str, Any]:
    return {
        "model": resolved.name,
        "revision": resolved.revision,
        "size": resolved.input_size[1],
        "cosine": COSINE,
        "correlation": CORRELATION,
    }


def _facts(
    source: ImageSource,
    split: str,
    scanned: Scanned,
    mine: NDArray[np.bool_],
    alike: Alike,
    crop: int,
    near: bool,
) -> SplitFacts:
    good = [picture for picture in scanned.pictures if picture.size is not None]
    sizes = np.array([picture.size for picture in good], np.int64).reshape(-1, 2)
    headers = [picture.header for picture in good]
    classes: Counter[str] | None = None
    empty: tuple[str, ...] = ()
    without = 0
    if source.labels is not None:
        classes = Counter(
            {_in_words(source, k): n for k, n in sorted(Counter(source.labels.tolist()).items()) if k >= 0}
        )
        empty = tuple(name for name in source.class_names or () if name not in classes)
        without = int((source.labels < 0).sum())
    exact, groups = alike.exact[mine], alike.near[mine]
    distinct = len(np.unique(exact))
    shorter = sizes.min(axis=1) if len(sizes) else np.empty(0, np.int64)
    return SplitFacts(
        name=split,
        pictures=len(source),
        readable=len(good),
        classes=classes,
        empty_classes=empty,
        without_class=without,
        formats=dict(Counter(header.format if header else "unknown" for header in headers).most_common()),
        modes=dict(Counter(header.mode if header else "unknown" for header in headers).most_common()),
        width=_spread(sizes[:, 1]),
        height=_spread(sizes[:, 0]),
        shorter_sides=_by_side(shorter),
        aspects=_by_aspect(sizes),
        turned=sum(header is not None and header.orientation != UPRIGHT for header in headers),
        animated=sum(header is not None and header.frames > 1 for header in headers),
        small=int((shorter < crop).sum()),
        copies=len(exact) - distinct,
        near_copies=distinct - len(np.unique(groups)) if near else None,
        intensity=str(source.rules.intensity),
    )


def _spread(numbers: NDArray[np.int64]) -> Spread | None:
    if not len(numbers):
        return None
    return Spread(int(numbers.min()), int(np.median(numbers)), int(numbers.max()))


def _by_side(shorter: NDArray[np.int64]) -> dict[str, int]:
    edges = (1, *_SIDES)
    names = [f"{low} to {high - 1} px" for low, high in pairwise(edges)] + [f"{edges[-1]} px or more"]
    counts = np.bincount(np.searchsorted(_SIDES, shorter, side="right"), minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}


def _by_aspect(sizes: NDArray[np.int64]) -> dict[str, int]:
    ratios = sizes[:, 1] / sizes[:, 0]
    # 4:5 and 5:4 count as nearly square.
    kinds = (ratios >= 0.5).astype(int) + (ratios >= 0.8) + (ratios > 1.25) + (ratios > 2)
    counts = np.bincount(kinds, minlength=len(_ASPECTS))
    return {name: int(count) for name, count in zip(_ASPECTS, counts, strict=True) if count}


def _misnamed(items: Sequence[Item], pictures: Sequence[Picture]) -> Iterable[tuple[Item, str, str]]:
    for item, picture in zip(items, pictures, strict=True):
        promised = format_by_name(item.name)
        if promised and picture.size and picture.header and not same_format(promised, picture.header.format):
            yield item, promised, picture.header.format


def _groups(items: Sequence[Item], alike: Alike) -> Iterable[Group]:
    members: dict[int, list[int]] = defaultdict(list)
    for i in np.flatnonzero(np.bincount(alike.near, minlength=len(items))[alike.near] > 1).tolist():
        members[int(alike.near[i])].append(i)
    for found in members.values():
        exact = len({int(alike.exact[i]) for i in found}) == 1
        cosine = min(float(alike.cosine[i].max()) for i in found)
        yield Group("exact" if exact else "near", round(cosine, 4), tuple(items[i] for i in found))


def _leaks(names: Sequence[str], number: NDArray[np.int64], items: Sequence[Item], alike: Alike) -> Iterable[Leak]:
    """Each split against those before it: what judges comes after what it judges."""
    for later in range(1, len(names)):
        for earlier in range(later):
            twins, cosines = alike.twin[:, earlier], alike.cosine[:, earlier]
            leaking = np.flatnonzero((number == later) & (twins >= 0))
            order = leaking[np.argsort(-cosines[leaking], kind="stable")].tolist()
            exact = [i for i in order if alike.exact[i] == alike.exact[twins[i]]]
            same = set(exact)
            ordered = exact + [i for i in order if i not in same]
            pairs = tuple((items[i], items[int(twins[i])], round(float(cosines[i]), 4)) for i in ordered)
            if pairs:
                yield Leak(names[later], names[earlier], len(exact), len(pairs) - len(exact), pairs)


def _lacking(facts: Sequence[SplitFacts]) -> Iterable[tuple[str, str, tuple[str, ...]]]:
    for one in facts:
        for other in facts:
            if one.classes is not None and other.classes is not None:
                missing = tuple(name for name in other.classes if name not in one.classes)
                if missing:
                    yield one.name, other.name, missing
