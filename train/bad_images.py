"""Images that cannot be read: counted, named in a file, and fatal once they are too many."""

from collections.abc import Iterable
from pathlib import Path

from lowzoo.errors import LowzooError
from lowzoo.files import write_text

# Below this many images a share says nothing: one broken file among the first ten is no reason to stop.
_FEWEST_SEEN = 200


class BadImageLog:
    """The names of unreadable images of a run.

    Args:
        file: Where they are listed, one message a line.
        max_share: Share of the images seen that may be unreadable.
    """

    def __init__(self, file: Path, max_share: float) -> None:
        self.file = file
        self.max_share = max_share
        self.names: list[str] = []
        self._count = 0

    def add(self, messages: Iterable[str], seen: int) -> None:
        """Count the unreadable images of a batch.

        Args:
            messages: One for each.
            seen: Images handed out so far in the run, readable or not.

        Raises:
            LowzooError: They are more than the stated share.
        """
        fresh = False
        for message in messages:
            self._count += 1
            if message not in self.names:
                self.names.append(message)
                fresh = True
        if fresh:
            write_text(self.file, "\n".join(self.names) + "\n")
        if seen >= _FEWEST_SEEN and self._count > self.max_share * seen:
            raise LowzooError(
                f"{self._count} of {seen} images cannot be read, more than the allowed share of {self.max_share:g}; "
                f"they are listed in {self.file}",
                "Mend the data, or allow more with --set max_bad_share=0.1",
            )

    def restore(self, names: list[str]) -> None:
        """Go on from a checkpoint's list."""
        self.names = list(names)
        self._count = len(names)
