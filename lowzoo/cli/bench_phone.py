"""`lowzoo bench --on android`, `iphone` and `cloud`: one model on one phone."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lowzoo.cli.bench import artifact_of, finish
from lowzoo.cli.bench_lines import result_lines

if TYPE_CHECKING:
    from lowzoo.bench.protocol import Protocol
    from lowzoo.input_facts import Side


def run_android(
    model: str,
    engine: str,
    runner: Path | None,
    serial: str | None,
    protocol: "Protocol",
    threads: Sequence[int],
    untrained: bool,
    size: "Side | None",
    out: Path | None,
    json_: bool,
) -> None:
    """Time a model on the phone behind adb with each number of threads."""
    from lowzoo.bench.android.phone import find_phone
    from lowzoo.bench.android.runners import RUNNERS
    from lowzoo.bench.android.target import bench_android
    from lowzoo.bench.assemble import to_document

    phone = find_phone(serial)
    with artifact_of(model, RUNNERS[engine].suffix, untrained=untrained, size=size) as artifact:
        results = [
            bench_android(artifact, phone, runner, engine=engine, protocol=protocol, threads=count) for count in threads
        ]
    lines = [line for result in results for line in (*result_lines(result), "")][:-1]
    finish(to_document(results), lines, out, json_)


def run_iphone(
    model: str,
    device: str | None,
    team: str | None,
    units: str,
    protocol: "Protocol",
    untrained: bool,
    size: "Side | None",
    out: Path | None,
    json_: bool,
) -> None:
    """Time a model on the iPhone that is connected to this Mac."""
    from lowzoo.bench.iphone import bench_iphone, check_here, check_units

    check_units(units)
    check_here()
    with artifact_of(model, ".mlpackage", untrained=untrained, size=size) as artifact:
        result = bench_iphone(artifact, name=device, team=team, units=units, protocol=protocol)
    finish(result.to_json(), [*result_lines(result)], out, json_)


def run_cloud(
    model: str, device: str | None, untrained: bool, size: "Side | None", out: Path | None, json_: bool
) -> None:
    """Time a model on a phone of Qualcomm AI Hub."""
    import sys

    from lowzoo.bench.cloud import bench_cloud, open_hub

    hub = open_hub()
    with artifact_of(model, ".onnx", untrained=untrained, size=size) as artifact:
        result = bench_cloud(artifact, hub, device=device, say=lambda text: print(text, file=sys.stderr, flush=True))
    finish(result.to_json(), [*result_lines(result)], out, json_)
