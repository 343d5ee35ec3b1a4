"""The journal: one append-only, signed, replicated record from which all state is folded."""
