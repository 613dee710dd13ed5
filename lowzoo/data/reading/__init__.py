"""What every store of images shares: the interface, options, identity by content, what was left out."""
