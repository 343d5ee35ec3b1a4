"""The fold: what is known, from the entries alone."""
