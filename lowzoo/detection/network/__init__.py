"""The network of a detector: maps of a backbone, a pyramid over them, proposals, and the heads of each region."""
