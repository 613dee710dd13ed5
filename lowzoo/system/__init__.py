"""The computer: its cores, devices, memory and load, signals, and which optional packages are there."""
