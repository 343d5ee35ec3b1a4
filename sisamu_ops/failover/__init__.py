"""Moving SAMUs between telephony modes: request, plan, execution, sealing, settling."""
