"""The optimiser's part of a step."""
