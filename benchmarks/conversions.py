"""Convert a random checkpoint of every published layout and compare its features with the authors' network.

    python benchmarks/conversions.py [FAMILY ...] [--out benchmarks/results/conversions.json]

Goes through every family of `lowzoo convert` at its true size, the largest included, which the tests leave out; needs
about 10 GB of memory. Each folder is loaded by `timm.create_model("local-dir:DIR")` and compared at 224 px and at
another size with the authors' network, written out once more in `tests/helpers/published_networks.py`. A ViT resamples
its positions for the other size, and each family has its own rule: timm's own network is held against timm's rule, and
the network with the family's rule (`lowzoo.zoo.architectures.positions`) against the authors'.

Writes the figures as JSON and, beside it, as a table in Markdown; families that are not named keep their rows. Exits
with 1 if a difference is above 1e-5 of the largest feature.
"""

import argparse
import gc
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import timm
import torch

import lowzoo
from lowzoo.bench.host.machine import this_device
from lowzoo.checkpoints.families.published import FAMILIES
from lowzoo.checkpoints.folder import convert_to_folder
from lowzoo.io.files import write_text
from lowzoo.zoo.architectures.positions import set_position_rule

ROOT = Path(__file__).parent.parent
OUT = Path(__file__).parent / "results" / "conversions.json"
BOUND = 1e-5
sys.path.insert(0, str(ROOT))

from tests.helpers.published_files import make_content, save  # noqa: E402 - the tests are no installed package
from tests.helpers.published_networks import reference  # noqa: E402


@torch.no_grad()
def compare(name: str, folder: Path) -> dict[str, Any]:
    """Largest difference of the features, and their largest value, by size of images and rule for positions."""
    content, wanted = make_content(name)
    path = save(content, folder / "checkpoint")
    del content
    converted = convert_to_folder(path, folder / "model")
    family = converted.family
    assert family.name == name, "recognised by itself"
    path.unlink()
    is_vit = family.architecture.startswith("vit")
    arguments = {"dynamic_img_size": True} if is_vit else {}
    model = timm.create_model(f"local-dir:{folder / 'model'}", pretrained=True, **arguments).eval()
    patch = family.arguments.get("patch_size", 16)
    other = 96 if 96 % patch == 0 else 98
    cases = [(224, "")] + ([(other, "timm"), (other, family.positions)] if is_vit else [(other, "")])
    found = []
    for size, rule in cases:
        if rule not in ("", "timm"):
            set_position_rule(model, rule)
        images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
        expected = reference(name, positions=rule or "timm")(wanted, images)
        found.append(
            {
                "pixels": size,
                "positions": rule,
                "max_difference": float((model(images) - expected).abs().max()),
                "max_feature": float(expected.abs().max()),
            }
        )
    return {
        "architecture": family.architecture,
        "arguments": dict(family.arguments),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tensors": len(converted.state),
        "comparisons": found,
    }


def table(rows: dict[str, Any], versions: dict[str, str]) -> str:
    """The figures for people."""
    lines = [
        "# Features of converted checkpoints against the authors' networks",
        "",
        f"Written by `benchmarks/conversions.py` with {', '.join(f'{k} {v}' for k, v in versions.items())}: one random "
        "image, random weights in the authors' layout; nothing missing, nothing left over. `positions` is the rule by "
        "which a ViT resamples its position embeddings, in the converted network and in the reference alike.",
        "",
        "| family | network | parameters | pixels | positions | largest difference | largest feature |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for name, row in rows.items():
        network = row["architecture"] + "".join(f", {key}={value}" for key, value in row["arguments"].items())
        lines += [
            f"| {name} | {network} | {row['parameters'] / 1e6:.2f} M | {one['pixels']} | {one['positions']} "
            f"| {one['max_difference']:.1e} | {one['max_feature']:.1f} |"
            for one in row["comparisons"]
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help="all if none")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    known = json.loads(arguments.out.read_text())["rows"] if arguments.out.is_file() else {}
    versions = {"torch": torch.__version__, "timm": timm.__version__, "lowzoo": lowzoo.__version__}
    apart = []
    for name in arguments.families or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            known[name] = compare(name, Path(folder))
        gc.collect()
        for one in known[name]["comparisons"]:
            print(name, one, flush=True)
            if one["max_difference"] > BOUND * max(1.0, one["max_feature"]):
                apart.append(name)
        rows = {name: known[name] for name in FAMILIES if name in known}
        document = {
            "script": "benchmarks/conversions.py",
            "machine": this_device().model_dump(),
            "versions": versions,
            "rows": rows,
        }
        write_text(arguments.out, json.dumps(document, indent=2) + "\n")
        write_text(arguments.out.with_suffix(".md"), table(rows, versions))
    sys.exit(f"differ: {', '.join(dict.fromkeys(apart))}" if apart else 0)


if __name__ == "__main__":
    main()
