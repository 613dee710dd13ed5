"""The JSON schema of two models that were timed in turns: `lowzoo.bench.compare/1`."""

from typing import Literal

from pydantic import AliasChoices, Field

from lowzoo.bench.host.turns import Ratio, Turn
from lowzoo.bench.results.protocol import Protocol
from lowzoo.bench.results.schema import Condition, Device, Engine, ModelFile, Strict


class Comparison(Strict):
    """What `lowzoo bench A B --json` prints.

    Args:
        schema_name: Written as "schema".
        measured_at: Start, UTC, ISO 8601.
        protocol: Protocol of each process.
        device: The machine.
        before: Its state before the first process.
        after: Its state after the last one.
        engine: The runtime.
        a: The first file.
        b: The second file.
        ratio: Time of B over time of A, with its interval.
        processes: Raw samples, in turns A B B A.
        versions: Versions of the software that the figures depend on.
        warnings: What a reader must know before trusting the figures.
    """

    schema_name: Literal["lowzoo.bench.compare/1"] = Field(
        default="lowzoo.bench.compare/1",
        serialization_alias="schema",
        validation_alias=AliasChoices("schema", "schema_name"),
    )
    measured_at: str
    protocol: Protocol
    device: Device
    before: Condition
    after: Condition
    engine: Engine
    a: ModelFile
    b: ModelFile
    ratio: Ratio
    processes: tuple[tuple[Turn, ...], ...]
    versions: dict[str, str]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """Write the document with a final line end."""
        return self.model_dump_json(indent=2, by_alias=True) + "\n"
