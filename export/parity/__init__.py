"""Does an artifact compute what PyTorch computes: run, measured, judged, explained."""
