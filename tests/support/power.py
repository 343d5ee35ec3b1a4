"""Tests in which a process may die, and the machine never stops: no write waits for the disk."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def power_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the page cache; a test that wants the disk undoes it."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
