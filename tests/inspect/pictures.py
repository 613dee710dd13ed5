"""A folder with every trouble that `lowzoo data` reports, and photographs to make it of."""

import io
import os

import numpy as np
from PIL import Image, ImageOps

from lowzoo.data.stores.samples import demonstration_photos
from lowzoo.io.marks import save_png


def photos():
    """Sixteen different pictures of photographs: the quarters of four, 160 x 134 px."""
    found = []
    for _, data in demonstration_photos():
        with Image.open(io.BytesIO(data)) as opened:
            photo = opened.convert("RGB")
        w, h = photo.width // 2, photo.height // 2
        for x in (0, w):
            for y in (0, h):
                found.append(photo.crop((x, y, x + w, y + h)).resize((160, 134), Image.Resampling.LANCZOS))
    return found


def jpeg(image, quality=90, **settings):
    """The bytes of a JPEG."""
    written = io.BytesIO()
    image.save(written, "JPEG", quality=quality, **settings)
    return written.getvalue()


def troubled_folder(root):
    """Write the folder; the comments say which trouble each file is."""
    photo = photos()
    for folder in ("Training/cat", "Training/dog", "val/cat", "val/dog", "val/fish"):
        (root / folder).mkdir(parents=True)
    train, val = root / "Training", root / "val"

    def put(path, data):
        path.write_bytes(data)

    put(train / "cat" / "plain.jpg", jpeg(photo[0]))
    put(train / "cat" / "copy.jpg", jpeg(photo[0]))  # same bytes in the split and class
    put(train / "dog" / "copy.jpg", jpeg(photo[1]))
    put(train / "cat" / "other_label.jpg", jpeg(photo[1]))  # same bytes, another class
    put(train / "cat" / "broken.jpg", jpeg(photo[2])[:700])
    put(train / "cat" / "empty.jpg", b"")
    put(train / "cat" / "text.png", b"no picture at all")
    Image.new("RGB", (90, 90), (40, 80, 120)).save(train / "cat" / "constant.png")
    deep = np.asarray(photo[3].convert("L")).astype(np.uint16) * 16
    Image.fromarray(deep).save(train / "cat" / "deep.png")  # 12 bits in 16
    exif = Image.Exif()
    exif[0x0112] = 6
    put(train / "dog" / "turned.jpg", jpeg(photo[4].resize((120, 60)), exif=exif))
    photo[5].convert("CMYK").save(train / "dog" / "print.jpg")
    photo[6].convert("P").save(train / "dog" / "palette.png")
    photo[7].convert("L").save(train / "dog" / "grey.png")
    alpha = photo[8].copy()
    alpha.putalpha(200)
    alpha.save(train / "dog" / "alpha.png")
    photo[9].save(train / "dog" / "moving.gif", save_all=True, append_images=[photo[10]])
    photo[11].resize((40, 30)).save(train / "dog" / "small.png")
    photo[12].save(train / "dog" / "is_png.jpg", "PNG")  # promises another format
    put(train / "dog" / os.fsdecode(b"caf\xe9.jpg"), jpeg(photo[13]))
    put(val / "cat" / "same.jpg", jpeg(photo[0]))  # leak, same bytes
    mirrored = ImageOps.mirror(photo[13])
    put(val / "dog" / "mirrored.jpg", jpeg(mirrored, 70))  # leak, mirrored
    larger = photo[12].resize((240, 200), Image.Resampling.BICUBIC)
    put(val / "dog" / "resized.jpg", jpeg(larger, 60))  # leak, re-encoded and resized
    put(val / "fish" / "only_here.jpg", jpeg(photo[14]))  # class that train lacks
    put(val / "fish" / "<b>&name.jpg", jpeg(photo[15]))
    put(root / "stray.jpg", jpeg(photo[10]))
    put(root / "notes.txt", b"notes")
    put(train / "cat" / ".hidden.jpg", jpeg(photo[10]))
    save_png(photo[10], train / "cat" / "sheet.png")  # an output of lowzoo
    (train / "cat" / "round").symlink_to(train)
    (train / "cat" / "nowhere.jpg").symlink_to(root / "gone.jpg")
    return root
