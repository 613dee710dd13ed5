"""A phone behind adb, by the engine's own benchmark program."""

from typing import TYPE_CHECKING

from lowzoo.bench.targets import Request, Target

if TYPE_CHECKING:
    from lowzoo.bench.results.schema import BenchResult


def _run(request: Request) -> "list[BenchResult]":
    from lowzoo.bench.android.phone import find_phone
    from lowzoo.bench.android.runners import RUNNERS
    from lowzoo.bench.android.target import bench_android

    phone, runner = find_phone(request.options["serial"]), request.options["runner"]
    with request.artifact(RUNNERS[request.engine].suffix) as artifact:
        return [
            bench_android(artifact, phone, runner, engine=request.engine, protocol=request.protocol, threads=count)
            for count in request.threads
        ]


TARGET = Target(
    "android",
    ("onnxruntime", "litert", "executorch"),
    _run,
    needs="a phone, and a runner that is built for it",
    options=("runner", "serial"),
)
