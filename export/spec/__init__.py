"""What is asked of an export, and what it must keep: spec, bounds, limits of size."""
