"""Asking: which SAMUs, in what signed words, and put before the leader."""
