"""Does a cluster hold, what would it survive: verdicts on what was read, never a guess."""
