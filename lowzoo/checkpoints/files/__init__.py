"""Checkpoint files as such: which are refused, and their tensors by name."""
