"""What an artifact says of itself, where it is put, and how an app feeds it."""
