"""The exact teacher cache: what a frozen teacher says about every view, stored once."""
