"""Turn a finished run into bundled weights: fp16 backbone and projection head in lowzoo/zoo/weights/.

    python benchmarks/bundle_weights.py runs/tin100 rob_vit_tiny.mobilenetv2_sup_tin100 --size 128

With `--size` a network with positions gets those of images of that side. The patch-drop of training and everything else
that is not a weight stays behind. Prints sizes and the digest that `lowzoo info` will show.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

import lowzoo
from lowzoo.io.safetensors_file import short_digest
from lowzoo.train.heads.files import load_head, save_head

WEIGHTS = Path(__file__).resolve().parents[1] / "lowzoo" / "zoo" / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("name", help="model.tag of the catalog")
    parser.add_argument("--size", type=int, help="side of the images in pixels; that of training if absent")
    arguments = parser.parse_args()
    state = lowzoo.load(arguments.run, size=arguments.size).model.state_dict()
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    worst = max((value.float() - half[key].float()).abs().max().item() for key, value in state.items())
    backbone = WEIGHTS / f"{arguments.name}.safetensors"
    save_file(half, backbone, metadata={"format": "pt"})
    head, spec, in_dim, out_dim = load_head(arguments.run / "head.safetensors")
    head_file = WEIGHTS / f"{arguments.name}.head.safetensors"
    save_head(head_file, head, spec, in_dim, out_dim, half=True)
    for file in (backbone, head_file):
        file.chmod(0o644)
        print(f"{file.name}: {file.stat().st_size / 1e6:.2f} MB, {short_digest(file)}")
    finite = all(torch.isfinite(value).all() for value in half.values())
    print(f"largest rounding of a weight to fp16: {worst:.1e}; all finite: {finite}")


if __name__ == "__main__":
    main()
