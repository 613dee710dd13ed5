"""Published checkpoints of students, one layout a file, and the one reader of them all (`published`)."""
