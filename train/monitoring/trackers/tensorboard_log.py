"""TensorBoard: event files in the run folder."""

from torch.utils.tensorboard import SummaryWriter

from lowzoo.io.files import plain_path
from lowzoo.train.monitoring.trackers import TrackedRun


class TensorBoardLog:
    """Writes scalars to `tensorboard/`; those of an earlier part of the run that lie after its start are hidden."""

    def __init__(self, run: TrackedRun) -> None:
        self._writer = SummaryWriter(str(plain_path(run.folder / "tensorboard")), purge_step=run.step or None)

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Write scalars."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what is pending."""
        self._writer.close()
