"""k-NN top-1 of the bundled models beside their teacher, their random initialisation and raw pixels.

    python benchmarks/knn_bundled.py --data DIR [--device cuda] [--picture docs/classes.png]
    python benchmarks/knn_bundled.py --data DIR --model rob_mobilenetv3_large --alone --seeds 1 --out FILE

DIR holds tiny-imagenet-100 as parquet, columns image and label: 50,000 training images are the bank, 5,000 validation
images the queries. Random initialisation is measured with several seeds. `--picture` draws which classes of photographs
the model can tell, and which it cannot, beside the same network untrained.
"""

import argparse
import json
import re
import statistics
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from lowzoo.bench.host.machine import this_device
from lowzoo.evaluate.knn_protocol import TrainTestData, knn_preset, open_train_test, score_knn
from lowzoo.evaluate.result import EvaluationResult, Scored
from lowzoo.features.extraction import Extraction
from lowzoo.io.files import write_text
from lowzoo.system.device import pick_device
from lowzoo.system.machine import device_name
from lowzoo.train.teachers import load_teacher
from lowzoo.zoo.resolve import Resolved, load_model

OUT = Path(__file__).parent / "results" / "knn_bundled.json"
PIXELS_SIZE = 32  # 64 px of 50,000 images would be 2.5 GB of features
# Classes in the picture, of those that are told best and of those that are told worst.
SHOWN = 12


def like(resolved: Resolved, model: nn.Module, name: str, revision: str, size: int, license: str) -> Resolved:
    """Wrap another network with the preprocessing of `resolved` at another size."""
    return Resolved(
        model=model.eval(),
        name=name,
        revision=revision,
        input_size=(3, size, size),
        mean=resolved.mean,
        std=resolved.std,
        interpolation=resolved.interpolation,
        crop_pct=1.0,
        license=license,
        recipe="",
        trained=name != "raw pixels",
    )


def over_seeds(results: list[EvaluationResult]) -> EvaluationResult:
    """Merge runs that differ in the seed: mean and standard deviation of each figure."""
    figures = []
    for figure, *others in zip(*(result.figures for result in results), strict=True):
        values = [figure.mean, *(other.mean for other in others)]
        std = round(statistics.stdev(values), 4) if others else None
        figures.append(
            figure.model_copy(update={"mean": round(statistics.fmean(values), 4), "std": std, "seeds": len(values)})
        )
    return results[0].model_copy(update={"figures": tuple(figures)})


def by_class(scored: Scored, data: TrainTestData) -> dict[str, float]:
    """Queries of each class that are classified right (k = 20), per cent."""
    right = (scored.predictions == scored.truth).double()
    assert data.queries.class_names is not None
    # They begin with WordNet's number, which tells apart what has one name.
    names = [re.sub(r"^n\d{8} ", "", name) for name in data.queries.class_names]
    if len(set(names)) < len(names):
        names = list(data.queries.class_names)
    of = {name: right[scored.truth == number] for number, name in enumerate(names)}
    return {name: round(100 * float(found.mean()), 1) for name, found in of.items() if len(found)}


def draw(model: str, top1: float, trained: Mapping[str, float], untrained: Mapping[str, float], path: Path) -> None:
    """The classes that are told best and worst."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    order = sorted(trained, key=lambda name: trained[name])
    shown = min(SHOWN, len(order) // 2)
    parts = {"told best": order[-shown:], "told worst": order[:shown]}
    figure, places = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharex=True)
    for axes, (title, names) in zip(places, parts.items(), strict=True):
        axes.barh(names, [trained[name] for name in names], color="tab:green", label=model)
        axes.barh(names, [untrained[name] for name in names], height=0.35, color="tab:grey", label="untrained")
        for row, name in enumerate(names):
            end = max(trained[name], untrained[name])
            axes.text(end + 1, row, f"{trained[name]:.0f}", va="center", fontsize=9)
        axes.set(title=f"the {shown} of {len(order)} classes that are {title}", xlim=(0, 100))
        axes.spines[["top", "right"]].set_visible(False)
    places[1].legend(loc="lower right")
    said = f"photographs of each class that k-NN (k = 20) tells (%); {top1:.1f} over all classes"
    figure.supxlabel(said, fontsize=10)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="tiny-imagenet-100 as parquet")
    parser.add_argument("--model", default="rob_vit_tiny")
    parser.add_argument("--teacher", default="mobilenetv2_supervised")
    parser.add_argument("--teacher-file", default="", help="its checkpoint, where the package is not installed")
    parser.add_argument("--teacher-sizes", type=int, nargs="*", help="input sides in pixels; the model's if absent")
    parser.add_argument("--alone", action="store_true", help="without teacher and pixels, which are the same for all")
    parser.add_argument("--seeds", type=int, default=3, help="random initialisations")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--picture", type=Path, help="draw the classes into this PNG")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    data = open_train_test(arguments.data)
    if arguments.seeds < 1:
        parser.error("--seeds is at least 1")

    classes: dict[str, dict[str, float]] = {}
    how = Extraction(device=device, workers=arguments.workers)

    def measure(resolved: Resolved, kept_as: str = "") -> EvaluationResult:
        scored = score_knn(resolved, data, preset=knn_preset("dino"), how=how)
        if kept_as:
            classes[kept_as] = by_class(scored, data)
        return scored.result

    bundled = load_model(arguments.model)
    rows = {f"{bundled.name}, {bundled.input_size[1]} px": measure(bundled, "trained")}
    for size in () if arguments.alone else arguments.teacher_sizes or [bundled.input_size[1]]:
        teacher = load_teacher(arguments.teacher, size=size, head="fitted", file=arguments.teacher_file)
        facts = teacher.facts
        wrapped = like(bundled, teacher.backbone, facts.name, facts.revision, size, facts.license)
        rows[f"teacher {facts.name} ({facts.training}), {size} px"] = measure(wrapped)
    random = [
        measure(load_model(arguments.model, pretrained=False, seed=seed), "" if seed else "untrained")
        for seed in range(arguments.seeds)
    ]
    rows[f"random initialisation, mean of {len(random)}"] = over_seeds(random)
    if not arguments.alone:
        pixels = like(bundled, nn.Flatten(), "raw pixels", "", PIXELS_SIZE, "")
        rows[f"raw pixels, {PIXELS_SIZE} px"] = measure(pixels)

    ks = rows[next(iter(rows))].settings["k"]
    print(f"bank {len(data.bank)}, queries {len(data.queries)}; top-1 in % for k =")
    print(f"{'':64}" + "".join(f"{k:>8}" for k in ks))
    for name, result in rows.items():
        print(f"{name[:63]:64}" + "".join(f"{figure.mean:8.2f}" for figure in result.figures))
    document = {
        "script": "benchmarks/knn_bundled.py",
        "machine": this_device().model_dump(),
        "device": device_name(device),
        "rows": {name: result.model_dump() for name, result in rows.items()},
        "classes": classes,
    }
    write_text(arguments.out, json.dumps(document, indent=2) + "\n")
    if arguments.picture:
        top1 = rows[next(iter(rows))].figures[ks.index(20)].mean
        draw(bundled.name.split(".")[0], top1, classes["trained"], classes["untrained"], arguments.picture)
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
