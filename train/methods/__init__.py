"""What one step of a recipe does: which views go to which network, targets, loss, state."""
