"""Telling: the facts for people, in words, in pictures and as data."""
