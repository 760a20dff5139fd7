"""The vocabulary as data: event types, states, tracks and effects of `fixtures/custody/events.yaml` and `data.yaml`.

Loaded once and checked whole: a word that the files use and nowhere define stops the program at its start. Nothing here
or in `lifecycle.py` knows an event type that the files do not name.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "custody"
PARTIES = ("holder", "owner", "controller")
TRACKS = (*PARTIES, "key_state", "seal_state", "data_state", "trust")
SIGNATURE_RULES = {"two_people", "two_organisations"}
ANY_KIND = "subject_of_the_corrected_entry"
LINKED = "custody.linked"
CORRECTED = "record.corrected"
AUTHOR_ROLE = "author_of_original"


class VocabularyError(Exception):
    """The vocabulary's files contradict themselves."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One of the types of `events.yaml`, with what `data.yaml` adds."""

    code: str
    number: str
    phase: str
    kinds: frozenset[str]
    emitted_by: frozenset[str]
    from_states: frozenset[str]
    to_state: str | None
    outcome_field: str | None
    leads_to: Mapping[str, str]
    required_fields: tuple[str, ...]
    preconditions: tuple[str, ...]
    evidence_expected: tuple[str, ...]
    effects: Mapping[str, str]
    effects_field: str | None
    effects_by_word: Mapping[str, Mapping[str, str]]
    signature_rule: str | None
    second_signature_when: Mapping[str, str]
    expands: bool
    schema: int
    profile: str
    serves: tuple[str, ...]
    epcis: Mapping[str, Any] | None
    note: str
    shape: Mapping[str, Any]
    example: Mapping[str, Any]
    is_birth: bool = field(init=False)  # whether it begins the life of a meter

    def __post_init__(self) -> None:
        """Asked of every event, so found out once."""
        object.__setattr__(self, "is_birth", self.from_states == frozenset({"none"}))

    def asks_second_signature(self, data: Mapping[str, Any]) -> bool:
        """True if an event of this type with `data` needs the keys of two signers."""
        if self.signature_rule is None:
            return False
        return all(data.get(name) == word for name, word in self.second_signature_when.items())


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All types and words, as one value that tests can replace by a smaller one."""

    events: Mapping[str, EventType]
    platform_types: frozenset[str]
    states: Mapping[str, str]
    terminal_states: frozenset[str]
    tracks: Mapping[str, str]
    origin_rule: Mapping[str, frozenset[str]]
    offices: frozenset[str]
    cell_steps: tuple[str, ...]
    active_profiles: tuple[str, ...]
    maker_letters: Mapping[str, tuple[int, int, bool]]
    roles: frozenset[str] = field(default=frozenset())

    @property
    def birth_type(self) -> str:
        """Code of the type that begins the life of a meter."""
        return next(code for code, event_type in self.events.items() if event_type.is_birth)

    def flag(self, scheme: str, value: str) -> str | None:
        """The maker's letters in a value of `scheme`, if the scheme carries them."""
        if scheme not in self.maker_letters:
            return None
        first, last, is_hex = self.maker_letters[scheme]
        letters = value[first:last]
        return bytes.fromhex(letters).decode("ascii", "replace") if is_hex else letters


@cache
def load() -> Vocabulary:
    """The vocabulary of this installation."""
    return read(events=_parse("events.yaml"), data=_parse("data.yaml"))


def vocabulary_sha256() -> str:
    """Digest that the log's first entry names: SHA-256 of `events.yaml`, `sha256sum` gives the same."""
    return hashlib.sha256((FOLDER / "events.yaml").read_bytes()).hexdigest()


def read(*, events: Mapping[str, Any], data: Mapping[str, Any]) -> Vocabulary:
    """Build the vocabulary from two parsed files. Raises VocabularyError at the first contradiction."""
    if unknown := set(data["types"]) ^ {event["code"] for event in events["events"]}:
        raise VocabularyError(f"only one of the two files names {sorted(unknown)}")
    vocabulary = Vocabulary(
        events={event["code"]: _event_type(event, data) for event in events["events"]},
        platform_types=frozenset(event["code"] for event in (*events["platform_events"], *data["platform_events"])),
        states=dict(events["meter_states"]),
        terminal_states=frozenset(events["terminal_states"]),
        tracks=dict(events["parallel_tracks"]),
        origin_rule={state: frozenset(allowed) for state, allowed in events["origin_rule"].items()},
        offices=frozenset(data["standing_by_office"]),
        cell_steps=tuple(data["cell_steps"]),
        active_profiles=tuple(data["active_profiles"]),
        maker_letters={
            scheme: (place["from"], place["to"], place["hex"]) for scheme, place in data["maker_letters"].items()
        },
        roles=frozenset(role for event in events["events"] for role in event["emitted_by"]) - {AUTHOR_ROLE},
    )
    _check(vocabulary)
    return vocabulary


def _parse(name: str) -> Any:
    with (FOLDER / name).open("rb") as file:
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 both loaders are safe


def _event_type(event: Mapping[str, Any], data: Mapping[str, Any]) -> EventType:
    code = event["code"]
    outcome = data["outcomes"].get(code, {})
    effects = event.get("effects") or {}
    by_outcome = dict(effects.get("by_outcome", {}))
    effects_field = by_outcome.pop("field", None)
    by_outcome.update(data.get("further_effects", {}).get(code, {}))
    signatures = event["signatures"]
    if (signatures["count"] == 2) != (signatures.get("rule") in SIGNATURE_RULES):
        raise VocabularyError(f"{code}: {signatures} is no signature rule")
    return EventType(
        code=code,
        number=event["no"],
        phase=event["phase"],
        kinds=frozenset(data["subject_kinds"].get(event["subject"], [event["subject"]])),
        emitted_by=frozenset([event["emitted_by"]] if isinstance(event["emitted_by"], str) else event["emitted_by"]),
        from_states=frozenset(event["from_states"]),
        to_state=event["to_state"],
        outcome_field=outcome.get("field"),
        leads_to=outcome.get("leads_to", {}),
        required_fields=tuple(event["required_fields"]),
        preconditions=tuple(event["preconditions"]),
        evidence_expected=tuple(event["evidence_expected"]),
        effects={name: value for name, value in effects.items() if name in TRACKS},
        effects_field=effects_field,
        effects_by_word=by_outcome,
        signature_rule=signatures.get("rule"),
        second_signature_when=data["second_signature_when"].get(code, {}),
        expands=bool(event.get("expands")),
        schema=event["schema"],
        profile=event["profile"],
        serves=tuple(event["serves"]),
        epcis=event["epcis"],
        note=event.get("note", ""),
        shape=data["types"][code]["shape"],
        example=data["types"][code]["example"],
    )


def _check(vocabulary: Vocabulary) -> None:
    states, tracks = set(vocabulary.states), set(vocabulary.tracks)
    if tracks != set(TRACKS):
        raise VocabularyError(f"the tracks are {sorted(tracks)}, not {sorted(TRACKS)}")
    loose = vocabulary.terminal_states | set(vocabulary.origin_rule) | set().union(*vocabulary.origin_rule.values())
    _require_known("states", "terminal states and origin rule", loose - states)
    _require_known("events", "steps of the cell", set(vocabulary.cell_steps) - set(vocabulary.events))
    for code, event_type in vocabulary.events.items():
        _require_known("states", f"{code}: from", event_type.from_states - states)
        _check_target(code, event_type, states)
        _check_effects(code, event_type, vocabulary)
        missing = {name.split("[].")[0] for name in event_type.required_fields} - set(event_type.shape)
        _require_known("shape", f"{code}: required fields", missing)
    if sum(event_type.is_birth for event_type in vocabulary.events.values()) != 1:
        raise VocabularyError("exactly one type must begin a meter's life")


def _check_target(code: str, event_type: EventType, states: set[str]) -> None:
    if event_type.to_state is None or event_type.to_state == "=":
        if event_type.leads_to:
            raise VocabularyError(f"{code}: has outcomes but moves nothing")
        return
    targets = set(event_type.to_state.split("|"))
    _require_known("states", f"{code}: to", targets - states - {"previous"})
    if len(targets) > 1 and set(event_type.leads_to.values()) != targets:
        raise VocabularyError(f"{code}: its outcomes lead to {sorted(event_type.leads_to.values())}, not {targets}")
    if len(targets) > 1:
        _check_words(code, event_type, event_type.outcome_field, set(event_type.leads_to))


def _check_effects(code: str, event_type: EventType, vocabulary: Vocabulary) -> None:
    for word, effects in {"": event_type.effects, **event_type.effects_by_word}.items():
        _require_known("tracks", f"{code}: effects {word}", set(effects) - set(TRACKS))
        for track, value in effects.items():
            if track in PARTIES:
                name = value.removeprefix("data.")
                if value not in {"sender", "none", "unknown", "="} and name not in event_type.required_fields:
                    raise VocabularyError(f"{code}: {track} cannot become {value!r}")
            elif value != "=" and value not in vocabulary.tracks[track].split(", "):
                raise VocabularyError(f"{code}: {value!r} is no word of {track}")
    if event_type.effects_by_word:
        used = set(event_type.effects_by_word) - set(event_type.leads_to)
        _check_words(code, event_type, event_type.effects_field, used or set(event_type.effects_by_word))


def _check_words(code: str, event_type: EventType, name: str | None, words: set[str]) -> None:
    shape = event_type.shape.get(name or "")
    allowed = set(shape["one_of"]) if isinstance(shape, Mapping) else set()
    if not words <= allowed:
        raise VocabularyError(f"{code}: {name} allows {sorted(allowed)}, but words used are {sorted(words)}")


def _require_known(what: str, where: str, unknown: set[str] | frozenset[str]) -> None:
    if unknown:
        raise VocabularyError(f"{where}: {sorted(unknown)} not among the {what}")
