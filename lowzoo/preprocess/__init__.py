"""What a network wants to be fed: facts of its input, and the one way from a picture to it."""
