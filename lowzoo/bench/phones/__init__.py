"""Phones that another program reaches: an iPhone by coremltools, a phone in a rack by Qualcomm's client."""
