"""How `lowzoo data` tells copies of a picture from pictures that are merely similar: its two thresholds, measured.

    python benchmarks/near_duplicates.py SRC [--split NAME] [--copies N] [--out benchmarks/results/near_duplicates.json]

N pictures are changed as copies on the web are; the share that passes both thresholds is what is found again. All pairs
of different pictures of SRC show what they wrongly let through; true duplicates in SRC count as wrong here, so SRC has
to hold photographs that are not copies of each other.
"""

import argparse
import io
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from torch.nn.functional import normalize

from lowzoo import catalog
from lowzoo.data.source import ImageSource, open_source
from lowzoo.evaluate.result import versions
from lowzoo.inspect.alike import CORRELATION, COSINE, standardised
from lowzoo.inspect.inspection import MODEL
from lowzoo.inspect.scan import scan
from lowzoo.io.files import write_text
from lowzoo.zoo.resolve import load_model

COSINES, CORRELATIONS = (0.85, 0.9, 0.93, 0.95), (0.0, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Encoded:
    """Pictures in memory as a source's reader."""

    files: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.files)

    def encoded(self, index: int) -> bytes:
        """Give the bytes of picture `index`."""
        return self.files[index]

    def where(self, index: int) -> str:
        """Name picture `index`."""
        return f"copy {index}"

    def fingerprint(self) -> str:
        """Nothing is cached under it."""
        return ""


def encoded(image: Image.Image, kind: str = "PNG", **settings: int) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **settings)
    return written.getvalue()


def resized(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def cropped(image: Image.Image, share: float) -> Image.Image:
    x, y = int(image.width * (1 - share) / 2), int(image.height * (1 - share) / 2)
    return image.crop((x, y, image.width - x, image.height - y))


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG quality 75": lambda image: encoded(image, "JPEG", quality=75),
    "JPEG quality 40": lambda image: encoded(image, "JPEG", quality=40),
    "JPEG quality 15": lambda image: encoded(image, "JPEG", quality=15),
    "WebP quality 50": lambda image: encoded(image, "WEBP", quality=50),
    "half the size": lambda image: encoded(resized(image, 0.5)),
    "twice the size, JPEG 75": lambda image: encoded(resized(image, 2), "JPEG", quality=75),
    "mirrored": lambda image: encoded(ImageOps.mirror(image)),
    "mirrored, JPEG 75": lambda image: encoded(ImageOps.mirror(image), "JPEG", quality=75),
    "brighter by 1.2": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.2)),
    "centre 90 %": lambda image: encoded(cropped(image, 0.9)),
    "centre 80 %": lambda image: encoded(cropped(image, 0.8)),
    "without colours": lambda image: encoded(image.convert("L")),
    "turned by 3 degrees": lambda image: encoded(image.rotate(3, Image.Resampling.BICUBIC)),
}


def _found(cosines: NDArray[np.float32], alike: NDArray[np.float32], cosine: float) -> float:
    """Share of copies that pass this cosine and the correlation, per cent."""
    return round(100 * float(((cosines >= cosine) & (alike >= CORRELATION)).mean()), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--copies", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    source = open_source(arguments.source, arguments.split)
    resolved = load_model(MODEL, image_size=catalog.find(MODEL)[1].copies_size)
    whole = scan(source, resolved)
    units = normalize(whole.features, dim=1)
    straight, mirrored = standardised(whole.small), standardised(whole.small[:, :, ::-1])
    different = {cosine: dict.fromkeys(CORRELATIONS, 0) for cosine in COSINES}
    for top in range(0, len(source), 1024):
        cosines = (units[top : top + 1024] @ units.T).numpy()
        a, b = np.nonzero(cosines >= COSINES[0])
        a, b, values = a[a + top < b], b[a + top < b], cosines[a, b][a + top < b]
        alike = np.maximum((straight[a + top] * straight[b]).sum(1), (straight[a + top] * mirrored[b]).sum(1))
        for cosine, row in different.items():
            for correlation in row:
                row[correlation] += int(((values >= cosine) & (alike >= correlation)).sum())
    picked = np.random.default_rng(0).permutation(len(source))[: arguments.copies]
    copies = {}
    for name, change in CHANGES.items():
        files = tuple(change(Image.fromarray(source.pixels(int(i)))) for i in picked)
        seen = scan(ImageSource(name, Encoded(files)), resolved)
        cosines = (normalize(seen.features, dim=1) * units[picked]).sum(1).numpy()
        own = standardised(seen.small)
        alike = np.maximum((own * straight[picked]).sum(1), (own * mirrored[picked]).sum(1))
        copies[name] = {
            "found_percent": _found(cosines, alike, COSINE),
            "found_percent_by_cosine": {str(cosine): _found(cosines, alike, cosine) for cosine in COSINES},
            "cosine_1_percent": round(float(np.quantile(cosines, 0.01)), 4),
            "correlation_1_percent": round(float(np.quantile(alike, 0.01)), 4),
        }
        print(name, copies[name], flush=True)
    document = {
        "script": "benchmarks/near_duplicates.py",
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "versions": versions("pillow"),
        "model": resolved.name,
        "size": resolved.input_size[1],
        "data": source.name,
        "pictures": len(source),
        "pairs": len(source) * (len(source) - 1) // 2,
        "thresholds": {"cosine": COSINE, "correlation": CORRELATION},
        "copies": copies,
        "different_pictures_taken_for_copies": [
            {"cosine": cosine, "correlation": correlation, "pairs": count}
            for cosine, row in different.items()
            for correlation, count in row.items()
        ],
    }
    print(json.dumps(document["different_pictures_taken_for_copies"]))
    if arguments.out:
        write_text(arguments.out, json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
