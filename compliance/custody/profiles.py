"""Market profiles as data: which events a market requires, which further fields, roles, identifier schemes and keys.

The engine knows no market. It asks the profile a meter was born under, and takes what it says; a further profile is a
file in `fixtures/custody/profiles/`, written without code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from compliance.custody import vocabulary


class ProfileError(Exception):
    """A profile names something that the vocabulary does not hold."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What one market adds to the vocabulary."""

    id: str
    name: str
    confidence: str
    roles: Mapping[str, str]
    id_schemes: Mapping[str, tuple[str, ...]]
    key_roles: frozenset[str]
    required_events: frozenset[str]
    required_fields: Mapping[str, tuple[str, ...]]
    market_status: Mapping[str, tuple[str, ...]]
    rules: tuple[str, ...]

    def requires(self, code: str) -> bool:
        """True if a meter of this market must see the event `code` in its life."""
        return code in self.required_events


@cache
def load() -> Mapping[str, Profile]:
    """All profiles on file, by id."""
    found: dict[str, Profile] = {}
    for path in [vocabulary.FOLDER / "profiles.yaml", *sorted((vocabulary.FOLDER / "profiles").glob("*.yaml"))]:
        for value in yaml.safe_load(path.read_text(encoding="utf-8"))["profiles"]:
            profile = read(value)
            if profile.id in found:
                raise ProfileError(f"two files hold a profile {profile.id}")
            found[profile.id] = profile
    return found


@cache
def active() -> Mapping[str, Profile]:
    """The profiles in use, the default one first."""
    names = vocabulary.load().active_profiles
    if missing := [name for name in names if name not in load()]:
        raise ProfileError(f"active profiles without a file: {missing}")
    return {name: load()[name] for name in names}


def default() -> Profile:
    """The profile of a meter whose type names none of the active ones."""
    return next(iter(active().values()))


def of(name: str) -> Profile:
    """The profile `name` if it is active, else the default one."""
    return active().get(name) or default()


def read(value: Mapping[str, Any]) -> Profile:
    """Build a profile from its parsed file. Raises ProfileError where it names what the vocabulary does not hold."""
    words = vocabulary.load()
    name = value["id"]
    required_fields = {code: tuple(fields) for code, fields in value.get("required_fields", {}).items()}
    if unknown := (set(value["required_events"]) | set(required_fields)) - set(words.events):
        raise ProfileError(f"{name}: no such event types: {sorted(unknown)}")
    status = {state: tuple(states) for state, states in value.get("market_status_map", {}).items()}
    if unknown := {state for states in status.values() for state in states} - set(words.states):
        raise ProfileError(f"{name}: no such states: {sorted(unknown)}")
    plan = value["key_plan"]
    return Profile(
        id=name,
        name=value["name"],
        confidence=value.get("confidence", ""),
        roles=dict(value["roles"]),
        id_schemes={kind: tuple(schemes) for kind, schemes in value["id_schemes"].items()},
        key_roles=frozenset(plan["roles"]) | frozenset(plan.get("suite_1_2_roles", ())),
        required_events=frozenset(value["required_events"]),
        required_fields=required_fields,
        market_status=status,
        rules=tuple(value.get("profile_rules", ())),
    )
