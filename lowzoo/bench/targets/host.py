"""The computer at hand: a regression guard, not a phone."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lowzoo.bench.targets import Request, Target

if TYPE_CHECKING:
    from lowzoo.bench.results.schema import BenchResult


def _run(request: Request) -> "list[BenchResult]":
    from lowzoo.bench.host.target import bench_host
    from lowzoo.system.cores import check_threads

    for count in request.threads:
        check_threads(count)
    with subject(request) as artifact:
        return [
            bench_host(
                artifact,
                protocol=request.protocol,
                threads=count,
                engine=request.engine,
                refuse_load=request.options["refuse_load"],
            )
            for count in request.threads
        ]


@contextlib.contextmanager
def subject(request: Request) -> Iterator[Path | str]:
    """Give what the engine of a request runs: a file, or for PyTorch a word."""
    from lowzoo.base.errors import LowzooError
    from lowzoo.bench.engines import ENGINES
    from lowzoo.bench.engines.network_spec import network_spec_of

    facts = ENGINES[request.engine]
    facts.require()
    if facts.suffix:
        with request.artifact(facts.suffix) as path:
            yield path
        return
    if not isinstance(request.model, (str, Path)):
        raise LowzooError(
            f"{request.engine} builds the network in fresh processes, by its name",
            "Name the model, or time an export of it by --engine onnxruntime",
        )
    yield network_spec_of(str(request.model), size=request.size, untrained=request.untrained)


def engines() -> list[str]:
    """Every engine that is registered."""
    from lowzoo.bench.engines import ENGINES

    return ENGINES.names()


TARGET = Target("host", f"{__name__}:engines", _run, options=("refuse_load",))
