"""The one JSON schema of a latency, whatever the target: `lowzoo.bench/1`.

A field that cannot be read on a machine is null, never guessed. Times are in ms, sizes in bytes or MB (10^6 bytes).
"""

from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from lowzoo.bench.results.protocol import Protocol, Spread, Statistics


class Strict(BaseModel):
    """What every part of the schema is: unchangeable, and without fields that the schema does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Device(Strict):
    """What the model ran on.

    Args:
        kind: A desktop or server processor is never ranked beside a phone.
        name: Name of the machine or phone model, where it tells.
        cpu: Name of the processor.
        soc: Name of the system on a chip, of phones.
        cores: Logical cores that the process may use.
        memory_mb: Main memory.
        isa: Instruction sets that change the ranking of models, e.g. avx512_vnni for int8.
        governor: What governs the clock.
        os: Name and release.
        arch: e.g. x86_64.
    """

    kind: Literal["computer", "phone"]
    name: str | None
    cpu: str | None
    soc: str | None = None
    cores: int | None
    memory_mb: float | None = None
    isa: tuple[str, ...]
    governor: str | None
    os: str
    arch: str | None


class Condition(Strict):
    """State of the device at one moment.

    Args:
        load_average: Runnable processes over the last minute.
        busy_cores: Cores' worth of processor time that everything together took in the second before.
        temperature_c: Temperature of the hottest sensor.
        thermal_status: What the system calls it, on phones.
        battery_percent: Charge.
        charging: Whether it is on mains; null without a battery.
    """

    load_average: float | None
    busy_cores: float | None = None
    temperature_c: float | None
    thermal_status: str | None
    battery_percent: float | None
    charging: bool | None


class Engine(Strict):
    """What ran the model.

    Args:
        name: e.g. onnxruntime.
        version: Version of the engine.
        provider: The back end inside it that was asked for.
        threads: For one operator.
        settings: Everything else that was set.
    """

    name: str
    version: str
    provider: str
    threads: int
    settings: dict[str, str]


class ModelFile(Strict):
    """Which file was timed; name, revision and precision are null where the file does not tell.

    For PyTorch, which runs no file, it is the network's tensors written as safetensors.
    """

    file: str
    sha256: str
    size_bytes: int
    name: str | None
    revision: str | None
    precision: str | None


class ModelInput(Strict):
    """What the model was fed.

    Args:
        name: Name of the graph's input.
        type: Type of the input's elements.
        shape: Shape of the input.
        content: Where the pixels came from.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    content: str


class Repeat(Strict):
    """One fresh process (worker, job; see `BenchResult.unit`).

    Args:
        load_ms: From the file to a session that can run.
        first_run_ms: The first run after loading.
        warmup_runs: Runs that do not count.
        samples_ms: Each run that counts, in order.
        runs_per_sample: Above 1 where the engine tells only the mean of so many runs in a row.
        statistics: Statistics of the samples.
        baseline_memory_mb: Peak resident memory of the process before loading.
        peak_memory_mb: Peak resident memory of the process at its end.
        other_load: Cores' worth of processor time that everything else took meanwhile.
    """

    load_ms: float | None
    first_run_ms: float | None
    warmup_runs: int | None
    samples_ms: tuple[float, ...] = Field(min_length=1)
    runs_per_sample: int = 1
    statistics: Statistics
    baseline_memory_mb: float | None
    peak_memory_mb: float | None
    other_load: float | None = None


class Parity(Strict):
    """Whether what the device computed is right.

    Args:
        reference: What it was compared with.
        relative_error: Largest difference over the largest reference value; null if the numbers do not compare.
        cosine: Cosine of the two vectors; -1 if they do not compare.
        agrees: Within what exporting allows for the precision.
    """

    reference: str
    relative_error: float | None
    cosine: float
    agrees: bool


class BenchResult(Strict):
    """What `lowzoo bench --json` prints.

    Args:
        schema_name: Written as "schema".
        target: Name of the target, see `lowzoo.bench.targets`.
        measured_at: Start, UTC, ISO 8601.
        unit: What a repeat is: a fresh process, a fresh worker of a page, a fresh session, or a job of a cloud.
        protocol: How it was timed.
        quick: Whether it was the short protocol, good for a first impression only.
        device: The machine.
        before: Its state before the first repeat.
        after: Its state after the last one.
        engine: The runtime.
        model: The file.
        input: What it was fed.
        statistics: Statistics of the samples of all repeats together.
        spread: Spread of the medians of the repeats; null for a single one.
        load_ms: Median over the repeats.
        first_run_ms: Median over the repeats.
        peak_memory_mb: Largest of the repeats.
        repeats: Raw samples and figures of each process.
        parity: Whether the outputs are right, where they were compared.
        versions: Versions of the software that the figures depend on.
        warnings: What a reader must know before trusting the figures.
    """

    # pydantic keeps the plain name for itself.
    schema_name: Literal["lowzoo.bench/1"] = Field(
        default="lowzoo.bench/1",
        serialization_alias="schema",
        validation_alias=AliasChoices("schema", "schema_name"),
    )
    target: str
    measured_at: str
    unit: Literal["process", "worker", "session", "job"] = "process"
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
    load_ms: float | None
    first_run_ms: float | None
    peak_memory_mb: float | None
    repeats: tuple[Repeat, ...] = Field(min_length=1)
    parity: Parity | None = None
    versions: dict[str, str]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """Write the document with a final line end."""
        return self.model_dump_json(indent=2, by_alias=True) + "\n"
