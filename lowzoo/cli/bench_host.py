"""`lowzoo bench --on host`: this computer, one model or two in turns."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lowzoo.cli.bench import artifact_of, finish
from lowzoo.cli.bench_lines import comparison_lines, result_lines

if TYPE_CHECKING:
    from lowzoo.bench.protocol import Protocol
    from lowzoo.input_facts import Side


def run(
    models: Sequence[str],
    engine: str,
    protocol: "Protocol",
    threads: Sequence[int],
    untrained: bool,
    size: "Side | None",
    refuse_load: bool,
    out: Path | None,
    json_: bool,
) -> None:
    """Time one model with each number of threads, or compare two."""
    from lowzoo.bench.assemble import to_document
    from lowzoo.bench.engines import ENGINES
    from lowzoo.bench.host import bench_host, compare_host
    from lowzoo.bench.machine import check_threads
    from lowzoo.bench.network_word import network_word
    from lowzoo.errors import LowzooError

    for count in threads:
        check_threads(count)
    facts = ENGINES[engine]
    facts.require()
    with contextlib.ExitStack() as stack:
        artifacts: list[Path | str] = []
        for model in models:
            if facts.suffix:
                artifacts.append(stack.enter_context(artifact_of(model, facts.suffix, untrained=untrained, size=size)))
            else:
                artifacts.append(network_word(model, size=size, untrained=untrained))
        if len(artifacts) == 2:
            if len(threads) != 1:
                raise LowzooError("a comparison takes one number of threads", "Use --threads N")
            found = compare_host(
                artifacts, protocol=protocol, threads=threads[0], engine=engine, refuse_load=refuse_load
            )
            finish(found.to_json(), [*comparison_lines(found)], out, json_)
            return
        results = [
            bench_host(artifacts[0], protocol=protocol, threads=count, engine=engine, refuse_load=refuse_load)
            for count in threads
        ]
    lines = [line for result in results for line in (*result_lines(result), "")][:-1]
    finish(to_document(results), lines, out, json_)
