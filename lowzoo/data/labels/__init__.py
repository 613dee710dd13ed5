"""From names, columns and lists to splits and classes."""
