"""What is timed: a file or a network, and what it is fed."""
