"""The student: backbone and head fed with views, its start, its tokens, and what a step hands to a recipe."""
