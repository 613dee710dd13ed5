"""A phone of Qualcomm AI Hub."""

from typing import TYPE_CHECKING

from lowzoo.bench.targets import Request, Target

if TYPE_CHECKING:
    from lowzoo.bench.results.schema import BenchResult


def _run(request: Request) -> "list[BenchResult]":
    from lowzoo.bench.phones.cloud import bench_cloud, open_hub

    hub = open_hub()
    with request.artifact(".onnx") as artifact:
        return [bench_cloud(artifact, hub, device=request.options["device"], say=request.say)]


TARGET = Target("cloud", ("qai-hub",), _run, needs="an account of Qualcomm AI Hub", options=("device",))
