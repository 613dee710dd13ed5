"""Pictures whose colour is their class, and a network that sees colours."""

import json

import numpy as np
import timm
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from lowzoo.zoo.resolve import Resolved

COLOURS = {"blue": (90, 90, 150), "green": (90, 150, 90), "red": (150, 90, 90)}


def write_pictures(folder, counts, *, noise=20, seed=0):
    """Write `counts[split]` pictures of each class to folder/split/class/."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.array(colour) + rng.normal(0, noise, 3) + rng.integers(-9, 9, (20, 24, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / split / name / f"{name}{i}.png")
    return folder


def pixel_network(model=None):
    """A network of 12 features, or `model` wrapped."""
    model = model or nn.Sequential(nn.AvgPool2d(4), nn.Flatten())
    return Resolved(model.eval(), "pixels", "1", (3, 8, 8), (0.5,) * 3, (0.2,) * 3, "bilinear", 1.0, "MIT", "", True)


def write_network(folder):
    """Write a ResNet-18 with random weights for pictures of 32 px, as `local-dir:` loads it."""
    folder.mkdir()
    save_file(timm.create_model("resnet18", num_classes=0).state_dict(), folder / "model.safetensors")
    cfg = {
        "input_size": [3, 32, 32],
        "crop_pct": 1.0,
        "num_classes": 0,
        "first_conv": "conv1",
        "classifier": "fc",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "interpolation": "bilinear",
    }
    config = {"architecture": "resnet18", "num_classes": 0, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
