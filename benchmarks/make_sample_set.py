"""Make lowzoo/data/samples/clipart.zip from Debian's package openclipart-png (public-domain dedication).

    apt-get install openclipart-png && python benchmarks/make_sample_set.py [--out FILE] [--sheet PNG]

Everything is a function of the input files: the order is sorted, the split is by hash, the archive's times are fixed.
The bytes also depend on the WebP encoder, whose version is printed.
"""

import argparse
import re
import warnings
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from lowzoo.io.files import atomic_path

ROOT = Path("/usr/share/openclipart/png")
OUT = Path(__file__).parents[1] / "lowzoo" / "data" / "samples" / "clipart.zip"
SIZE = 96
VALIDATION_SHARE = 0.2
QUALITY = 88

# "x/." is the pictures directly in x, "x" also those below. A picture that lies in several counts for the first class.
CLASSES = {
    "animals": ["animals"],
    "plants": ["plants"],
    "food": ["food"],
    "buildings": ["buildings/.", "buildings/homes"],
    "vehicles": ["transportation/.", "transportation/vehicles", "transportation/boating"],
    "music": ["recreation/music"],
    "sports_and_toys": ["recreation/sports", "recreation/toys"],
    "clothing": ["people/clothing"],
    "electronics": [
        "electronics",
        "computer/hardware",
        "computer/connectors",
        "computer/network",
        "office/telephone",
    ],
    "tools": ["tools/."],
    "people": ["people/.", "people/stickmen", "people/bodypart"],
    "office": ["office/.", "education"],
}
# Files under the classes above that also lie here are signs, not objects.
SIGNS = ["transportation/roadsigns", "transportation/aiga-symbols"]
# Diagrams and knots instead of boats, drawings that lost a linked part, and what does not belong in a demonstration.
UNWANTED = re.compile(
    "^("
    "boating_rules|sailing_|knot_|sailboat_illustration_labels|curve_ahead|cycle_route|crossroads|street_sign|"
    "numero_verde|telephone_(lutte|sauvetage)|arrow1|bluepane|cross_hand|large_braces|otto_|user_frederic|"
    "duck_yellow|stylized_yoga|tux_didier|milimetered_paper|"
    # Filed under office as well as, in other drawings, under tools.
    "lens_lente|magnifying_glass_teudimu|"
    "pantyhose|sexy_|cannabis_"
    ")"
)

MIN_PIXELS = 64  # of the longer side of the trimmed drawing
MIN_INK = 0.04  # share of the square that is visibly not white
MIN_CONTRAST = 8.0  # standard deviation of the trimmed drawing, grey levels
DUPLICATE = 0.98  # correlation of 32 x 32 RGB thumbnails: one drawing saved twice
KIN = 0.92  # correlation of 16 x 16 grey thumbnails: variants, which must lie in one split


@dataclass(frozen=True)
class Drawing:
    """One usable drawing: its class, the name of its file without suffix, and its 96 x 96 picture."""

    label: str
    name: str
    picture: Image.Image


def files_of(folders: list[str]) -> list[Path]:
    found: set[Path] = set()
    for folder in folders:
        deep = not folder.endswith("/.")
        found.update((ROOT / folder).rglob("*.png") if deep else (ROOT / folder[:-2]).glob("*.png"))
    return sorted(found)


def normalise(path: Path) -> Image.Image | str:
    """Lay over white, trim, pad to a square with a margin of 4 %, shrink; or say why the file is of no use."""
    try:
        with Image.open(path) as image:
            rgba = image.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return "broken"
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    rgb = Image.alpha_composite(white, rgba).convert("RGB")
    ink = (255 - np.asarray(rgb)).max(axis=2) > 16
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return "empty"
    trimmed = rgb.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
    side = max(trimmed.size)
    if side < MIN_PIXELS:
        return "tiny"
    if np.asarray(trimmed.convert("L")).std() < MIN_CONTRAST:
        return "uniform"
    side += 2 * round(0.04 * side)
    square = Image.new("RGB", (side, side), "white")
    square.paste(trimmed, ((side - trimmed.width) // 2, (side - trimmed.height) // 2))
    small = square.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    return small if ((255 - np.asarray(small)).max(axis=2) > 48).mean() >= MIN_INK else "almost empty"


def correlations(pictures: list[Image.Image], mode: str, side: int) -> NDArray[np.float32]:
    """Correlate all thumbnails with each other: (N, N)."""
    thumbs = [np.asarray(p.convert(mode).resize((side, side), Image.Resampling.BOX)).ravel() for p in pictures]
    x = np.stack(thumbs).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    product: NDArray[np.float32] = x @ x.T
    return product


def drop_duplicates(drawings: list[Drawing], signs: list[Image.Image]) -> list[Drawing]:
    """Keep the first of each set of duplicates, and nothing that is also a sign."""
    pictures = signs + [drawing.picture for drawing in drawings]
    same = correlations(pictures, "RGB", 32) > DUPLICATE
    kept = list(range(len(signs)))
    for i in range(len(signs), len(pictures)):
        if not same[i, kept].any():
            kept.append(i)
    return [drawings[i - len(signs)] for i in kept[len(signs) :]]


def stem(name: str) -> str:
    """Take numbers and a closing letter off, which tell variants of one drawing apart."""
    return re.sub(r"_+[a-z]?$", "", re.sub(r"[\W_]*\d+[\W_]*", "_", name.lower()))


def families(drawings: list[Drawing]) -> list[int]:
    """Number the families: linked by likeness, mirrored likeness or name, through any chain."""
    parent = list(range(len(drawings)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    pictures = [drawing.picture for drawing in drawings]
    mirrored = [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in pictures]
    n = len(pictures)
    alike = correlations(pictures + mirrored, "L", 16) > KIN
    first_of_stem: dict[str, int] = {}
    for i, drawing in enumerate(drawings):
        links = [*np.flatnonzero(alike[i, :n]), *np.flatnonzero(alike[i, n:])]
        links.append(first_of_stem.setdefault(stem(drawing.name), i))
        for j in links:
            parent[root(int(j))] = root(i)
    return [root(i) for i in range(n)]


def split(drawings: list[Drawing]) -> dict[str, list[Drawing]]:
    """Give whole families to validation, by the hash of their names, until each class has its share there."""
    members: dict[int, list[Drawing]] = defaultdict(list)
    for drawing, family in zip(drawings, families(drawings), strict=True):
        members[family].append(drawing)
    largest = max(members.values(), key=len)
    print(f"{len(members)} families, the largest of {len(largest)}: {', '.join(d.name for d in largest[:4])}, ...")
    total, taken = Counter(drawing.label for drawing in drawings), Counter[str]()
    parts: dict[str, list[Drawing]] = {"train": [], "validation": []}
    by_hash = sorted(members.values(), key=lambda found: sha256(min(d.name for d in found).encode()).digest())
    for whole in by_hash:
        counts = Counter(drawing.label for drawing in whole)
        fits = all(taken[label] + n <= round(VALIDATION_SHARE * total[label]) for label, n in counts.items())
        if fits:
            taken.update(counts)
        parts["validation" if fits else "train"].extend(whole)
    return {part: sorted(found, key=lambda d: (d.label, d.name)) for part, found in parts.items()}


def write_archive(parts: dict[str, list[Drawing]], out: Path) -> None:
    """Store, not compress: WebP does not shrink further, and a stored entry is one slice."""
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for part, drawings in parts.items():
            for drawing in drawings:
                buffer = BytesIO()
                drawing.picture.save(buffer, "WEBP", quality=QUALITY, method=6)
                entry = zipfile.ZipInfo(f"{part}/{drawing.label}/{drawing.name}.webp", (1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                entry.create_system = 3
                archive.writestr(entry, buffer.getvalue())


def contact_sheet(parts: dict[str, list[Drawing]], out: Path) -> None:
    rows = [[d for d in parts[part] if d.label == label] for label in CLASSES for part in ("train", "validation")]
    width, cell = 24, 56
    shown = [row[: width * 2] for row in rows]
    lines = [row[i : i + width] for row in shown for i in range(0, len(row), width)]
    sheet = Image.new("RGB", (width * cell, len(lines) * cell), "grey")
    for y, line in enumerate(lines):
        for x, drawing in enumerate(line):
            sheet.paste(drawing.picture.resize((cell - 2, cell - 2)), (x * cell, y * cell))
    sheet.save(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--sheet", type=Path, help="also draw a contact sheet here")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    left_out: Counter[str] = Counter()
    drawings: dict[str, Drawing] = {}
    for label, folders in CLASSES.items():
        for path in files_of(folders):
            if UNWANTED.match(path.name):
                left_out["unwanted"] += 1
            elif path.stem in drawings:
                left_out["same file name"] += 1
            else:
                picture = normalise(path)
                if isinstance(picture, str):
                    left_out[picture] += 1
                else:
                    drawings[path.stem] = Drawing(label, path.stem, picture)
    signs = [picture for path in files_of(SIGNS) if isinstance(picture := normalise(path), Image.Image)]
    unique = drop_duplicates(list(drawings.values()), signs)
    left_out["duplicates and signs"] = len(drawings) - len(unique)
    parts = split(unique)
    write_archive(parts, arguments.out)
    print("left out:", ", ".join(f"{n} {why}" for why, n in left_out.most_common()))
    counts = {part: Counter(drawing.label for drawing in found) for part, found in parts.items()}
    for label in CLASSES:
        print(f"{label:16} {counts['train'][label]:5} {counts['validation'][label]:5}")
    print(f"{'all':16} {len(parts['train']):5} {len(parts['validation']):5}")
    data = arguments.out.read_bytes()
    print(f"{arguments.out}: {len(data)} bytes, sha256 {sha256(data).hexdigest()}, WebP {features.version('webp')}")
    if arguments.sheet:
        contact_sheet(parts, arguments.sheet)


if __name__ == "__main__":
    main()
