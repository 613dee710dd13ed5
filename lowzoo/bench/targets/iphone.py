"""An iPhone that is connected to this Mac."""

from typing import TYPE_CHECKING

from lowzoo.bench.targets import Request, Target

if TYPE_CHECKING:
    from lowzoo.bench.results.schema import BenchResult


def _run(request: Request) -> "list[BenchResult]":
    from lowzoo.bench.phones.iphone import bench_iphone, check_here, check_units

    own = request.options
    check_units(own["units"])
    check_here()
    with request.artifact(".mlpackage") as artifact:
        return [
            bench_iphone(artifact, name=own["device"], team=own["team"], units=own["units"], protocol=request.protocol)
        ]


TARGET = Target("iphone", ("coreml",), _run, needs="a Mac and an iPhone", options=("units", "team", "device"))
