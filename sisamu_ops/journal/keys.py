"""A site's three key files, and the policy that says whose signatures count.

The policy is the root of trust of every verification: it is handed over out of band, never taken
from the journal it judges. Threshold: a majority of the sites, otherwise two groups of sites could
agree on two histories.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sisamu_ops.journal.durable import Disk, make_directories_durably, write_durably
from sisamu_ops.journal.signing import (
    CosignKey,
    EntryKey,
    LogKey,
    SignatureType,
    SigningKey,
    VerifierKey,
    is_key_name,
)
from sisamu_ops.journal.strict import count_of, members_of, object_of, text_of, without_duplicates
from sisamu_ops.model.errors import ConfigurationError

_Key = TypeVar("_Key", bound=SigningKey)
_SITE = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, kw_only=True)
class RetiredKey:
    """A key a site used to sign with: it counts for what stands below `until` entries."""

    key: VerifierKey
    until: int


@dataclass(frozen=True, kw_only=True)
class SitePublicKeys:
    """What the others know of a site's keys: those in use, and those it used before."""

    site: str
    entry: VerifierKey
    log: VerifierKey
    cosign: VerifierKey
    retired: tuple[RetiredKey, ...] = ()

    def entry_keys(self, index: int) -> tuple[VerifierKey, ...]:
        """Give the keys that may have signed the entry at `index`."""
        return (self.entry, *self._retired(self.entry, index))

    def log_keys(self, size: int) -> tuple[VerifierKey, ...]:
        """Give the keys that may have signed a checkpoint of `size` entries as the log."""
        return (self.log, *self._retired(self.log, size - 1))

    def cosign_keys(self, size: int) -> tuple[VerifierKey, ...]:
        """Give the keys that may have cosigned a checkpoint of `size` entries."""
        return (self.cosign, *self._retired(self.cosign, size - 1))

    def _retired(self, successor: VerifierKey, index: int) -> tuple[VerifierKey, ...]:
        kind = (successor.name, successor.signature_type)
        return tuple(
            one.key
            for one in self.retired
            if (one.key.name, one.key.signature_type) == kind and index < one.until
        )


@dataclass(frozen=True, kw_only=True)
class SiteKeys:
    """The private keys of one site."""

    site: str
    entry: EntryKey
    log: LogKey
    cosign: CosignKey

    @property
    def origin(self) -> str:
        """Give the origin of the journal these keys sign."""
        return self.log.name

    @property
    def publics(self) -> SitePublicKeys:
        """Give the public halves."""
        return SitePublicKeys(
            site=self.site,
            entry=self.entry.verifier,
            log=self.log.verifier,
            cosign=self.cosign.verifier,
        )


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Whose signatures count: the sites, how many must agree, and the operators' keys."""

    origin: str
    sites: Mapping[str, SitePublicKeys]
    threshold: int
    allowed_signers: str

    def __post_init__(self) -> None:
        """Check that the policy can be relied on; raises ValueError naming every problem."""
        problems = _policy_problems(self)
        if problems:
            raise ValueError("; ".join(problems))


def is_site_name(site: str) -> bool:
    """Say whether this can be a site: lower-case letters, digits and inner dashes."""
    return _SITE.fullmatch(site) is not None


def key_names(site: str, origin: str) -> tuple[str, str, str]:
    """Give the names of a site's entry, log and cosigning key; raises ValueError.

    The platform is the origin without its last part (`sisamu-lab/journal` → `sisamu-lab`).
    """
    platform = origin.rpartition("/")[0]
    if not platform or not is_key_name(origin):
        raise ValueError(f"origin {origin!r} is not of the form <platform>/journal")
    if not is_site_name(site):
        raise ValueError(f"site {site!r} is not a lower-case name")
    return f"{platform}/{site}/entry", origin, f"{platform}/{site}"


def make_site_keys(directory: Path, site: str, origin: str) -> SitePublicKeys:
    """Make the keys a site lacks in `directory`, mode 0600, and give the public halves.

    Existing keys are kept. Raises ConfigurationError when an existing key is unreadable or was
    made for another site or journal; ValueError for a malformed site or origin.
    """
    entry, log, cosign = key_names(site, origin)
    make_directories_durably(directory, disk=Disk())
    return SiteKeys(
        site=site,
        entry=_keep_or_make(directory / "entry.key", EntryKey, entry),
        log=_keep_or_make(directory / "log.key", LogKey, log),
        cosign=_keep_or_make(directory / "cosign.key", CosignKey, cosign),
    ).publics


def load_site_keys(directory: Path) -> SiteKeys:
    """Read the three keys of a site; the site and the origin are those in the keys' names.

    Raises ConfigurationError for a missing or malformed key file, one that others may read, or
    three keys that do not belong together.
    """
    keys = SiteKeys(
        entry=_read_key(directory / "entry.key", EntryKey),
        log=_read_key(directory / "log.key", LogKey),
        cosign=(cosign := _read_key(directory / "cosign.key", CosignKey)),
        site=cosign.name.rpartition("/")[2],
    )
    found = (keys.entry.name, keys.log.name, keys.cosign.name)
    if not is_site_name(keys.site) or found != key_names(keys.site, keys.origin):
        raise ConfigurationError(
            f"the keys named {', '.join(found)} are not those of one site",
            place=str(directory),
            remedy="put back the three key files of this site",
        )
    return keys


def write_policy(
    path: Path,
    *,
    origin: str,
    publics: Iterable[SitePublicKeys],
    threshold: int,
    allowed_signers: str,
) -> None:
    """Write a policy file, whole or not at all; `allowed_signers` is the file's text.

    Raises ValueError when nobody could rely on such a policy.
    """
    sites = {site.site: site for site in publics}
    policy = Policy(
        origin=origin, sites=sites, threshold=threshold, allowed_signers=allowed_signers
    )
    document = {
        "origin": policy.origin,
        "threshold": policy.threshold,
        "sites": {
            name: {"entry": site.entry.vkey, "log": site.log.vkey, "cosign": site.cosign.vkey}
            | _retired_to_json(site)
            for name, site in policy.sites.items()
        },
        "allowed_signers": policy.allowed_signers,
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    write_durably(path, (text + "\n").encode(), disk=Disk())


def _retired_to_json(site: SitePublicKeys) -> dict[str, object]:
    told = [{"key": one.key.vkey, "until": one.until} for one in site.retired]
    return {"retired": told} if told else {}


def load_policy(path: Path) -> Policy:
    """Read a policy file; raises ConfigurationError when it is missing or malformed."""
    try:
        text = path.read_text("utf-8")
        return _policy_of(json.loads(text, object_pairs_hook=without_duplicates))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"cannot be used as a journal policy: {error}",
            place=str(path),
            remedy="get the policy of this platform from its operator",
        ) from error


def _keep_or_make(path: Path, kind: type[_Key], name: str) -> _Key:
    if not path.exists():
        write_durably(path, (kind.generate(name).text + "\n").encode(), mode=0o600, disk=Disk())
    key = _read_key(path, kind)
    if key.name != name:
        raise ConfigurationError(f"holds the key {key.name}, not {name}", place=str(path))
    return key


def _read_key(path: Path, kind: type[_Key]) -> _Key:
    try:
        mode = path.stat().st_mode
        key = kind.parse(path.read_text("utf-8").removesuffix("\n"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot be used as a key: {error}", place=str(path)) from error
    if mode & 0o077:
        raise ConfigurationError(
            "others may read this private key", place=str(path), remedy=f"chmod 600 {path}"
        )
    return key


def _policy_of(document: object) -> Policy:
    members = members_of(document, {"origin", "threshold", "sites", "allowed_signers"}, "a policy")
    sites = object_of(members["sites"], "sites")
    return Policy(
        origin=text_of(members["origin"], "origin"),
        sites={name: _site_of(name, site) for name, site in sites.items()},
        threshold=count_of(members["threshold"], "threshold"),
        allowed_signers=text_of(members["allowed_signers"], "allowed_signers"),
    )


def _site_of(name: str, document: object) -> SitePublicKeys:
    kinds = {"entry", "log", "cosign"}
    has_retired = isinstance(document, dict) and "retired" in document
    members = members_of(document, kinds | ({"retired"} if has_retired else set()), f"site {name}")
    keys = {kind: VerifierKey.parse(text_of(members[kind], f"{name}.{kind}")) for kind in kinds}
    retired = members["retired"] if has_retired else []
    if not isinstance(retired, list):
        raise ValueError(f"{name}.retired is not a list")  # noqa: TRY004 - as in `strict`
    return SitePublicKeys(
        site=name, entry=keys["entry"], log=keys["log"], cosign=keys["cosign"],
        retired=tuple(_retired_of(name, one) for one in retired),
    )  # fmt: skip


def _retired_of(name: str, document: object) -> RetiredKey:
    members = members_of(document, {"key", "until"}, f"a retired key of {name}")
    until = count_of(members["until"], f"{name}.retired.until")
    if until < 0:
        raise ValueError(f"{name}.retired.until is below 0")
    key = VerifierKey.parse(text_of(members["key"], f"{name}.retired.key"))
    return RetiredKey(key=key, until=until)


def _policy_problems(policy: Policy) -> list[str]:
    sites = list(policy.sites.values())
    keys = [key for site in sites for key in (site.entry, site.log, site.cosign)]
    keys += [one.key for site in sites for one in site.retired]
    problems = [problem for site in sites for problem in _site_problems(site, policy.origin)]
    if not len(sites) // 2 < policy.threshold <= len(sites):
        problems.append(f"threshold {policy.threshold} is no majority of {len(sites)} sites")
    if len({key.public for key in keys}) != len(keys):
        problems.append("one key stands in two places")
    return problems


def _site_problems(site: SitePublicKeys, origin: str) -> list[str]:
    keys = (site.entry, site.log, site.cosign)
    types = (SignatureType.ED25519, SignatureType.ED25519, SignatureType.COSIGNATURE)
    try:
        names = key_names(site.site, origin)
    except ValueError as error:
        return [str(error)]
    used = set(zip(names, types, strict=True))
    strange = [
        f"the retired key {one.key.name} is of no kind that site {site.site} has"
        for one in site.retired
        if (one.key.name, one.key.signature_type) not in used
    ]
    return strange + [
        f"key {key.name} of site {site.site} should be {name}, type {kind}"
        for key, name, kind in zip(keys, names, types, strict=True)
        if (key.name, key.signature_type) != (name, kind)
    ]
