"""Annotated sets: one layout a file, and what all of them become."""
