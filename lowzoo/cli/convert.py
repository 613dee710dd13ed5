"""`lowzoo convert CHECKPOINT --out DIR`: a published checkpoint as a folder that timm loads."""

import json
from pathlib import Path
from typing import Annotated

import typer


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="The authors' file.", metavar="CHECKPOINT")],
    out: Annotated[Path, typer.Option(help="Folder to write to.", metavar="DIR")],
    family: Annotated[
        str | None, typer.Option(help="What the file is, e.g. seed_r18; recognised if absent.", metavar="F")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace another model in the folder.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Convert a published student's or teacher's CHECKPOINT to safetensors.

    Nothing in the file is run; tensors go by name, all of the network is filled and nothing is left over. The folder
    loads with timm.create_model("local-dir:DIR", pretrained=True).
    """
    from lowzoo.convert.folder import convert_to_folder

    converted = convert_to_folder(checkpoint, out, family, force=force)
    found = converted.family
    needs = found.architecture.startswith(("lowzoo_", "seed_"))
    parameters = sum(value.numel() for key, value in converted.state.items() if value.is_floating_point())
    if json_:
        facts = {
            "family": found.name,
            "architecture": found.architecture,
            "arguments": dict(found.arguments),
            "needs_lowzoo": needs,
            "tensors": len(converted.state),
            "out": str(out),
        }
        print(json.dumps(facts, indent=2))
        return
    print(f"{checkpoint.name} is {found.name}: {found.architecture}, {len(converted.state)} tensors, none left over")
    print(f"wrote {out / 'model.safetensors'} ({parameters * 4 / 1e6:.1f} MB) and {out / 'config.json'}")
    lines = ["import lowzoo, timm" if needs else "import timm"]
    lines.append(f'model = timm.create_model("local-dir:{out}", pretrained=True)')
    print("\n".join(f"    {line}" for line in lines))
    if found.positions != "timm":
        print(
            "For other sizes than 224 px timm resamples the positions by its own rule, "
            "which changes features; lowzoo's commands follow the authors' rule."
        )
