"""Words shared by every room: sites, SAMUs, modes, epochs, tokens, outcomes, errors."""
