"""Wheels for a deployment, made from what is here: nothing is fetched."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
_SOURCE = ("sisamu_ops", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def gather(directory: Path, version: str) -> Path:
    """Fill a directory with pip, this project as another version, and all that it needs."""
    directory.mkdir()
    build(directory, version)
    for name in ("pip", *sorted(requirements("sisamu-ops"))):
        repack(distribution(name), directory)
    return directory


def gather_borrowing(directory: Path, version: str) -> Path:
    """As `gather`, but what the project needs is lent by the environment of the tests.

    A site installs three small wheels instead of all of Ansible.
    """
    directory.mkdir()
    build(directory, version, needs="borrowed-environment")
    repack(distribution("pip"), directory)
    write_wheel(
        directory, "borrowed_environment", version,
        {"borrowed.pth": "".join(f"{path}\n" for path in site.getsitepackages())},
        "ansible-playbook = ansible.cli.playbook:main",
    )  # fmt: skip
    return directory


def build(directory: Path, version: str, needs: str = "") -> None:
    """Build the wheel of a copy of this project whose version, and requirements, are others."""
    copy = directory / "copy"
    for name in _SOURCE:
        source, target = ROOT / name, copy / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
    setup = copy / "setup.cfg"
    settings = ConfigParser()
    settings.read(setup)
    settings["metadata"]["version"] = version
    if needs:
        settings["options"]["install_requires"] = needs
    with setup.open("w") as file:
        settings.write(file)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--no-index", "-w", str(directory), "."], cwd=copy, check=True)
    shutil.rmtree(copy)


def broken(directory: Path, version: str) -> Path:
    """Fill a directory with pip, and a wheel of this project's name whose command ends at once."""
    directory.mkdir()
    repack(distribution("pip"), directory)
    code = {"sisamu_ops.py": "def main():\n    raise SystemExit('broken')\n"}
    write_wheel(directory, "sisamu_ops", version, code, "sisamu = sisamu_ops:main")
    return directory


def write_wheel(
    directory: Path, name: str, version: str, files: Mapping[str, str], script: str
) -> None:
    """Write a wheel of a few files and one command."""
    info = f"{name}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{script}\n",
        f"{info}/RECORD": "",
    }
    with ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in content.items():
            wheel.writestr(path, text)


def requirements(name: str) -> set[str]:
    """Return the distributions that one needs, and that those need, as installed here."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for needed in _needed_by(waiting.pop()):
            if needed not in found:
                found.add(needed)
                waiting.append(needed)
    return found


def _needed_by(name: str) -> Iterator[str]:
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def repack(installed: Distribution, directory: Path) -> None:
    """Make a wheel again of what was installed from one, without what the installer added."""
    name = installed.metadata["Name"].replace("-", "_")
    tags = [
        line[5:]
        for line in (installed.read_text("WHEEL") or "").splitlines()
        if line[:5] == "Tag: "
    ]
    kept = [one for one in installed.files or () if _is_packed(str(one))]
    path = directory / f"{name}-{installed.version}-{_compressed(tags)}.whl"
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=1) as wheel:
        for one in kept:
            wheel.write(str(one.locate()), str(one))
        record = next(str(one) for one in kept if str(one).endswith(".dist-info/METADATA"))
        wheel.writestr(record.replace("METADATA", "RECORD"), "")


def _is_packed(path: str) -> bool:
    added = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
    return not (path.startswith("../") or path.endswith(".pyc") or path.split("/")[-1] in added)


def _compressed(tags: list[str]) -> str:
    """Return the tags of a wheel as its file name has them."""
    parts = zip(*(tag.split("-") for tag in tags), strict=True)
    return "-".join(".".join(dict.fromkeys(part)) for part in parts)
