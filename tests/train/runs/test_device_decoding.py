"""Photographs that a device decodes: the views of the CPU's decoders, with the CPU's in nvJPEG's place."""

import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels import orientation
from lowzoo.data.pixels.decode import Rules, decode_rgb
from lowzoo.data.pixels.jpeg import plain_jpeg
from lowzoo.data.source import open_source
from lowzoo.system.processes import joined
from lowzoo.train.data import view_batch
from lowzoo.train.data.dataset import EpochBatches, ViewDataset, make_loader
from lowzoo.train.data.view_batch import ViewBatch
from lowzoo.train.runs import device_decoding
from lowzoo.train.runs.device_decoding import DeviceDecoder, require_decoder, resized, upright
from lowzoo.train.runs.loop import Run
from lowzoo.train.views import ViewGroup
from tests.helpers.device_trace import ON_GPU, traced_steps
from tests.helpers.forked_processes import run_to_the_end
from tests.helpers.train import config_of

pytest.importorskip("cv2")
CPU = torch.device("cpu")
GROUPS = (
    ViewGroup(name="global", count=2, size=32, scale=(0.4, 1.0), interpolation="bicubic"),
    ViewGroup(name="local", count=2, size=16, scale=(0.1, 0.4)),
)


def _photo(mode: str = "RGB", size: tuple[int, int] = (90, 70), **options: object) -> bytes:
    rng = np.random.default_rng(len(mode) + size[0])
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    content = io.BytesIO()
    kind = str(options.pop("format", "JPEG"))
    if turn := options.pop("turn", None):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = turn  # type: ignore[index]
    small.resize(size, Image.Resampling.BICUBIC).convert(mode).save(content, kind, **options)
    return content.getvalue()


def _damaged(photo: bytes) -> bytes:
    """A JPEG whose header is right, and without the tables that its pixels need."""
    return photo.replace(b"\xff\xdb", b"\xff\xef")


def _by_cpu(files: Sequence[Tensor], grey: bool, place: torch.device | str = CPU) -> list[Tensor]:
    """The CPU's decoder in nvJPEG's place: it does not turn, gives one plane of grey, and raises for all at once."""
    found = []
    for file in files:
        try:
            pixels = torch.from_numpy(decode_rgb(file.numpy().tobytes(), "a file", Rules("stored")))
        except LowzooError as error:
            raise RuntimeError("nvjpegDecode failed") from error
        found.append(pixels.permute(2, 0, 1)[: 1 if grey else 3].to(place, non_blocking=True))
    return found


def _write(folder: Path, **photos: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in photos.items():
        suffix = "png" if content[:4] == b"\x89PNG" else "jpg"
        (folder / f"{name}.{suffix}").write_bytes(content)
    return folder


def _batch(folder: Path, on_device: bool) -> ViewBatch:
    source = open_source(folder)
    dataset = ViewDataset(source, GROUPS, 3, whole=True, on_device=on_device)
    return dataset.__getitems__([(0, index) for index in range(len(source))])


def test_what_a_device_decodes_as_the_cpu_does() -> None:
    for content, components in ((_photo(), 3), (_photo("L"), 1), (_photo(progressive=True), 3)):
        jpeg = plain_jpeg(content)
        assert jpeg is not None
        assert (jpeg.components, jpeg.bits, jpeg.height, jpeg.width) == (components, 8, 70, 90)
        assert jpeg.chroma == (components == 3)
    colours = plain_jpeg(_photo(keep_rgb=True))
    assert colours is not None
    assert not colours.chroma
    turned = plain_jpeg(_photo(turn=6))
    assert turned is not None
    assert (turned.turn("exif"), turned.size("exif"), turned.size("stored")) == (6, (90, 70), (70, 90))
    assert plain_jpeg(_photo("CMYK")) is None
    assert plain_jpeg(_photo(format="PNG")) is None
    assert plain_jpeg(_photo()[:-40]) is None


@pytest.mark.parametrize("turn", range(1, 9))
def test_planes_turn_as_pixels_do(turn: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    found = upright(torch.from_numpy(pixels).permute(2, 0, 1), turn).permute(1, 2, 0)
    np.testing.assert_array_equal(found.numpy(), orientation.upright(pixels, turn))


@pytest.mark.parametrize("filter_", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(70, 90), (16, 50), (9, 7), (16, 16)])
def test_a_resize_in_floats_is_that_of_bytes(filter_: str, shape: tuple[int, int]) -> None:
    noise = torch.randint(0, 256, (3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    noise = torch.where(noise > 100, 255, 0).to(torch.uint8)  # edges, where a cubic filter overshoots
    wanted = interpolate(noise[None], (16, 16), mode=filter_, antialias=True)[0]
    assert (resized(noise, 16, filter_).int() - wanted.int()).abs().max() <= 1


def test_views_are_those_of_the_cpu(tmp_path: Path) -> None:
    folder = _write(
        tmp_path / "p",
        a=_photo(),
        b=_photo("L"),
        c=_photo(turn=6),
        d=_photo(format="PNG"),
        e=_photo("CMYK"),
        f=_photo(keep_rgb=True),
        g=_photo("L", turn=7, size=(60, 80)),
        h=_photo(progressive=True),
    )
    wanted, batch = _batch(folder, on_device=False), _batch(folder, on_device=True)
    assert ([each.row for each in batch.waiting], batch.by_cpu, wanted.by_cpu) == ([0, 1, 2, 6, 7], 3, 0)
    decoder = DeviceDecoder(GROUPS, CPU, _by_cpu)
    decoder.fill(batch.crops, batch)
    assert torch.equal(batch.records, wanted.records)
    for found, crops in zip(batch.crops, wanted.crops, strict=True):
        assert (found.int() - crops.int()).abs().max() <= 1
    assert (decoder.counts.by_cpu, decoder.counts.bad) == (0, [])


def test_what_the_device_refuses_goes_to_the_cpu_and_what_nobody_reads_is_replaced(tmp_path: Path) -> None:
    folder = _write(tmp_path / "p", a=_photo(), b=_damaged(_photo()), c=_photo(turn=3, size=(50, 40)))
    batch = _batch(folder, on_device=True)
    wanted = _batch(_write(tmp_path / "q", a=_photo(), b=_photo(), c=_photo(turn=3, size=(50, 40))), on_device=False)

    def refuses_small_ones(files: list[Tensor], grey: bool) -> list[Tensor]:
        if any(len(file) < 2 or plain_jpeg(file.numpy().tobytes()).width == 50 for file in files):  # type: ignore[union-attr]
            raise RuntimeError("no such subsampling")
        return _by_cpu(files, grey)

    decoder = DeviceDecoder(GROUPS, CPU, refuses_small_ones)
    decoder.fill(batch.crops, batch)
    taken = decoder.counts.take()
    assert taken.by_cpu == 1
    assert len(taken.bad) == 1
    assert "b.jpg is not a readable image" in taken.bad[0]
    assert decoder.counts.take().by_cpu == 0
    for found, crops in zip(batch.crops, wanted.crops, strict=True):
        assert (found[[0, 2]].int() - crops[[0, 2]].int()).abs().max() <= 1
        assert torch.equal(found[1], found[0])
    assert batch.indices.tolist() == [0, 0, 2]
    assert torch.equal(batch.photometric[1], batch.photometric[0])
    nothing = _batch(_write(tmp_path / "r", a=_damaged(_photo())), on_device=True)
    with pytest.raises(LowzooError, match=r"no image of a whole batch can be read; of the first: .*r/a\.jpg is not"):
        decoder.fill(nothing.crops, nothing)


def test_a_photograph_of_too_many_pixels_is_left_to_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_batch, "MOST_PIXELS", 90 * 70)
    batch = _batch(_write(tmp_path / "p", a=_photo(), b=_photo(size=(91, 70))), on_device=True)
    assert ([each.row for each in batch.waiting], batch.by_cpu) == ([0], 1)


def test_files_come_from_a_worker_as_they_are(tmp_path: Path) -> None:
    folder = _write(tmp_path / "p", a=_photo(), b=_photo("L"), c=_photo(format="PNG"), d=_photo(turn=8))
    source = open_source(folder)
    dataset = ViewDataset(source, GROUPS, 3, whole=True, on_device=True)
    (batch,) = make_loader(dataset, EpochBatches(4, 4, epochs=1, seed=0), workers=1, pin=False)
    wanted = _batch(folder, on_device=False)
    assert len(batch.waiting) == 3
    DeviceDecoder(GROUPS, CPU, _by_cpu).fill(batch.crops, batch)
    for found, crops in zip(batch.crops, wanted.crops, strict=True):
        assert (found.int() - crops[batch.indices].int()).abs().max() <= 1


def test_too_many_pixels_are_decoded_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _write(tmp_path / "p", a=_photo(), b=_photo("L"), c=_photo(), d=_photo())
    monkeypatch.setattr(device_decoding, "MOST_PIXELS", 2 * 90 * 70)
    calls: list[tuple[int, bool]] = []

    def noted(files: list[Tensor], grey: bool) -> list[Tensor]:
        calls.append((len(files), grey))
        return _by_cpu(files, grey)

    batch = _batch(folder, on_device=True)
    DeviceDecoder(GROUPS, CPU, noted).fill(batch.crops, batch)
    assert calls == [(2, False), (1, False), (1, True)]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for number in range(12):
        folder = tmp_path / "photos" / "train" / ("cold", "warm")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        modes = ("L" if number == 5 else "RGB"), (100 + number, 80)
        (folder / f"{number:02}.jpg").write_bytes(_photo(*modes, turn=6 if number % 3 == 0 else None))
    return tmp_path / "photos"


@pytest.mark.parametrize("more", [(), pytest.param(("ahead=true",), marks=pytest.mark.slow)])
def test_on_a_gpu_nothing_waits(
    more: tuple[str, ...], photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def on_cuda(files: list[Tensor], grey: bool) -> list[Tensor]:
        decoded.append(len(files))
        return _by_cpu(files, grey, "cuda")

    monkeypatch.setattr(device_decoding, "by_nvjpeg", lambda _: on_cuda)
    config = config_of("sslight_dino", photographs, *ON_GPU, "decode=device", *more)
    trace = traced_steps(photographs, tmp_path / "run", config)
    assert trace.waits == []
    assert sum(decoded) >= 3 * config.batch_size


def test_no_gpu_no_decoder(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(LowzooError, match="decode=device is for a CUDA GPU, and this run is on cpu"):
        Run(config_of("sslight_dino", photographs, "decode=device"), open_source(photographs), None, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    if not torch.cuda.is_available():
        with pytest.raises(LowzooError, match="needs nvJPEG"):
            require_decoder(torch.device("cuda"))


def _count(out: Path) -> None:
    rank = joined().rank
    run: Any = SimpleNamespace(config=SimpleNamespace(decode="device"), by_cpu=rank + 2)
    (out / f"{rank}.txt").write_text(str(Run.decoded_by_cpu(run)))


def test_what_the_cpu_decoded_is_counted_in_all_processes(tmp_path: Path) -> None:
    run_to_the_end(2, _count, tmp_path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["5", "5"]
