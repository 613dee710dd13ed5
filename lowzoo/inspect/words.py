"""A report in words: the lines for a terminal, its findings, and what to do about them."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from lowzoo.base.printable import printable
from lowzoo.inspect.report import IMBALANCE, Group, Item, Report, SplitFacts

_MOST_NAMED = 3
_MOST_KINDS = 6
# A training run stops at more unreadable pictures than this by default, `max_bad_share`.
_MOST_UNREADABLE = 0.01


def lines(report: Report) -> Iterator[str]:
    """What a terminal shows."""
    yield from map(printable, report.found)
    for split in report.splits:
        yield ""
        yield f"{split.name}: {_count(split.pictures, 'picture')}{_classes(split)}"
        for name, value in rows(split, report.crop):
            yield f"  {name:14} {value}"
    yield ""
    yield method(report)
    found = list(findings(report))
    yield from (f"Problem: {line}" for line in found)
    if not found:
        yield "No problem found"
    yield from (f"Advice: {line}" for line in advice(report))
    yield f"Next: {command(report)}"


def in_words(report: Report) -> dict[str, str | list[str]]:
    """What is wrong, what to do about it and how to go on, for the JSON document."""
    return {"problems": list(findings(report)), "advice": list(advice(report)), "next": command(report)}


def rows(split: SplitFacts, crop: int) -> Iterator[tuple[str, str]]:
    """Name and value of each fact of a split."""
    yield "format", _counts(split.formats)
    yield "mode", _counts(split.modes)
    if split.width and split.height:
        for name, spread in (("width", split.width), ("height", split.height)):
            yield name, f"{spread.smallest:,} to {spread.largest:,} px, median {spread.median:,}"
    yield "shorter side", _counts(split.shorter_sides)
    yield "width : height", _counts(split.aspects)
    yield "turned by EXIF", f"{split.turned:,}"
    yield "animated", f"{split.animated:,}"
    yield f"below {crop} px", f"{split.small:,}"
    near = "not looked for" if split.near_copies is None else f"{split.near_copies:,}"
    yield "copies within", f"{split.copies:,} byte for byte, nearly the same: {near}"
    if split.intensity != "auto":
        yield "intensity", split.intensity


def findings(report: Report) -> Iterator[str]:
    """What is wrong or odd, a line each, the gravest first."""
    for leak in report.leaks:
        pictures = next(split.pictures for split in report.splits if split.name == leak.split)
        some = ", ".join(f"{short(one)} = {short(two)}" for one, two, _ in leak.pairs[:_MOST_NAMED])
        total = leak.exact + leak.near
        yield (
            f"{total:,} of {_count(pictures, 'picture')} of {leak.split} ({_percent(total, pictures)}) are in "
            f"{leak.other} too, {leak.exact:,} byte for byte and {leak.near:,} nearly: {some}{_more(leak.pairs)}"
        )
    if report.conflicts:
        some = "; ".join(_in_one(group) for group in report.conflicts[:_MOST_NAMED])
        yield f"{_count(len(report.conflicts), 'group')} of alike pictures with different classes: {some}"
    if report.unreadable:
        some = ", ".join(f"{short(item)} ({reason})" for item, reason in report.unreadable[:_MOST_NAMED])
        yield f"{_count(len(report.unreadable), 'picture')} cannot be read: {some}{_more(report.unreadable)}"
    for what, items in (("of one colour throughout", report.constant), ("with numbers clipped", report.clipped)):
        if items:
            yield f"{_count(len(items), 'picture')} {what}: {_named(items)}"
    if report.misnamed:
        some = ", ".join(f"{short(item)} is {found}" for item, _, found in report.misnamed[:_MOST_NAMED])
        yield f"{_count(len(report.misnamed), 'picture')} named as another format: {some}{_more(report.misnamed)}"
    for one, other, names in report.lacking:
        some = ", ".join(map(printable, names[:_MOST_NAMED])) + _more(names)
        yield f"{one} lacks {_count(len(names), 'class', 'classes')} of {other}: {some}"
    for split in report.splits:
        copies = split.copies + (split.near_copies or 0)
        if copies:
            share = _percent(copies, split.pictures)
            yield f"{_count(copies, 'picture')} of {split.name} ({share}) are copies of others there, or nearly"
        if split.without_class:
            yield f"{_count(split.without_class, 'picture')} of {split.name} have no class"
        if split.empty_classes:
            some = ", ".join(map(printable, split.empty_classes[:_MOST_NAMED])) + _more(split.empty_classes)
            yield f"{_count(len(split.empty_classes), 'class', 'classes')} of {split.name} have no picture: {some}"
        if split.classes and split.imbalance >= IMBALANCE:
            least, most = (
                min(split.classes, key=split.classes.__getitem__),
                max(split.classes, key=split.classes.__getitem__),
            )
            yield (
                f"the classes of {split.name} differ {split.imbalance:.0f}-fold: {printable(most)} has "
                f"{split.classes[most]:,} pictures, {printable(least)} {split.classes[least]:,}"
            )
        if split.small:
            yield (
                f"{_count(split.small, 'picture')} of {split.name} ({_percent(split.small, split.pictures)}) "
                f"would be enlarged to the model's {report.crop} px"
            )


def advice(report: Report) -> Iterator[str]:
    """What to do about it, a sentence each."""
    if report.leaks:
        yield "remove from the judging split what the training split holds too: figures on it are too good as it is"
    if report.conflicts:
        yield "look at the alike pictures with different classes: at most one of the classes is right"
    if report.unreadable:
        stops = ": a training run stops at so many" if _too_many_unreadable(report) else ""
        yield f"replace or remove the unreadable pictures{stops}"
    if report.constant or report.clipped:
        yield "check the range of the numbers (--intensity LOW,HIGH), or remove pictures that show nothing"
    if any(split.name == "train" for split in report.splits) and any(one == "train" for one, _, _ in report.lacking):
        yield "no picture of a class that train lacks can be recognised: add some, or remove the class"
    if any(split.turned for split in report.splits):
        applied = "are turned upright here" if report.orientation == "exif" else "are left as they are stored"
        yield f"pictures with an EXIF orientation {applied}: give train, eval and embed the same --orientation"
    if all(split.classes is None for split in report.splits):
        yield "without classes the recipes train as well, but eval needs one sub-folder a class or a column of labels"
    elif len(report.splits) == 1:
        yield "there is one split only, of which eval holds a fifth of each class out; a split of its own is better"


def command(report: Report) -> str:
    """What goes on with these images as they are: training, or else what they allow."""
    splits = [split.name for split in report.splits]
    verb: tuple[str, ...]
    named: dict[str, str]
    if "train" not in report.all_splits:
        verb, named = ("embed",), {"split": splits[0], "out": "features.parquet"}
    elif "train" in splits and _too_many_unreadable(report):
        verb, named = ("data",), {}  # once they are mended
    else:
        verb, named = ("train", "rob"), {}
    named |= report.chosen
    if report.word is None and not report.embedded:
        function = {"data": "data_report", "train": "train.rob"}.get(verb[0], verb[0])
        return f"lowzoo.{function}({', '.join(['images', *(f'{name}={value!r}' for name, value in named.items())])})"
    words = ["lowzoo", *verb]
    if report.word is not None:
        words += [*(["--data"] if verb[0] == "train" else []), printable(report.word)]
    for name, value in named.items():
        words += [f"--{name.replace('_', '-')}", printable(value)]
    return shlex.join(words)


def _too_many_unreadable(report: Report) -> bool:
    broken = sum(item.split == "train" for item, _ in report.unreadable)
    return broken > _MOST_UNREADABLE * sum(split.pictures for split in report.splits if split.name == "train")


def short(item: Item) -> str:
    """A picture's name without most of its folders."""
    return printable("/".join(item.name.replace("\\", "/").split("/")[-3:]))


def method(report: Report) -> str:
    """How alike pictures were found."""
    how = report.features
    if how is None:
        return "Alike: the same bytes only; nearly same pictures were not looked for (--no-features)"
    return (
        f"Alike: the same bytes, or nearly: cosine of {how['model']}'s features at {how['size']} px at least "
        f"{how['cosine']}, and small grey copies that correlate by {how['correlation']} as they are or mirrored"
    )


def _classes(split: SplitFacts) -> str:
    if split.classes is None:
        return ", no classes"
    if not split.classes:
        return ", none with a class"
    fewest, most = min(split.classes.values()), max(split.classes.values())
    each = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return f" in {_count(len(split.classes), 'class', 'classes')}, {each} each"


def _in_one(group: Group) -> str:
    return ", ".join(
        f"{short(item)} ({printable(item.label or 'none')})" for item in group.items[:_MOST_NAMED]
    ) + _more(group.items)


def _named(items: Sequence[Item]) -> str:
    return ", ".join(map(short, items[:_MOST_NAMED])) + _more(items)


def _more(items: Sequence[object]) -> str:
    return ", ..." if len(items) > _MOST_NAMED else ""


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _counts(counts: Mapping[str, int]) -> str:
    if not counts:
        return "-"
    items = list(counts.items())
    rest = sum(number for _, number in items[_MOST_KINDS:])
    return ", ".join(f"{printable(name)}: {number:,}" for name, number in items[:_MOST_KINDS]) + (
        f", others: {rest:,}" if rest else ""
    )


def _percent(part: int, whole: int) -> str:
    percent = 100 * part / whole if whole else 0.0
    # A few of many are not 0.0 %.
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.1g} %"
