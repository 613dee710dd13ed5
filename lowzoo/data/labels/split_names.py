"""How people spell train, validation and test."""

import re

SPLITS = ("train", "validation", "test")
_WORDS = {
    "train": ("train", "training", "trn", "trainval", "learn", "learning"),
    "validation": ("validation", "validate", "validating", "valid", "val", "dev", "eval", "evaluation", "holdout"),
    "test": ("test", "testing", "tests", "tst"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
# What may stand beside the word in a folder's name: train_set, images-val, Test Data, train2017.
_FILLERS = frozenset(
    [
        "set",
        "sets",
        "split",
        "splits",
        "data",
        "dataset",
        "datasets",
        "image",
        "images",
        "img",
        "imgs",
        "picture",
        "pictures",
        "photo",
        "photos",
        "folder",
    ]
)
# Numbered parts, and what stands beside splits elsewhere: plausible classes, but seldom meant as such.
_SUSPECTS = re.compile(
    r"(fold|part|batch|split|subset)\d+|query|gallery|probe|distractors?|unlabell?ed|labell?ed|extra"
)


def split_of_folder(name: str) -> str | None:
    """The split that a folder's whole name means; None for any other name."""
    words = [word for word in _tokens(name) if word not in _FILLERS and not re.fullmatch(r"(19|20)\d\d", word)]
    if words == ["hold", "out"]:
        return "validation"
    return _split_of_word(words[0]) if len(words) == 1 else None


def split_of_table(stem: str) -> str | None:
    """The split of a parquet file, which its name begins with: train-00000-of-00002."""
    return _SPLIT_OF.get(re.split(r"[-_.]", stem)[0].lower())


def split_of_shard(stem: str) -> str | None:
    """The split of a tar, which its name holds anywhere: imagenet1k-train-0000."""
    return next((split for token in re.split(r"[-_.]", stem.lower()) if (split := _SPLIT_OF.get(token))), None)


def split_of_word(word: str) -> str | None:
    """The split of one word, as a library or a table spells it; None for any other word."""
    return _SPLIT_OF.get(word.strip().lower())


def looks_like_split(name: str) -> bool:
    """Tell whether a folder that is taken for a class may have been meant as a part of the set."""
    words = _tokens(name)
    return any(_split_of_word(word) for word in words) or _SUSPECTS.fullmatch("".join(words)) is not None


def _split_of_word(word: str) -> str | None:
    if word in _SPLIT_OF:
        return _SPLIT_OF[word]
    # trainset, valdata, testimages
    return next((split for own, split in _SPLIT_OF.items() if word.removeprefix(own) in _FILLERS), None)


def _tokens(name: str) -> list[str]:
    """Words and numbers of a name in lower case: TrainSet, train_set and train2017 are two each."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " ", name)
    return [token.lower() for token in re.split(r"[^A-Za-z0-9]+", spaced) if token]
