"""What several processes compute together: codes, losses, centre and gathered keys of each."""

import torch

from tests.helpers.processes import run_processes
from tests.train.oracle_checks.entry import GATHER, Entry, checks
from tests.train.oracle_checks.processes import compute


@checks("SwAVDistillationLoss", "DINOLoss", "SWAVLoss", GATHER)
def several_processes(entry: Entry) -> None:
    inputs = {key: entry[key] for key in ("teacher_scores", "student_logits", "teacher_logits", "keys")}
    results = run_processes(compute, entry.settings["world_size"], inputs, entry.settings)
    for key in ("codes", "center", "sslight_codes", "gathered_keys"):
        entry.expect(key, torch.stack([result[key] for result in results]))
    for rank, result in enumerate(results):
        entry.expect(f"loss_swav_rank{rank}", result["loss_swav"])
        entry.expect(f"loss_sslight_dino_rank{rank}", result["loss_sslight_dino"])
