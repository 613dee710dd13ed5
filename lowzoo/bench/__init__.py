"""Latency: one target a file, one protocol (`protocol`), one result schema (`schema`).

A figure of this machine's processor is a regression guard, not a phone: every result says which target it is of.
"""
