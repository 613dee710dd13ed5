"""Ranges of activations, and the choice among ways to int8, whatever the format."""
