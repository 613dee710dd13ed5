"""Where encoded images lie: one kind of store a file, each with a reader by index."""
