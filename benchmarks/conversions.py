"""Convert a random checkpoint of every published layout and compare its features with the authors' network.

    python benchmarks/conversions.py [FAMILY ...]

Goes through every family of `lowzoo convert` at its true size, the largest included, which the tests leave out; needs
about 10 GB of memory. Writes benchmarks/results/conversions.json.
"""

import gc
import json
import platform
import sys
import tempfile
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

import lowzoo
from lowzoo.convert import FAMILIES, convert_checkpoint

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "conversions.json"
sys.path.insert(0, str(ROOT))

from tests.published_files import make_content, save  # noqa: E402 - the tests are no installed package
from tests.published_networks import reference  # noqa: E402


def compare(name: str, folder: Path) -> dict[str, float]:
    """Largest difference of the features, and their largest value, at 224 px and at another size."""
    content, wanted = make_content(name)
    path = save(content, folder / "checkpoint")
    del content
    family = FAMILIES[name]
    converted = convert_checkpoint(path)
    assert converted.family.name == name, "recognised by itself"
    save_file(converted.state, folder / "model.safetensors")
    tensors = len(converted.state)
    del converted
    path.unlink()
    found: dict[str, float] = {"tensors": tensors}
    patch = family.arguments.get("patch_size", 16)
    for size in (224, 96 if 96 % patch == 0 else 98):
        arguments = {"img_size": size} if "vit" in family.architecture else {}
        model = timm.create_model(
            family.architecture,
            pretrained=True,
            num_classes=0,
            pretrained_cfg_overlay={"file": str(folder / "model.safetensors"), "num_classes": 0, "custom_load": False},
            **family.arguments,
            **arguments,
        ).eval()
        images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            features, expected = model(images), reference(name)(wanted, images)
        found[f"max_difference_{size}px"] = float((features - expected).abs().max())
        found[f"max_feature_{size}px"] = float(expected.abs().max())
        del model
        gc.collect()
    return found


def main() -> None:
    rows = {}
    for name in sys.argv[1:] or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = compare(name, Path(folder))
        print(name, rows[name], flush=True)
        gc.collect()
    if len(sys.argv) == 1:
        versions = {"torch": torch.__version__, "timm": timm.__version__, "lowzoo": lowzoo.__version__}
        machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, CPU"
        content = {"script": "benchmarks/conversions.py", "machine": machine, "versions": versions, "rows": rows}
        RESULT.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
