"""The photometric operations against torchvision and PIL, on the pixels of photographs."""

from collections.abc import Callable
from itertools import permutations
from types import ModuleType

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tv
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor

from lowzoo.data.pixels.decode import decode_rgb
from lowzoo.data.stores.samples import demonstration_photos
from lowzoo.train.views import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ViewGroup,
    batched,
    crop_views,
    per_image,
    photometric,
    sample_params,
)
from lowzoo.train.views.operations import gaussian_kernels
from lowzoo.train.views.params import GRAY, ORDER, SIGMA, SOLARISE

PIL_JITTER = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
OFF = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
# In [0, 255]; the bound for the mean difference.
BOUND = 2.0
Finish = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(scope="module", params=[per_image, batched], ids=lambda way: way.__name__.rpartition(".")[2])
def normalised(request: pytest.FixtureRequest) -> Finish:
    """Both ways of finishing views, a GPU's on the CPU."""
    return lambda pixels, params: request.param.change_colours(pixels, params, IMAGENET_MEAN, IMAGENET_STD)


@pytest.fixture(scope="module")
def finish(normalised: Finish) -> Finish:
    """Values in [0, 255]."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return lambda pixels, params: (normalised(pixels, params) * std + mean) * 255


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """(16, 3, 64, 64) uint8: four crops of each photograph."""
    groups = [ViewGroup(name="global", count=4, size=64, scale=(0.1, 1.0))]
    crops = []
    for index, (name, data) in enumerate(demonstration_photos()):
        image = decode_rgb(data, name)
        crops.append(crop_views(image, sample_params(groups, 1, 0, index, *image.shape[:2]), groups)[0])
    return torch.from_numpy(np.concatenate(crops))


@pytest.fixture(scope="module")
def drawn() -> Tensor:
    """(16, 8): strong jitter, and every operation in half of the images or more."""
    groups = [
        ViewGroup(
            name="global", count=4, size=64, scale=(0.1, 1.0), jitter=(0.8, 0.8, 0.8, 0.2), blur=(0.5,), solarise=(0.5,)
        )
    ]
    return torch.from_numpy(np.concatenate([sample_params(groups, 5, 0, i, 64, 64).photometric for i in range(4)]))


def reference(pixels: Tensor, params: Tensor) -> Tensor:
    """One image (3, H, W) through PIL."""
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    row = params.tolist()
    for operation in list(permutations(range(4)))[int(row[ORDER])]:
        if row[operation] != OFF[operation]:
            image = PIL_JITTER[operation](image, row[operation])
    if row[GRAY]:
        image = tv.to_grayscale(image, 3)
    if row[SIGMA]:
        image = image.filter(ImageFilter.GaussianBlur(radius=row[SIGMA]))
    if row[SOLARISE]:
        image = ImageOps.solarize(image)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


def settings(**columns: float) -> Tensor:
    names = ["brightness", "contrast", "saturation", "hue", "order", "gray", "sigma", "solarise"]
    return torch.tensor([columns.get(name, off) for name, off in zip(names, OFF, strict=True)])


@pytest.mark.parametrize(
    "row",
    [
        settings(),
        settings(brightness=0.2),
        settings(brightness=1.7),
        settings(contrast=0.2),
        settings(contrast=1.8),
        settings(saturation=0.1),
        settings(saturation=1.8),
        settings(hue=0.2),
        settings(hue=-0.35),
        settings(hue=0.5),
        settings(gray=1.0),
        settings(sigma=0.1),
        settings(sigma=0.7),
        settings(sigma=2.0),
        settings(sigma=5.0),
        settings(solarise=1.0),
    ],
    ids=str,
)
def test_each_operation_agrees_with_pil(finish: Finish, pixels: Tensor, row: Tensor) -> None:
    ours = finish(pixels, row.expand(len(pixels), -1))
    theirs = torch.stack([reference(image, row) for image in pixels])
    assert (ours - theirs).abs().mean((1, 2, 3)).max() < BOUND


@pytest.mark.parametrize("order", range(24))
def test_the_jitter_is_applied_in_the_drawn_order(finish: Finish, pixels: Tensor, order: int) -> None:
    strong = {"brightness": 1.6, "contrast": 1.7, "saturation": 0.4, "hue": 0.15}
    row = settings(**strong, order=order)
    theirs = torch.stack([reference(image, row) for image in pixels])
    differences = [
        (finish(pixels, settings(**strong, order=other).expand(16, 8)) - theirs).abs().mean() for other in range(24)
    ]
    assert differences[order] < BOUND
    assert min(differences) == differences[order]


def test_the_whole_chain_agrees_with_pil(finish: Finish, pixels: Tensor, drawn: Tensor) -> None:
    theirs = torch.stack([reference(image, row) for image, row in zip(pixels, drawn, strict=True)])
    assert (finish(pixels, drawn) - theirs).abs().mean() < BOUND


def test_an_image_does_not_depend_on_its_batch(
    normalised: Finish, pixels: Tensor, drawn: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = normalised(pixels, drawn)
    alone = torch.cat([normalised(pixels[i : i + 1], drawn[i : i + 1]) for i in range(len(pixels))])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    turned = torch.arange(len(pixels)).roll(5)
    torch.testing.assert_close(normalised(pixels[turned], drawn[turned]), together[turned], rtol=0, atol=1e-5)
    monkeypatch.setattr(batched, "_CHUNK", 3 * 3 * 64 * 64)
    torch.testing.assert_close(normalised(pixels, drawn), together, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 5), (1, 64), (1, 1)])
def test_an_accelerators_way_and_a_processors_agree(pixels: Tensor, height: int, width: int) -> None:
    rows = [
        settings(brightness=b, contrast=c, saturation=s, hue=hue, order=order, gray=gray, sigma=sigma, solarise=dark)
        for order in range(24)
        for b, c, s, hue in ((1.5, 0.6, 1.7, 0.35), (0.5, 1.6, 0.3, -0.35), (1.0, 1.0, 1.4, 0.0))
        for gray, sigma, dark in ((0, 0, 0), (0, 1.7, 1), (1, 0.4, 0), (1, 0, 1))
    ]
    images = pixels.repeat(18, 1, 1, 1)[:, :, :height, :width]
    settings_of_both = images, torch.stack(rows), IMAGENET_MEAN, IMAGENET_STD
    ours, theirs = (way.change_colours(*settings_of_both) for way in (per_image, batched))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_the_result_has_the_default_type(pixels: Tensor, drawn: Tensor) -> None:
    single = photometric(pixels, drawn)
    torch.set_default_dtype(torch.float64)
    try:
        double = photometric(pixels, drawn)
    finally:
        torch.set_default_dtype(torch.float32)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=0, atol=1e-6)


def test_threads_share_the_images(pixels: Tensor, drawn: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = photometric(pixels, drawn)
    for threads in (1, 3, 40):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        # Elsewhere in the batch, lest memory of the last result, given back unwritten, should pass.
        turned = torch.arange(len(pixels)).roll(threads)
        torch.testing.assert_close(photometric(pixels[turned], drawn[turned]), whole[turned], rtol=0, atol=1e-5)


def test_a_processors_pixels_are_interleaved(pixels: Tensor, drawn: Tensor) -> None:
    assert photometric(pixels, drawn).is_contiguous(memory_format=torch.channels_last)


def test_blur_kernels_have_the_stated_width() -> None:
    sigma = torch.tensor([0.0, 0.1, 0.3, 1.0, 1.4, 1.42, 2.0, 5.0])
    kernels, radii = gaussian_kernels(sigma)
    assert radii == [0, 3, 3, 3, 3, 6, 6, 15]
    assert kernels.shape == (8, 16)
    for kernel, radius in zip(kernels, radii, strict=True):
        assert (kernel[radius + 1 :].abs() < 1e-7).all()
    both = torch.cat((kernels.flip(1)[:, :-1], kernels), 1)
    torch.testing.assert_close(both.sum(1), torch.ones(8))
    torch.testing.assert_close((both * torch.arange(-15, 16) ** 2).sum(1), sigma**2, rtol=1e-4, atol=1e-5)


def test_the_same_call_gives_the_same_bits_and_leaves_its_input(
    normalised: Finish, pixels: Tensor, drawn: Tensor
) -> None:
    before = pixels.clone()
    assert torch.equal(normalised(pixels, drawn), normalised(pixels, drawn))
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("way", [per_image, batched], ids=["per_image", "batched"])
def test_nothing_to_do_is_plain_normalisation(way: ModuleType, pixels: Tensor) -> None:
    ours = way.change_colours(pixels, settings().expand(16, 8), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    theirs = tv.normalize(pixels / 255, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_one_colour_stays_one_colour(finish: Finish) -> None:
    levels = torch.tensor([0, 1, 127, 128, 255], dtype=torch.uint8)
    flat = levels.view(5, 1, 1, 1).expand(5, 3, 12, 20).contiguous()
    rows = settings(saturation=1.8, hue=0.3, sigma=2.0).expand(5, 8)
    torch.testing.assert_close(finish(flat, rows), flat.float(), rtol=0, atol=1e-3)
    inverted = finish(flat, settings(solarise=1.0).expand(5, 8))[:, 0, 0, 0]
    torch.testing.assert_close(inverted, torch.tensor([0.0, 1.0, 127.0, 127.0, 0.0]), rtol=0, atol=1e-3)


def test_pure_colours_turn_by_thirds(finish: Finish) -> None:
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 8, 8)
    rows = torch.stack([settings(hue=1 / 3), settings(hue=-1 / 3)])
    green, blue = finish(red.contiguous(), rows)[:, :, 0, 0]
    torch.testing.assert_close(green, torch.tensor([0.0, 255.0, 0.0]), rtol=0, atol=1e-2)
    torch.testing.assert_close(blue, torch.tensor([0.0, 0.0, 255.0]), rtol=0, atol=1e-2)


def test_no_views_give_no_views(normalised: Finish) -> None:
    empty = normalised(torch.empty(0, 3, 32, 32, dtype=torch.uint8), torch.empty(0, 8))
    assert empty.shape == (0, 3, 32, 32)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_agrees_and_is_never_waited_for(pixels: Tensor, drawn: Tensor) -> None:
    on_device = pixels.cuda()
    photometric(on_device, drawn)
    torch.cuda.set_sync_debug_mode("error")
    try:
        ours = photometric(on_device, drawn)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(ours.cpu(), photometric(pixels, drawn), rtol=0, atol=1e-3)
