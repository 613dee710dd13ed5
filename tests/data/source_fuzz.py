"""Random sources of images with every trouble that names, links and bytes can make, and what should be found in them.

What is expected follows from how a source was made, not from its names: nothing of `lowzoo.data` is used for it.
"""

import io
import os
import random
import tarfile
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, PngImagePlugin

FORMATS = {"png": "PNG", "jpg": "JPEG", "JPG": "JPEG", "jpeg": "JPEG", "jfif": "JPEG", "gif": "GIF", "bmp": "BMP"}
FORMATS |= {"webp": "WEBP", "tif": "TIFF", "TIFF": "TIFF", "Png": "PNG", "jpe": "JPEG"}
STEMS = [
    "{}",
    "cat.{}",
    "a.b.{}",
    "Mr. Who {}",
    "ünï {}",
    "猫 {}",
    "-rf {}",
    "line\nend {}",
    "{}" + "x" * 180,
    " lead {}",
]
STEMS += ["tab\t{}", "100% {}", "quote'\" {}", "{}.2024-01-05", "UPPER {}", "#{}", "~{}", "a,b;c {}", "[{}]", "\\{}"]
CLASSES = ["cat", "dog", "n01440764", "Großer Hund", "two words", "猫", "a.b", "-x", "line\nend", "B.jpg", "0", "Zebra"]
SPLITS = {
    "train": ["train", "Training", "TRAIN", "train_set", "images-train"],
    "validation": ["val", "valid", "Validation", "dev", "val2017"],
    "test": ["test", "Testing", "test_images"],
}
KINDS = ["folder", "tar", "tar.gz", "zip", "parquet", "list"]


@dataclass
class Entry:
    """A picture: where it lies, what it holds, and what should become of it."""

    name: str
    data: bytes
    readable: bool
    split: str = "train"
    label: str | None = None


@dataclass
class Plan:
    """A source that was made, and what should be found.

    Args:
        word: The path.
        entries: Its pictures in the order in which they should be found.
        left_out: Files of each other kind.
        classes: Whether it has classes.
        outside: Pictures that belong to no split.
        notes: Words that the notes have to hold.
        error: Words of the refusal that is due, in place of all that.
    """

    word: Path
    entries: list[Entry] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    classes: bool = False
    outside: int = 0
    notes: list[str] = field(default_factory=list)
    error: str = ""


def picture(number: int, form: str) -> bytes:
    """A small picture whose bytes tell it from all others."""
    buffer = io.BytesIO()
    pixels = Image.new("RGB", (6, 5), (number % 251, number // 251 % 251, number * 7 % 251))
    pixels.putpixel((number % 6, number % 5), (255, 255, 255))
    pixels.save(buffer, form)
    return buffer.getvalue()


def own_picture() -> bytes:
    """A picture that lowzoo has drawn."""
    buffer, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_text("Software", "lowzoo")
    Image.new("RGB", (6, 5)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


class Maker:
    """Makes one source in an empty folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.kind = KINDS[seed % len(KINDS)]
        self.count = 0

    def make(self) -> Plan:
        """Make it."""
        if self.kind == "parquet":
            return self._parquet()
        plan = Plan(self.folder / "set")
        entries = self._pictures(plan)
        if self.kind == "folder":
            return self._folder(plan, entries)
        if self.kind == "list":
            return self._list(plan, entries)
        return self._archive(plan, entries)

    def _pictures(self, plan: Plan) -> list[Entry]:
        """Arrange pictures flat, by class, or by split and class; perhaps in a wrapper, perhaps with strays."""
        choose = self.random
        scheme = choose.choice(["flat", "classes", "classes", "splits", "wrapped", "wrapped splits"])
        wrapper = f"{choose.choice(['photos', 'my set', 'données'])}/" if scheme.startswith("wrapped") else ""
        entries: list[Entry] = []
        if scheme == "flat":
            return [self._entry("") for _ in range(choose.randint(1, 6))]
        plan.classes = True
        names = choose.sample(CLASSES, choose.randint(2, 4))
        if scheme in ("classes", "wrapped"):
            for name in names:
                entries += [self._entry(f"{wrapper}{name}/", label=name) for _ in range(choose.randint(1, 4))]
            if not wrapper and choose.random() < 0.3:
                entries.append(self._entry(""))
        else:
            splits = ["train", *choose.sample(["validation", "test"], choose.randint(1, 2))]
            for split in splits:
                folder = choose.choice(SPLITS[split])
                for name in names:
                    entries += [
                        self._entry(f"{wrapper}{folder}/{name}/", split, name) for _ in range(choose.randint(1, 3))
                    ]
            if not wrapper and choose.random() < 0.3:
                plan.outside = 1
                entries.append(self._entry("", "none"))
        if wrapper:
            plan.notes.append("everything lies in")
        return entries

    def _entry(self, folder: str, split: str = "train", label: str | None = None) -> Entry:
        self.count += 1
        choose = self.random
        stem = choose.choice(STEMS).format(self.count + 100)
        if self.kind == "zip":
            stem = stem.replace("\\", "")
        extension = choose.choice(list(FORMATS))
        data = picture(self.count, FORMATS[extension])
        readable = True
        state = choose.random()
        if state < 0.06:
            data, readable = b"", False
        elif state < 0.12:
            data, readable = choose.randbytes(200), False
        elif state < 0.16:
            data, readable = data[:20], False
        elif state < 0.3:  # all of these show by their first bytes what they are
            return Entry(f"{folder}{stem}", data, True, split, label)
        deep = "deep/er/" if label is not None and choose.random() < 0.1 else ""
        return Entry(f"{folder}{deep}{stem}.{extension}", data, readable, split, label)

    def _others(self) -> list[tuple[str, bytes, str]]:
        """Files that are no pictures: name, content, and the kind that they count as."""
        choices = [
            ("notes.txt", b"words", ".txt"),
            ("labels.XML", b"<a/>", ".xml"),
            ("Makefile", b"all:", "without an extension"),
            (".DS_Store", b"\0\0", "hidden"),
            ("._mac.jpg", b"\0\5\x16\7", "hidden"),
            ("sheet.png", own_picture(), "written by lowzoo"),
            ("old.v1", b"BM is no picture", ".v1"),
            ("clip.mp4", b"\0\0\0\x20ftypisom", ".mp4"),
        ]
        return self.random.sample(choices, self.random.randint(0, 4))

    def _folder(self, plan: Plan, entries: list[Entry]) -> Plan:
        root = plan.word
        root.mkdir()
        for entry in entries:
            write(root / entry.name, entry.data)
        for name, data, kind in self._others():
            place = root / self.random.choice([os.path.dirname(entry.name) for entry in entries])
            write(place / name, data)
            plan.left_out[kind] += 1
        choose = self.random
        if choose.random() < 0.2:
            write(root / ".git" / "x.png", picture(1, "PNG"))
            plan.left_out["hidden folders"] += 1
        if choose.random() < 0.2:
            os.symlink("nowhere", root / "broken.jpg")
            plan.left_out["broken links"] += 1
        if choose.random() < 0.2:
            os.mkfifo(root / "pipe.jpg")
            plan.left_out["pipes, sockets or devices"] += 1
        if choose.random() < 0.3:
            inner = root / os.path.dirname(entries[0].name)
            os.symlink(choose.choice([root, inner]), inner / "round")
            plan.notes.append("links lead to folders that are read anyway")
        if choose.random() < 0.2:
            write(root / "runs" / "1" / "config.toml", b"")
            write(root / "runs" / "1" / "metrics.jsonl", b"")
            write(root / "runs" / "1" / "curves.png", picture(2, "PNG"))
            plan.notes.append("run folders of lowzoo")
        if choose.random() < 0.2:
            # A link to a picture elsewhere is a picture, in the class in which it lies.
            self.count += 1
            write(self.folder / "elsewhere.png", picture(self.count, "PNG"))
            first = entries[0]
            place = os.path.join(os.path.dirname(first.name), f"link {self.count}.png")
            os.symlink(self.folder / "elsewhere.png", root / place)
            entries.append(Entry(place, picture(self.count, "PNG"), True, first.split, first.label))
        if os.geteuid() != 0 and choose.random() < 0.3:
            entry = choose.choice(entries)
            if "." in entry.name.rpartition("/")[2] and not (root / entry.name).is_symlink():
                (root / entry.name).chmod(0)
                entry.data, entry.readable = b"", False
                if entry.name.rpartition(".")[2] not in FORMATS:
                    entries.remove(entry)
                    plan.left_out["without an extension"] += 1
        latin = [entry for entry in entries if "ü" in entry.name.rpartition("/")[2] and not entry.label]
        for entry in latin:
            renamed = os.fsencode(entry.name).replace("ü".encode(), b"\xfc").replace("ï".encode(), b"\xef")
            os.rename(root / entry.name, os.path.join(os.fsencode(root), renamed))
            entry.name = os.fsdecode(renamed)
        plan.entries = sorted(entries, key=lambda entry: entry.name)
        return plan

    def _archive(self, plan: Plan, entries: list[Entry]) -> Plan:
        choose = self.random
        choose.shuffle(entries)
        others = [(f"{choose.choice(['', 'papers/'])}{name}", data, kind) for name, data, kind in self._others()]
        others += [("__MACOSX/._x.jpg", b"\0\5", "hidden")] * (choose.random() < 0.3)
        plan.left_out.update(kind for _, _, kind in others)
        members = [(entry.name, entry.data) for entry in entries] + [(name, data) for name, data, _ in others]
        plan.word = self.folder / f"set.{self.kind}"
        plan.entries = entries
        prefix = choose.choice(["", "./"])
        if self.kind == "zip":
            method = choose.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
            with zipfile.ZipFile(plan.word, "w", method) as packed:
                packed.writestr("empty folder/", b"")
                for name, data in members:
                    packed.writestr(name, data)
            return plan
        form = choose.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
        with tarfile.open(plan.word, "w:gz" if self.kind == "tar.gz" else "w", format=form) as archive:
            for name, data in members:
                member = tarfile.TarInfo(prefix + name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
            self._links_and_companions(archive, plan, entries)
        return plan

    def _links_and_companions(self, archive: tarfile.TarFile, plan: Plan, entries: list[Entry]) -> None:
        choose = self.random
        if choose.random() < 0.3:
            link = tarfile.TarInfo("out.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "../../etc/passwd"
            archive.addfile(link)
            plan.left_out["broken links"] += 1
        if choose.random() < 0.3:
            pipe = tarfile.TarInfo("pipe.jpg")
            pipe.type = tarfile.FIFOTYPE
            archive.addfile(pipe)
            plan.left_out["pipes, sockets or devices"] += 1
        plain = [entry for entry in entries if entry.name.endswith((".png", ".jpg")) and entry.split != "none"]
        if plain and choose.random() < 0.5:
            beside = choose.choice(plain)
            mask = picture(999, "PNG")
            member = tarfile.TarInfo(f"{beside.name[:-4]}.seg.png")
            member.size = len(mask)
            archive.addfile(member, io.BytesIO(mask))
            plan.left_out["further pictures of samples (.seg.png)"] += 1

    def _list(self, plan: Plan, entries: list[Entry]) -> Plan:
        """A CSV beside the pictures, quoted as its rules are, with the class in a column."""
        import csv

        root = plan.word
        root.mkdir()
        entries = [entry for entry in entries if entry.split != "none"]
        plan.outside = 0
        for entry in entries:
            write(root / "pictures" / entry.name, entry.data)
        plan.word = root / "list.csv"
        plan.notes, plan.classes = [], self.random.random() < 0.7
        missing = self.random.randint(0, 2)
        for entry in entries:
            # Blanks around a cell are no part of it.
            entry.label = (entry.label or "some").strip() if plan.classes else None
        with plan.word.open("w", newline="", encoding=self.random.choice(["utf-8", "utf-8-sig", "utf-16"])) as file:
            rows = csv.writer(file, delimiter=self.random.choice([",", ";"]), lineterminator="\n")
            rows.writerow(["path", "label", "split"] if plan.classes else ["path"])
            for entry in entries:
                path = f"pictures/{entry.name}"
                rows.writerow([path, entry.label, entry.split] if plan.classes else [path])
            for i in range(missing):
                rows.writerow([f"gone {i}.jpg", "x", "train"] if plan.classes else [f"gone {i}.jpg"])
        if missing:
            plan.left_out["paths that do not exist"] = missing
            plan.notes.append(f"{missing} of {len(entries) + missing} paths in list.csv do not exist")
        if not plan.classes:
            # The folders of the paths count, and all of them lie in one.
            plan.entries = self._as_arranged(entries)
            return plan
        plan.entries = entries
        return plan

    def _as_arranged(self, entries: list[Entry]) -> list[Entry]:
        for entry in entries:
            entry.split, entry.label = "any", None
        return entries

    def _parquet(self) -> Plan:
        import pyarrow
        import pyarrow.parquet as parquet

        choose = self.random
        plan = Plan(self.folder / "table.parquet", classes=True)
        shape = choose.choice(["struct", "bytes", "paths"])
        cells: list[object] = []
        labels: list[object] = []
        kind = choose.choice(["name", "number", "float"])
        for i in range(choose.randint(2, 9)):
            entry = self._entry("")
            entry.label = str(i % 2) if choose.random() < 0.8 else None
            labels.append(
                None
                if entry.label is None
                else {"name": f"class {entry.label}", "number": int(entry.label), "float": float(entry.label)}[kind]
            )
            if choose.random() < 0.15:
                cells.append(None)
                entry.data, entry.readable = b"", False
                plan.left_out["empty cells"] += 1
            elif shape == "paths":
                write(self.folder / "beside" / entry.name, entry.data)
                cells.append({"bytes": None, "path": f"beside/{entry.name}"})
            else:
                cells.append({"bytes": entry.data, "path": None} if shape == "struct" else entry.data)
            entry.name = f"row {i}"
            plan.entries.append(entry)
        if kind == "name":
            for entry in plan.entries:
                entry.label = None if entry.label is None else f"class {entry.label}"
        plan.classes = any(entry.label for entry in plan.entries)
        struct = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        types = {"name": pyarrow.string(), "number": pyarrow.int64(), "float": pyarrow.float32()}
        table = pyarrow.table(
            {
                "image": pyarrow.array(cells, pyarrow.binary() if shape == "bytes" else struct),
                "label": pyarrow.array(labels, types[kind]),
            }
        )
        parquet.write_table(table, plan.word, row_group_size=3)
        return plan


def write(path: Path, data: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def check(plan: Plan) -> None:
    """Open what was made and compare all of it.

    Raises:
        AssertionError: Something was found that should not be there, or was not, or was left out without a word.
    """
    from lowzoo.data.pixels.decode import BadImage
    from lowzoo.data.source import open_set

    images = open_set(plan.word)
    expected = [entry for entry in plan.entries if entry.split != "none"]
    anywhere = any(entry.split == "any" for entry in expected)
    if not anywhere:
        assert set(images.splits) == {entry.split for entry in expected}, images.splits
    found = []
    seen = 0
    for split in images.splits:
        source = images.open(split)
        mine = [entry for entry in expected if entry.split == split]
        if anywhere:
            got = Counter(_read(source, i) for i in range(len(source)))
            seen += len(source)
            known = Counter(entry.data for entry in expected)
            assert not (got - known), "pictures that were not made"
        else:
            assert len(source) == len(mine), (split, len(source), len(mine))
            for i, entry in enumerate(mine):
                where = source.where(i)
                assert where.endswith(entry.name), (where, entry.name)
                assert _read(source, i) == entry.data, entry.name
                try:
                    source.pixels(i)
                    readable = True
                except BadImage:
                    readable = False
                assert readable == entry.readable, (where, readable)
            labels = [None] * len(mine) if source.labels is None else source.labels.tolist()
            names = source.class_names
            got_labels = [
                None if label is None or label < 0 else (names[label] if names is not None else str(label))
                for label in labels
            ]
            assert got_labels == [entry.label for entry in mine], (split, got_labels)
        found.append(source.found)
    if anywhere:
        assert seen == len(expected), (seen, len(expected))
    notes = "\n".join(note for one in found for note in one.notes)
    assert dict(found[0].left_out) == {kind: n for kind, n in plan.left_out.items() if n}, found[0].left_out
    assert found[0].files == len(plan.entries) + sum(n for kind, n in plan.left_out.items() if kind != "empty cells"), (
        found[0].files
    )
    for words in plan.notes:
        assert words in notes, (words, notes)
    if plan.outside:
        assert "in no split" in notes, notes
    without = [entry for entry in expected if entry.label is None]
    if plan.classes and without and not anywhere and len(without) < len(expected):
        assert "without a class" in notes or "have no class" in notes, notes


def _read(source, index: int) -> bytes:  # type: ignore[no-untyped-def]
    from lowzoo.data.pixels.decode import BadImage

    try:
        data: bytes = source.encoded(index)
        return data
    except BadImage:
        return b""
