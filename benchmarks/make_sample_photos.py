"""Make the demonstration photographs in lowzoo/data/samples from the data folder of scikit-image 0.26.

    pip download scikit-image==0.26.0 --no-deps && unzip scikit_image-*.whl 'skimage/data/*'
    python benchmarks/make_sample_photos.py skimage/data

The licences stand in lowzoo/data/samples/README.md.
"""

import argparse
from pathlib import Path

from PIL import Image

from lowzoo.io.files import atomic_path

OUT = Path(__file__).parents[1] / "lowzoo" / "data" / "samples"
PHOTOS = {"astronaut": "astronaut.png", "cat": "chelsea.png", "coffee": "coffee.png", "rocket": "rocket.jpg"}
LONGER_SIDE = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name, file in PHOTOS.items():
        with Image.open(folder / file) as image:
            photo = image.convert("RGB")
        photo.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
        with atomic_path(OUT / f"{name}.jpg") as temporary:
            photo.save(temporary, "JPEG", quality=88, optimize=True)
        print(f"{name}.jpg: {photo.width} x {photo.height}, {(OUT / f'{name}.jpg').stat().st_size} bytes")


if __name__ == "__main__":
    main()
