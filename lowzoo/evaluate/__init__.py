"""How good frozen features are: extract them once, then measure by protocols that run on the cached features."""
