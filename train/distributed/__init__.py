"""Several processes, one run: how they start, what they tell each other."""
