"""`lowzoo convert CHECKPOINT --out DIR`: a checkpoint as a folder that timm loads."""

import json
from pathlib import Path
from typing import Annotated

import typer

from lowzoo.base.errors import LowzooError
from lowzoo.checkpoints.early import refuse_architecture, refuse_checkpoint, refuse_misfit, refuse_unpublished


def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="The file: .pth, .pth.tar, .ckpt, .bin or .safetensors.",
            metavar="CHECKPOINT",
            callback=refuse_checkpoint,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write to.", metavar="DIR")],
    arch: Annotated[
        str | None,
        typer.Option(
            help="Of anybody's checkpoint: timm's name of its architecture; with a tag (resnet18.a1_in1k) images are "
            "prepared as for those weights.",
            metavar="NAME",
            callback=refuse_architecture,
        ),
    ] = None,
    branch: Annotated[
        str,
        typer.Option(help="With --arch: which copy, e.g. state_dict_ema, student; an EMA copy if absent.", metavar="B"),
    ] = "",
    family: Annotated[
        str | None,
        typer.Option(help="Of a published checkpoint: what it is, e.g. seed_r18; recognised if absent.", metavar="F"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace another model in the folder.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Convert a CHECKPOINT to safetensors: a published student's or teacher's, or with --arch anybody's.

    Nothing in the file is run; tensors go by name, all of the network is filled, and what is left out is said. The
    folder loads with timm.create_model("local-dir:DIR", pretrained=True). The other commands take the file itself,
    where a MODEL or a teacher is named: ARCH@FILE, or ARCH@FILE#BRANCH.
    """
    if arch and family:
        raise LowzooError("a family has its architecture", "Give --arch or --family")
    if branch and not arch:
        raise LowzooError("--branch goes with --arch", "Give both")
    if arch:
        refuse_misfit(checkpoint, arch, branch)
    else:
        refuse_unpublished(checkpoint, family)
    from lowzoo.checkpoints.folder import convert_foreign, convert_to_folder

    if arch:
        foreign = convert_foreign(checkpoint, out, arch, branch, force=force)
        what = foreign.describe(checkpoint)
        architecture, arguments, state, positions = arch.partition(".")[0], foreign.arguments, foreign.state, "timm"
        facts: dict[str, object] = {
            "place": foreign.place,
            "others": list(foreign.others),
            "left_out": foreign.left_out,
        }
    else:
        converted = convert_to_folder(checkpoint, out, family, force=force)
        found, state = converted.family, converted.state
        architecture, arguments, positions = found.architecture, dict(found.arguments), found.positions
        left = f"left out {converted.left_out}" if converted.left_out else "none left over"
        what = f"{checkpoint.name} is {found.name}: {found.architecture}, {len(state)} tensors; {left}"
        facts = {"family": found.name, "left_out": converted.left_out}
    needs = architecture.startswith(("lowzoo_", "seed_"))
    parameters = sum(value.numel() for key, value in state.items() if value.is_floating_point())
    if json_:
        facts |= {
            "architecture": architecture,
            "arguments": arguments,
            "needs_lowzoo": needs,
            "tensors": len(state),
            "out": str(out),
        }
        print(json.dumps(facts, indent=2))
        return
    print(what)
    print(f"wrote {out / 'model.safetensors'} ({parameters * 4 / 1e6:.1f} MB) and {out / 'config.json'}")
    lines = ["import lowzoo, timm" if needs else "import timm"]
    lines.append(f'model = timm.create_model("local-dir:{out}", pretrained=True)')
    print("\n".join(f"    {line}" for line in lines))
    if positions != "timm":
        print(
            "For other sizes than 224 px timm resamples the positions by its own rule, "
            "which changes features; lowzoo's commands follow the authors' rule."
        )
