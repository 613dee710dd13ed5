"""README, documentation and notebooks: what stands there is run."""
