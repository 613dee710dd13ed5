"""From raw samples to a result: every statistic follows from the samples, here and nowhere else."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lowzoo.base.errors import LowzooError, first_misfit
from lowzoo.bench.results.protocol import QUICK, STANDARD, Protocol, Spread, Statistics, percentile, spread, statistics
from lowzoo.bench.results.schema import BenchResult, Condition, Device, ModelFile, Repeat

# Beyond these a figure still is what was measured, and the result says why it may not come out again: load by core,
# cores of others, distance of the medians, and p90 over the quickest run.
BUSY = 0.5
OTHERS = 0.25
WIDE = 0.1
UNEVEN = 1.5
SET_SCHEMA = "lowzoo.bench.set/1"


def now_utc() -> str:
    """The moment, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def repeat_of(samples_ms: Sequence[float], **facts: Any) -> Repeat:
    """One repeat with the statistics of its samples."""
    return Repeat(samples_ms=tuple(samples_ms), statistics=statistics(samples_ms), **facts)


def summary(repeats: Sequence[Repeat]) -> dict[str, Any]:
    """The fields of a result that follow from its repeats."""
    found = statistics([sample for repeat in repeats for sample in repeat.samples_ms])
    medians = [repeat.statistics.median_ms for repeat in repeats]
    return {
        "statistics": found,
        "spread": spread(medians) if len(repeats) > 1 else None,
        "load_ms": _median([repeat.load_ms for repeat in repeats]),
        "first_run_ms": _median([repeat.first_run_ms for repeat in repeats]),
        "peak_memory_mb": max((repeat.peak_memory_mb for repeat in repeats if repeat.peak_memory_mb), default=None),
    }


def assemble(
    repeats: Sequence[Repeat],
    *,
    protocol: Protocol,
    device: Device,
    before: Condition,
    after: Condition,
    warnings: Sequence[str] = (),
    **facts: Any,
) -> BenchResult:
    """Make a result: statistics from the samples, and the warnings that any target may earn."""
    follows = summary(repeats)
    said = [
        *warnings,
        *weights_warning(facts["model"]),
        *_warnings(repeats, follows["statistics"], follows["spread"], protocol, device, before),
    ]
    return BenchResult(
        protocol=protocol,
        quick=protocol.times_as(QUICK),
        device=device,
        before=before,
        after=after,
        repeats=tuple(repeats),
        warnings=tuple(said),
        **follows,
        **facts,
    )


def weights_warning(model: ModelFile) -> tuple[str, ...]:
    """What must be said of weights that nobody trained."""
    random = model.revision is not None and model.revision.startswith("random")
    return ("the weights are random: the latency is that of the architecture",) if random else ()


def check_samples(result: BenchResult) -> None:
    """Re-evaluate the raw samples.

    Raises:
        LowzooError: A statistic is not exactly what the samples give.
    """
    expected = {field: getattr(result, field) for field in ("statistics", "spread", "load_ms", "first_run_ms")}
    found = summary(result.repeats)
    wrong = [field for field, value in expected.items() if found[field] != value]
    wrong += [
        f"statistics of repeat {index}"
        for index, repeat in enumerate(result.repeats)
        if repeat.statistics != statistics(repeat.samples_ms)
    ]
    if wrong:
        raise LowzooError(f"{', '.join(wrong)} do not follow from the raw samples", "Use the file as it was written")


def read_results(path: Path) -> tuple[BenchResult, ...]:
    """Read a file of one result or of a set, and re-evaluate every sample.

    Raises:
        LowzooError: No such file, another schema, or figures that do not follow from the samples.
    """
    try:
        document = json.loads(path.read_bytes())
        rows = document["results"] if document.get("schema") == SET_SCHEMA else [document]
        results = tuple(BenchResult.model_validate(row) for row in rows)
        for result in results:
            check_samples(result)
    except LowzooError as error:
        raise LowzooError(f"{path}: {error.message}", error.remedy) from error
    except OSError as error:
        raise LowzooError(
            f"cannot read {path}: {error.strerror or error}", "Name a result of `lowzoo bench`"
        ) from error
    except ValidationError as error:
        place, reason = first_misfit(error)
        raise LowzooError(f"{path} is no result of `lowzoo bench` ({place}: {reason})", "Write it anew") from error
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise LowzooError(f"{path} is no result of `lowzoo bench`", "Name a file that --out wrote") from error
    return results


def to_document(results: Sequence[BenchResult]) -> str:
    """One JSON document: a result as it is, several as a set."""
    if len(results) == 1:
        return results[0].to_json()
    rows = [result.model_dump(mode="json", by_alias=True) for result in results]
    return json.dumps({"schema": SET_SCHEMA, "results": rows}, indent=2) + "\n"


def _median(values: Sequence[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    return percentile(known, 50) if known else None


def _warnings(
    repeats: Sequence[Repeat],
    found: Statistics,
    medians: Spread | None,
    protocol: Protocol,
    device: Device,
    before: Condition,
) -> list[str]:
    """Tell what a reader must know before trusting the figures."""
    said = []
    if not protocol.times_as(STANDARD) or protocol.repeats < STANDARD.repeats:
        said.append("not the standard protocol: a first impression, not for publication")
    if before.load_average is not None and device.cores and before.load_average > BUSY * device.cores:
        load = f"load {before.load_average:.1f} on {device.cores} cores"
        said.append(f"the machine was busy before the start: {load}")
    others = [repeat.other_load for repeat in repeats if repeat.other_load is not None]
    if others and max(others) > OTHERS:
        said.append(f"the machine was busy meanwhile: others took up to {max(others):.1f} cores")
    if found.p90_ms > UNEVEN * found.min_ms:
        said.append(f"the runs are uneven: p90 is {found.p90_ms / found.min_ms:.1f} times the quickest")
    if medians is not None and medians.relative > WIDE:
        said.append(f"the medians of the repeats lie {100 * medians.relative:.0f} % apart")
    return said
