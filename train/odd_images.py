"""Images that can be read and are odd: all of one colour, or with numbers beyond the range that is shown."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lowzoo.errors import LowzooError
from lowzoo.files import printable, write_text


class OddImageLog:
    """Counts the odd images of a run, each once; with several processes, each keeps its own.

    Args:
        file: Where they are listed, oddity and name a line.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lines: dict[str, None] = {}

    @property
    def names(self) -> list[str]:
        """Oddity and name of each, in the order in which they came."""
        return list(self._lines)

    def counts(self) -> dict[str, int]:
        """How many images are odd in each way."""
        return dict(Counter(line.partition(": ")[0] for line in self._lines))

    def add(self, odd: Iterable[tuple[str, str]]) -> None:
        """Count the odd images of a batch.

        Args:
            odd: Oddity and name of each.

        Raises:
            LowzooError: The list cannot be written.
        """
        lines = dict.fromkeys(printable(f"{oddity}: {name}".replace("\n", " ")) for oddity, name in odd)
        fresh = [line for line in lines if line not in self._lines]
        if not fresh:
            return
        self._lines.update(dict.fromkeys(fresh))
        try:
            with self.file.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in fresh)
        except OSError as error:
            raise LowzooError(
                f"cannot write {self.file}: {error.strerror}", "Free some space, then go on with --resume"
            ) from error

    def restore(self, names: Sequence[str]) -> None:
        """Go on from a checkpoint's list; what was written after it is dropped."""
        self._lines = dict.fromkeys(names)
        if self._lines or self.file.exists():
            write_text(self.file, "".join(f"{line}\n" for line in self._lines))
