"""What a run measures and shows of itself while it works and at its end."""
