"""MSN's own loss: sharpened targets, with and without Sinkhorn, and me-max."""

import torch

from lowzoo.train.losses.msn import msn_loss, msn_targets
from tests.train.oracle_checks.entry import Entry, checks

# What the official distributed Sinkhorn does by default.
ITERATIONS = 3


@checks("init_msn_loss")
def msn(entry: Entry) -> None:
    settings = entry.settings
    for suffix, iterations in (("", 0), ("_sinkhorn", settings.get("sinkhorn_iterations", ITERATIONS))):
        anchors = entry.leaf("anchors", settings["anchor_views"])
        prototypes = entry.leaf("prototypes")
        targets = msn_targets(
            entry["targets"],
            prototypes,
            temperature=settings["temperature"],
            sharpening=settings["sharpening"],
            iterations=iterations,
        )
        loss, me_max = msn_loss(anchors, targets, prototypes, temperature=settings["temperature"])
        torch.autograd.backward(loss + me_max)
        entry.expect(f"target_probs{suffix}", targets)
        entry.expect(f"loss{suffix}", loss)
        entry.expect(f"me_max{suffix}", me_max)
        entry.expect(f"grad_anchors{suffix}", anchors.grad)
        entry.expect(f"grad_prototypes{suffix}", prototypes.grad)
