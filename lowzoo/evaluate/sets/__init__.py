"""The labelled sets of the transfer table, each read as its owners distribute it; one set a file."""
