"""Images that can be read and are odd: all of one colour, or with numbers beyond the range that is shown."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lowzoo.errors import LowzooError
from lowzoo.files import write_text
from lowzoo.printable import printable
from lowzoo.train import collectives


class OddImageLog:
    """Names the odd images of a run, each once; with several processes, each keeps its own.

    Args:
        file: Where they are listed, oddity and name a line.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lines: dict[str, None] = {}

    def add(self, odd: Iterable[tuple[str, str]]) -> None:
        """Note the odd images of a batch.

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

    def of_all(self) -> list[str]:
        """The lines of all processes."""
        return list(dict.fromkeys(line for lines in collectives.all_gather_values(list(self._lines)) for line in lines))

    def restore(self, lines: Sequence[str]) -> None:
        """Go on from a checkpoint's list, which the first process takes; what was written after it is dropped."""
        self._lines = dict.fromkeys(lines) if collectives.rank() == 0 else {}
        if self._lines:
            write_text(self.file, "".join(f"{line}\n" for line in self._lines))
        else:
            self.file.unlink(missing_ok=True)

    def gather(self) -> dict[str, int]:
        """At the end, leave one list of what all processes have met; returns how many images are odd in each way."""
        lines = self.of_all()
        self.restore(lines)
        return dict(Counter(line.partition(": ")[0] for line in lines))
