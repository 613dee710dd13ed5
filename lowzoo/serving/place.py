"""Where a page is served, and for how long."""

from dataclasses import dataclass
from pathlib import Path

from lowzoo.base.errors import LowzooError


@dataclass(frozen=True)
class Serving:
    """Where a page is served, and for how long.

    Args:
        lan: For every device of this network instead of this computer alone.
        port: 0 finds a free one.
        ort_dist: Folder of onnxruntime-web; the CDN's copy if None.
        certificate: PEM file of a certificate and its key, for https.
        minutes: End after so long.

    Raises:
        LowzooError: A number that makes no sense.
    """

    lan: bool = False
    port: int = 0
    ort_dist: Path | None = None
    certificate: Path | None = None
    minutes: float = 15.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise LowzooError(f"port {self.port} is impossible", "Use --port 0 to 65535")
        if not 0 < self.minutes <= 1440:
            raise LowzooError(f"{self.minutes:g} minutes are impossible", "Use --minutes up to 1440")
