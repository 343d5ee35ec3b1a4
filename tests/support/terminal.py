"""The command line in this process: what a terminal shows, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sisamu_ops.cli import main as command_line


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One command's exit code and what it wrote."""

    code: int
    out: str
    err: str


Terminal = Callable[..., Shown]


def open_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Return what runs `sisamu` with these words, as its console script does.

    An error that is no SisamuError comes out as it is: a bug fails the test.
    """
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def run(*words: str | Path) -> Shown:
        monkeypatch.setattr(sys, "argv", ["sisamu", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Shown(code=code, out=out, err=err)

    return run
