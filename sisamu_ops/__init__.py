"""Operations toolkit for an emergency-call platform."""
