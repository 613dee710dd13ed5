"""Training: recipes that make a small student without labels; one loop, one idea a file."""
