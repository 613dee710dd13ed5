"""Detectors trained on a backbone: settings, the loop, and what `lowzoo eval detect` and `segment` are made of.

The papers' detection transfer trains a whole network, so it has the habits of a run: checkpoints, resume to the bit,
several processes, a budget of minutes. `lowzoo.evaluate` only names these two protocols.
"""
