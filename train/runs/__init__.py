"""One run: the loop, its folder, checkpoints, memory and result."""
