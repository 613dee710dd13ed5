"""MLflow: a run of the experiment "lowzoo"; MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME choose otherwise."""

import os

import mlflow

from lowzoo.base.printable import printable
from lowzoo.io.files import write_text
from lowzoo.train.monitoring.trackers import TrackedRun

# The longest value of a parameter that every store takes.
_LONGEST = 500


class MlflowLog:
    """Sends numbers; `mlflow.txt` in the run folder holds the identity under which a resumed run goes on."""

    def __init__(self, run: TrackedRun) -> None:
        known = run.folder / "mlflow.txt"
        identity = known.read_text(encoding="utf-8").strip() if known.exists() else None
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "lowzoo"))
        name = printable(run.folder.absolute().name)
        active = mlflow.start_run(run_id=identity) if identity else mlflow.start_run(run_name=name)
        write_text(known, active.info.run_id + "\n")
        if identity is None:
            # Parameters are written once: a later change of a setting stands in run.json.
            mlflow.log_params({key: printable(str(value))[:_LONGEST] for key, value in run.settings.items()})

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Send numbers at a step."""
        mlflow.log_metrics(numbers, step=step)

    def close(self) -> None:
        """End this part of the run."""
        mlflow.end_run()
