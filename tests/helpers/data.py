"""Pictures of one shade each, which say by themselves which they are, and tars of them."""

import io
import json
import pickle
import tarfile

from PIL import Image

from lowzoo.data.pixels.decode import BadImage, decode_rgb


def png(shade):
    """A picture of 4 x 4 px."""
    buffer = io.BytesIO()
    Image.new("L", (4, 4), shade).save(buffer, "PNG")
    return buffer.getvalue()


def add(archive, name, data):
    """Put one member into an open tar."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def write_tar(path, shades, *, label="cls", form=tarfile.GNU_FORMAT, prefix=""):
    """A tar of pictures, each with its shade modulo 3 in `.cls`, with cat or dog in `.json`, or without a label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for shade in shades:
            add(archive, f"{prefix}{shade:06}.png", png(shade))
            if label == "cls":
                add(archive, f"{prefix}{shade:06}.cls", str(shade % 3).encode())
            if label == "json":
                add(archive, f"{prefix}{shade:06}.json", json.dumps({"label": ["cat", "dog"][shade % 2]}).encode())
    return path


def shade(source, index):
    """The shade of picture `index`."""
    return int(decode_rgb(source.encoded(index), source.where(index))[0, 0, 0])


def shades(source):
    """The shade of each picture, None where it is lost."""
    found = []
    for index in range(len(source)):
        try:
            found.append(shade(source, index))
        except BadImage:
            found.append(None)
    return found


def read_pickled(data, index):
    """What a process reads that got the source through a pipe."""
    return pickle.loads(data).encoded(index)
