"""Configurations as data: the paper's defaults of each loss, and the small run on the embedded sample set."""
