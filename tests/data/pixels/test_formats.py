"""Formats by extension, by first bytes and by the decoder of an extra, in a folder, a tar and a zip."""

import io
import tarfile
import zipfile

import pytest
from PIL import Image, features

from lowzoo.data.source import open_source
from tests.helpers.data import add


def encoded(form, shade):
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, shade, shade)).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["HEIF", "AVIF", "JPEG", "TIFF", "JPEG2000", "GIF"])
def test_every_spelling_in_every_store(tmp_path, form):
    extension = {"HEIF": "heic", "AVIF": "avif", "JPEG": "jfif", "TIFF": "tif", "JPEG2000": "jp2", "GIF": "gif"}[form]
    names = [f"1.{extension}", f"2.{extension.upper()}", "3", "scan.4"]
    files = {name: encoded(form, 50 * (i + 1)) for i, name in enumerate(names)}
    (tmp_path / "d").mkdir()
    for name, data in files.items():
        (tmp_path / "d" / name).write_bytes(data)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in files.items():
            add(archive, name, data)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    for word in ("d", "a.tar", "a.zip"):
        source = open_source(tmp_path / word)
        assert source.found.left_out == ()
        assert len(source) == 4
        for i in range(4):
            pixels = source.pixels(i)
            assert pixels.shape == (48, 64, 3)
            assert abs(int(pixels.mean()) - 50 * (i + 1)) <= 3
