"""The host target: this computer, in fresh processes, one model or two in turns."""
