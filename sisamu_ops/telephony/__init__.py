"""What callers experience: who answered their calls, how soon, and how the calls ended."""
