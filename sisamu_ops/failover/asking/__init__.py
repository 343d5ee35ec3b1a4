"""Asking: which SAMUs are meant, and a signed request put before the leader."""
