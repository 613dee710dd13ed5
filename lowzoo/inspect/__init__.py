"""What lowzoo sees in a set of images before anyone trains: `inspection.inspect` looks, the rest says what it saw."""
