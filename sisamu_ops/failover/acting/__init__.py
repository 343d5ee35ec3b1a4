"""Acting: what is accepted turned into fenced runs, wave by wave, and judged."""
