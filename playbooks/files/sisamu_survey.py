# SPDX-License-Identifier: Apache-2.0
"""Says how a site stands before a release is installed there; changes nothing.

Run on the site, from standard input, by the Python the release will run on:
`python3.11 - INSTALL_DIR RELEASE`. Needs the standard library only.
"""

import json
import shutil
import sys
from pathlib import Path


def survey(install: Path, release: str) -> dict[str, object]:
    """Return the facts that decide whether, and how, the release can be installed."""
    current = install / "current"
    return {
        "python": list(sys.version_info[:2]),
        "free_mb": shutil.disk_usage(nearest(install)).free // 2**20,
        "current": str(current.readlink()) if current.is_symlink() else "",
        "in_the_way": current.exists() and not current.is_symlink(),
        "installed": (install / "releases" / release / "installed").is_file(),
        "systemd": Path("/run/systemd/system").is_dir(),
    }


def nearest(path: Path) -> Path:
    """Return the path, or the first directory above it that is there."""
    return next(one for one in (path, *path.parents) if one.is_dir())


sys.stdout.write(json.dumps(survey(Path(sys.argv[1]), sys.argv[2])))
