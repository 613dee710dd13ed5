"""Latencies that Qualcomm publishes for phones and laptops, as reference rows of the catalog.

    pip download --no-deps qai_hub_models
    python benchmarks/npu_latencies.py qai_hub_models-VERSION-py3-none-any.whl

The package (BSD-3-Clause) holds a `perf.yaml` for each of its models: inference times by device, precision and runtime,
with the versions of the runtimes. Of these figures, which are facts, the fastest on the NPU is taken for each device
and precision of the networks that the catalog has; neither sentences nor code are. They are written to
`lowzoo/catalog/latencies_npu.toml`, which is never edited by hand.
"""

import argparse
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import yaml

OUT = Path(__file__).parents[1] / "lowzoo" / "catalog" / "latencies_npu.toml"
# Their folder, and timm's name of the same network. Each takes 224 px there and ends in its ImageNet classifier.
NETWORKS = {
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "efficientnet_b0": "efficientnet_b0",
}
# Their name of a device, the catalog's, and its chip: what people own.
DEVICES = {
    "Samsung Galaxy S22 5G": ("galaxy-s22", "Samsung Galaxy S22 (Snapdragon 8 Gen 1)"),
    "Samsung Galaxy S24": ("galaxy-s24", "Samsung Galaxy S24 (Snapdragon 8 Gen 3)"),
    "Samsung Galaxy S25": ("galaxy-s25", "Samsung Galaxy S25 (Snapdragon 8 Elite)"),
    "Samsung Galaxy S26": ("galaxy-s26", "Samsung Galaxy S26 (Snapdragon 8 Elite Gen 5)"),
    "Snapdragon 7 Gen 4 QRD": ("snapdragon-7-gen-4", "Snapdragon 7 Gen 4 (reference phone)"),
    "Snapdragon X Elite CRD": ("snapdragon-x-elite", "Snapdragon X Elite (reference laptop)"),
    "Snapdragon X2 Elite CRD": ("snapdragon-x2-elite", "Snapdragon X2 Elite (reference laptop)"),
}
RUNTIMES = {
    "onnx": ("ONNX Runtime", "onnx_runtime"),
    "qnn_dlc": ("QNN", ""),
    "qnn_context_binary": ("QNN", ""),
    "precompiled_qnn_onnx": ("ONNX Runtime, precompiled", "onnx_runtime"),
    "tflite": ("LiteRT", "litert"),
}
PROTOCOL = (
    "estimated inference time that Qualcomm AI Hub reports for the model with its ImageNet classifier, batch 1, 224 px"
)
# What layers in 16 bits among those of 8 take, where a model is published without them too.
MIXED = "_mixed_int16"


def fastest(paths: dict[str, Any]) -> tuple[float, str] | None:
    """Milliseconds and engine of the quickest runtime that ran on the NPU and passed."""
    found = []
    for runtime, facts in paths.items():
        passed = facts.get("job_status") == "Passed" and facts.get("primary_compute_unit") == "NPU"
        if passed and runtime in RUNTIMES and facts.get("inference_time_milliseconds"):
            name, key = RUNTIMES[runtime]
            versions = facts.get("tool_versions", {})
            release = f" {versions[key]}" if key in versions else ""
            qairt = ".".join(str(versions.get("qairt", "")).split(".")[:3])
            engine = f"NPU, {name}{release}{f' (QAIRT {qairt})' if qairt else ''}"
            found.append((float(facts["inference_time_milliseconds"]), engine))
    return min(found, default=None)


def rows_of(archive: zipfile.ZipFile, release: str) -> list[dict[str, Any]]:
    """A row for each network, device and precision."""
    rows = []
    for folder, architecture in NETWORKS.items():
        document = yaml.safe_load(archive.read(f"qai_hub_models/models/{folder}/perf.yaml"))
        plain = [name for name in document["precisions"] if name not in ("float",) and not name.endswith(MIXED)]
        for precision, facts in document["precisions"].items():
            if plain and precision.endswith(MIXED):
                continue
            components = list(facts["components"].values())
            if len(components) != 1:
                continue
            for device, (short, label) in DEVICES.items():
                if best := fastest(components[0]["performance_metrics"].get(device, {})):
                    rows.append(
                        {
                            "architecture": architecture,
                            "device": short,
                            "device_label": label,
                            "engine": best[1],
                            "precision": precision,
                            "ms": best[0],
                            "protocol": PROTOCOL,
                            "source": f"Qualcomm AI Hub Models {release}, perf.yaml of {folder}",
                        }
                    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    (release,) = re.findall(r"^qai_hub_models-([\d.]+)-", arguments.wheel.name)
    with zipfile.ZipFile(arguments.wheel) as archive:
        rows = rows_of(archive, release)
    text = [
        f"# Made by `benchmarks/npu_latencies.py` from qai_hub_models {release} (BSD-3-Clause), of whose files it",
        "# takes figures alone. All rows are references: published by others, by their protocol, on networks with",
        "# their ImageNet classifier. Fields as in LatencyEntry.",
    ]
    for row in rows:
        text += ["", "[[latency]]", *(f"{key} = {json.dumps(value)}" for key, value in row.items())]
    arguments.out.write_text("\n".join([*text, ""]), encoding="utf-8")
    print(f"{arguments.out}: {len(rows)} rows of {len(NETWORKS)} networks")


if __name__ == "__main__":
    main()
