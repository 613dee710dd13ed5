"""From encoded bytes to pixels: formats, channels, orientation, more than 8 bits."""
