"""Published checkpoints of students and teachers, one layout a file; `published` recognises and converts students."""
