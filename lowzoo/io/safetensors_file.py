"""Looking at a safetensors file before it is loaded."""

import hashlib
from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.io.files import plain_path


def check_safetensors(path: str | Path) -> None:
    """Refuse a weights file that is missing, cut short or not safetensors; reads only its header.

    Raises:
        LowzooError: It is any of these.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.suffix != ".safetensors":
        raise LowzooError(f"{path} is not a safetensors file", "Convert it to safetensors; pickles are not loaded")
    if not path.is_file():
        raise LowzooError(f"the weights file {path} is missing", "Reinstall lowzoo, or name a file that exists")
    try:
        # The header states where every tensor ends, so a file that was cut short is noticed here.
        with safe_open(plain_path(path), framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise LowzooError(
            f"the weights file {path} is damaged ({error})", "Get the file again; it was cut short or changed"
        ) from error


def sha256(path: Path) -> str:
    """The file's digest, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def short_digest(path: Path) -> str:
    """`sha256:` and the first 12 hexadecimal digits of the file's digest."""
    return f"sha256:{sha256(path)[:12]}"


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself beside its tensors."""
    from safetensors import safe_open

    with safe_open(plain_path(path), framework="numpy") as file:
        return dict(file.metadata() or {})
