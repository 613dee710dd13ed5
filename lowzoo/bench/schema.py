"""The one JSON schema of a latency, whatever the target: `lowzoo.bench/1`.

A field that cannot be read on a machine is null, never guessed. Times are in ms, sizes in bytes or MB (10^6 bytes).
"""

from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from lowzoo.bench.protocol import Protocol, Spread, Statistics


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Device(_Strict):
    """What the model ran on.

    Args:
        kind: A desktop or server processor is never ranked beside a phone.
        name: Of the machine or phone model, where it tells.
        cpu: Name of the processor.
        cores: Logical cores that the process may use.
        isa: Instruction sets that change the ranking of models, e.g. avx512_vnni for int8.
        governor: Of the clock.
        os: Name and release.
        arch: e.g. x86_64.
    """

    kind: Literal["computer", "phone"]
    name: str | None
    cpu: str
    cores: int
    isa: tuple[str, ...]
    governor: str | None
    os: str
    arch: str


class Condition(_Strict):
    """State of the device at one moment.

    Args:
        load_average: Runnable processes over the last minute.
        temperature_c: Of the hottest sensor.
        thermal_status: What the system calls it, on phones.
        battery_percent: Charge.
        charging: Whether it is on mains; null without a battery.
    """

    load_average: float | None
    temperature_c: float | None
    thermal_status: str | None
    battery_percent: float | None
    charging: bool | None


class Engine(_Strict):
    """What ran the model.

    Args:
        name: e.g. onnxruntime.
        version: Of it.
        provider: The back end inside it that was asked for.
        threads: For one operator.
        settings: Everything else that was set.
    """

    name: str
    version: str
    provider: str
    threads: int
    settings: dict[str, str]


class ModelFile(_Strict):
    """Which file was timed; name, revision and precision are null where the file does not tell."""

    file: str
    sha256: str
    size_bytes: int
    name: str | None
    revision: str | None
    precision: str | None


class ModelInput(_Strict):
    """What the model was fed.

    Args:
        name: Of the graph's input.
        type: Of its elements.
        shape: Of it.
        content: Where the pixels came from.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    content: str


class Repeat(_Strict):
    """One fresh process.

    Args:
        load_ms: From the file to a session that can run.
        first_run_ms: The first run after loading.
        warmup_runs: Runs that do not count.
        samples_ms: Each run that counts, in order.
        statistics: Of them.
        baseline_memory_mb: Peak resident memory of the process before loading.
        peak_memory_mb: Peak resident memory of the process at its end.
    """

    load_ms: float
    first_run_ms: float
    warmup_runs: int
    samples_ms: tuple[float, ...]
    statistics: Statistics
    baseline_memory_mb: float | None
    peak_memory_mb: float | None


class BenchResult(_Strict):
    """What `lowzoo bench --json` prints.

    Args:
        schema_name: Written as "schema".
        target: Where it ran.
        protocol: How it was timed.
        quick: Whether it was the short protocol, good for a first impression only.
        device: The machine.
        before: Its state before the first repeat.
        after: Its state after the last one.
        engine: The runtime.
        model: The file.
        input: What it was fed.
        statistics: Of the samples of all repeats together.
        spread: Of the medians of the repeats; null for a single one.
        load_ms: Median over the repeats.
        first_run_ms: Median over the repeats.
        peak_memory_mb: Largest of the repeats.
        repeats: Raw samples and figures of each process.
        versions: Of the software that the figures depend on.
        warnings: What a reader must know before trusting the figures.
    """

    # pydantic keeps the plain name for itself.
    schema_name: Literal["lowzoo.bench/1"] = Field(
        default="lowzoo.bench/1",
        serialization_alias="schema",
        validation_alias=AliasChoices("schema", "schema_name"),
    )
    target: Literal["host", "android", "iphone", "browser", "cloud"]
    protocol: Protocol
    quick: bool
    device: Device
    before: Condition
    after: Condition
    engine: Engine
    model: ModelFile
    input: ModelInput
    statistics: Statistics
    spread: Spread | None
    load_ms: float
    first_run_ms: float
    peak_memory_mb: float | None
    repeats: tuple[Repeat, ...]
    versions: dict[str, str]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """Write the document with a final line end."""
        return self.model_dump_json(indent=2, by_alias=True) + "\n"
