"""Planning: what would move where, in which waves and in which order."""
