"""Images that cannot be read: counted, named in a file, and fatal once they are too many.

Images that can be read and are odd: all of one colour, or with numbers beyond the range that is shown.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.base.printable import printable
from lowzoo.io.files import write_text
from lowzoo.train.distributed import collectives

# Below this many images a fraction says nothing: one broken file among the first ten is no reason to stop.
_FEWEST_SEEN = 200


class BadImageLog:
    """The names of unreadable images of a run; with several processes, each keeps its own.

    Args:
        file: Where they are listed, one message a line.
        max_share: Fraction of the images seen that may be unreadable.
    """

    def __init__(self, file: Path, max_share: float) -> None:
        self.file = file
        self.max_share = max_share
        self.count = 0
        # A dictionary for its order and quick look-up: a broken shard may name thousands.
        self._names: dict[str, None] = {}

    @property
    def names(self) -> list[str]:
        """Each message once, in the order in which they came."""
        return list(self._names)

    def add(self, messages: Iterable[str], seen: int) -> None:
        """Count the unreadable images of a batch.

        Args:
            messages: One for each.
            seen: Images handed out so far in the run, readable or not.

        Raises:
            LowzooError: They are more than the stated fraction, or the list cannot be written.
        """
        fresh: dict[str, None] = {}
        for message in messages:
            self.count += 1
            if message not in self._names:
                fresh[message] = None
        if fresh:
            self._names |= fresh
            self._append(fresh)
        if seen >= _FEWEST_SEEN and self.count > self.max_share * seen:
            raise LowzooError(
                f"{self.count} of {seen} images cannot be read, more than the allowed fraction of {self.max_share:g}; "
                f"they are listed in {self.file}",
                "Mend the data, or allow more with --set max_bad_share=0.1",
            )

    def of_all(self) -> tuple[list[str], int]:
        """Names and count over all processes."""
        found = collectives.all_gather_values((self.names, self.count))
        return list(dict.fromkeys(name for names, _ in found for name in names)), sum(count for _, count in found)

    def restore(self, names: Sequence[str], count: int | None = None) -> None:
        """Go on from a checkpoint's list; what was written after it is dropped.

        The first process takes all names; the count is shared out, as each compares it with the images it has seen.

        Args:
            names: Names in the checkpoint, of all processes.
            count: Unreadable images met up to there; None where each was met once.
        """
        total, processes = len(names) if count is None else count, collectives.world_size()
        self.count = total // processes
        if collectives.rank() == 0:
            self.count += total % processes
            self._names = dict.fromkeys(names)
        self._rewrite()

    def gather(self) -> int:
        """At the end, leave one list of what all processes have met; returns how many images that were."""
        names, count = self.of_all()
        self._names = dict.fromkeys(names) if collectives.rank() == 0 else {}
        self._rewrite()
        return count

    def _rewrite(self) -> None:
        if self._names:
            write_text(self.file, "".join(f"{_line(name)}\n" for name in self._names))
        else:
            self.file.unlink(missing_ok=True)

    def _append(self, names: Iterable[str]) -> None:
        try:
            with self.file.open("a", encoding="utf-8") as file:
                file.writelines(f"{_line(name)}\n" for name in names)
        except OSError as error:
            raise LowzooError(
                f"cannot write {self.file}: {error.strerror}", "Free some space, then go on with --resume"
            ) from error


def _line(text: str) -> str:
    """The text in one line, whatever a file is called."""
    return printable(text.replace("\n", " "))


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
        lines = dict.fromkeys(_line(f"{oddity}: {name}") for oddity, name in odd)
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
