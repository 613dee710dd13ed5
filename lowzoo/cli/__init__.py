"""The command line: one file a command; a command's signature is its documentation."""
