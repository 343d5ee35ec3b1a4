"""The replicas at the sites, over SSH: copied, read where they are, given artifacts to keep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from sisamu_ops.doors.ssh import fetch_directory, open_files, put_file
from sisamu_ops.journal.artifacts import artifact_name
from sisamu_ops.journal.port import ReplicaFiles
from sisamu_ops.model.errors import SisamuError
from sisamu_ops.model.platform import Platform, Site


def copy_replicas(platform: Platform, key: Path, destination: Path) -> Mapping[str, Path]:
    """Copy the replica of every site that answers; return where each copy is."""

    def copy(site: Site) -> None:
        fetch_directory(
            site.address, "root", str(site.home / "journal"), destination / site.site_id,
            key=key, known_hosts=platform.policy.known_hosts,
        )  # fmt: skip

    return {site: destination / site for site in _at_each_site(platform, copy)}


def open_replica(
    platform: Platform, site_id: str, key: Path
) -> AbstractContextManager[ReplicaFiles]:
    """Read the replica of a site over SFTP, file by file as they are needed."""
    site, known_hosts = platform.sites[site_id], platform.policy.known_hosts
    source = str(site.home / "journal")
    return open_files(site.address, "root", source, key=key, known_hosts=known_hosts)


def put_artifacts(
    platform: Platform, home: Path, key: Path, contents: Collection[bytes]
) -> frozenset[str]:
    """Put artifacts, kept beside the replica at `home` already, beside those of the other sites.

    Returns the sites that have them all; whether they are enough is for others to say.
    """

    def put(site: Site) -> None:
        for content in contents if site.home != home else ():
            put_file(
                site.address, "root", f"{site.home}/journal/{artifact_name(content)}", content,
                key=key, known_hosts=platform.policy.known_hosts,
            )  # fmt: skip

    return frozenset(_at_each_site(platform, put))


def _at_each_site(platform: Platform, do: Callable[[Site], object]) -> list[str]:
    """Do something at every site at the same time; return those where it could be done."""

    def is_done(site: Site) -> bool:
        with suppress(SisamuError):  # the site is missing from the answer, which says it
            do(site)
            return True
        return False

    with ThreadPoolExecutor(max_workers=len(platform.sites)) as pool:
        done = pool.map(is_done, platform.sites.values())
        return [site for site, well in zip(platform.sites, done, strict=True) if well]
