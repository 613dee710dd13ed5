"""What a page may post, checked field by field: it comes from whoever holds the link."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from lowzoo.base.printable import harmless

MAX_SAMPLES = 100_000
# Shown in the terminal of whoever serves the page.
Text = Annotated[str, Field(max_length=400), AfterValidator(harmless)]
Milliseconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
# A run takes time; one of nothing would make every ratio meaningless.
Duration = Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Battery(_Message):
    """Charge in per cent and whether it is on mains; null where the browser does not tell."""

    percent: Annotated[float, Field(ge=0, le=100)] | None
    charging: bool | None


class Facts(_Message):
    """What a browser tells of the device it runs on."""

    user_agent: Text
    mobile: bool
    model: Text | None
    platform: Text | None
    platform_version: Text | None
    architecture: Text | None
    browser: Text | None
    cores: Annotated[int, Field(ge=1, le=4096)] | None
    memory_gb: Annotated[float, Field(gt=0, le=1e5)] | None
    isolated: bool
    gpu: Text | None
    battery: Battery


class Plan(_Message):
    """A back end that the page is going to time."""

    backend: Literal["wasm", "webgpu"]
    threads: Annotated[int, Field(ge=1, le=256)]


class Hello(_Message):
    """A page starts."""

    type: Literal["hello"]
    facts: Facts
    plan: Annotated[list[Plan], Field(min_length=1, max_length=8)]


class _FromDevice(_Message):
    device: Annotated[str, Field(max_length=32)]


class Progress(_FromDevice):
    """A repeat starts."""

    type: Literal["progress"]
    plan: Annotated[int, Field(ge=0, lt=8)]
    repeat: Annotated[int, Field(ge=0, lt=100)]


class Measured(_FromDevice):
    """A repeat is over."""

    type: Literal["repeat"]
    plan: Annotated[int, Field(ge=0, lt=8)]
    repeat: Annotated[int, Field(ge=0, lt=100)]
    load_ms: Milliseconds
    first_run_ms: Milliseconds
    warmup_runs: Annotated[int, Field(ge=1, le=10**8)]
    samples_ms: Annotated[list[Duration], Field(min_length=1, max_length=MAX_SAMPLES)]
    runs_per_sample: Annotated[int, Field(ge=1, le=4096)]
    clock_step_ms: Milliseconds
    features: Annotated[list[float], Field(max_length=100_000)]
    hidden: bool


class Failed(_FromDevice):
    """A back end does not run there."""

    type: Literal["failed"]
    plan: Annotated[int, Field(ge=0, lt=8)]
    reason: Text


class Finished(_FromDevice):
    """The page is through."""

    type: Literal["finished"]
    battery: Battery


class Gone(_FromDevice):
    """The page was closed before it was through."""

    type: Literal["gone"]


Message = Hello | Progress | Measured | Failed | Finished | Gone
MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])
