"""Reading a JSON document written by hand without guessing what was meant.

Everything here raises ValueError: a wrong type in a document is bad input, not a wrong call.
"""

from __future__ import annotations


def without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object, for `json.loads(object_pairs_hook=…)`, refusing a repeated key."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object repeats a key")
    return members


def members_of(value: object, names: set[str], place: str) -> dict[str, object]:
    """Give an object that has exactly these members."""
    members = object_of(value, place)
    if set(members) != names:
        raise ValueError(f"{place} must have exactly {', '.join(sorted(names))}")
    return members


def object_of(value: object, place: str) -> dict[str, object]:
    """Give an object."""
    if not isinstance(value, dict):
        raise ValueError(f"{place} must be an object")  # noqa: TRY004 (see above)
    return value


def text_of(value: object, place: str) -> str:
    """Give a text."""
    if not isinstance(value, str):
        raise ValueError(f"{place} must be text")  # noqa: TRY004 (see above)
    return value


def count_of(value: object, place: str) -> int:
    """Give an integer that is not a truth value."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{place} must be an integer")  # noqa: TRY004 (see above)
    return value
