"""Names and shapes of every architecture's tensors, for `lowzoo/catalog/shapes.zip`; each timm supported is compared.

    python benchmarks/architecture_shapes.py --list FILE.json      # what the timm that is here has
    python benchmarks/architecture_shapes.py OLDEST.json NEWEST.json    # the package's own file, from two such lists

An architecture whose tensors differ between the two timm releases is printed, and told for the newest alone; with any
other it is judged by timm itself, as is everything with a timm that is older than the one or newer than the other.
Networks are built without memory where their code allows it; the list takes some ten minutes.
"""

import argparse
import json
import warnings
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from lowzoo.catalog.shapes import FILE, INDEX, Skeleton
from lowzoo.io.files import atomic_path, write_text

OUT = Path(__file__).parent.parent / "lowzoo" / "catalog" / FILE
# The same bytes whenever it is written.
_DATE = (1980, 1, 1, 0, 0, 0)


def listed() -> dict[str, Any]:
    """What the timm that is here registers, the zoo's own names included, by module."""
    import timm
    import torch
    from timm.models._registry import _model_to_module

    import lowzoo  # noqa: F401  registers the zoo's own
    from lowzoo.checkpoints.foreign import timm_skeleton

    found: dict[str, list[str]] = {}
    for name, module in sorted(_model_to_module.items()):
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            try:
                found[name] = [module, timm_skeleton(name).encode()]
            except Exception as error:  # a network that this machine cannot build, whatever the reason
                print(f"{name} is left out: {error}", flush=True)
    return {"timm": timm.__version__, "architectures": found}


def write(oldest: dict[str, Any], newest: dict[str, Any], out: Path) -> None:
    """The package's own file."""
    members: dict[str, list[str]] = defaultdict(list)
    index = [f"{oldest['timm']} {newest['timm']}"]
    for name, (module, line) in newest["architectures"].items():
        only = ""
        if oldest["architectures"].get(name, (module, line))[1] != line:
            print(f"{name} has other tensors in timm {oldest['timm']}")
            only = f" {newest['timm']}"
        assert Skeleton.decode(line).encode() == line
        if line not in members[module]:
            members[module].append(line)
        index.append(f"{name} {module} {members[module].index(line)}{only}")
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_LZMA) as archive:
        for name, lines in sorted({**members, INDEX: index}.items()):
            archive.writestr(zipfile.ZipInfo(name, _DATE), "\n".join(lines), zipfile.ZIP_LZMA)
    print(f"{len(index) - 1} architectures, {out.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", nargs="*", type=Path, metavar="FILE.json", help="of the oldest and the newest timm")
    parser.add_argument("--list", type=Path, metavar="FILE.json", help="write what the timm that is here has")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.list:
        write_text(arguments.list, json.dumps(listed(), indent=0) + "\n")
    elif len(arguments.lists) == 2:
        write(*(json.loads(path.read_text()) for path in arguments.lists), arguments.out)
    else:
        parser.error("give two lists, or --list")


if __name__ == "__main__":
    main()
