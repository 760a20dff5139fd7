"""The registry: every check says what the list of detectors says of it, and who is new must say it too."""

from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command

from compliance.checks import registry
from compliance.checks.registry import Check, EventCheck, Severity, SweepCheck
from compliance.custody import vocabulary
from compliance.frameworks import selectors as frameworks

LISTED = {
    item["id"]: item
    for item in yaml.safe_load((Path(settings.BASE_DIR) / "fixtures/detectors/detectors.yaml").read_text())["detectors"]
}
# What a check listens to beyond the inputs of the list: seals are missed at the exit too, and a dead meter does more.
FURTHER = {
    "AN-10": {"cell.exited"},
    "AN-23": {"install.installed", "ops.firmware_updated", "reprov.started"},
}


def test_the_detectors_of_the_first_product_are_there():
    wanted = {"AN-01", "AN-02", "AN-04", "AN-05", "AN-06", "AN-07", "AN-10", "AN-14", "AN-15", "AN-23"}
    assert wanted <= {check.id for check in registry.checks()}


@pytest.mark.parametrize("check", registry.checks(), ids=lambda check: check.id)
def test_a_check_says_what_the_list_says(check):
    listed = LISTED[check.id]
    assert (check.name, check.severity) == (listed["name"], Severity(listed["severity"]))
    assert {reference.removeprefix("iso27001-2022:") for reference in check.speaks_to} == set(listed["iso27001_2022"])
    assert listed["parameters"].items() <= check.parameters.items()
    assert check.title.endswith("?")
    assert check.version >= 1
    if isinstance(check, EventCheck):
        assert set(check.listens_to) == set(listed["inputs"]) | FURTHER.get(check.id, set())
        assert set(check.listens_to) <= vocabulary.load().events.keys()
    else:
        assert isinstance(check, SweepCheck)


@pytest.mark.django_db
def test_what_a_check_speaks_to_is_in_the_shipped_catalogues():
    call_command("load_catalogues", verbosity=0)
    spoken_to = {reference for check in registry.checks() for reference in check.speaks_to}
    assert frameworks.known_references(spoken_to) == spoken_to


def test_checks_are_found_by_id_and_come_in_order():
    ids = [check.id for check in registry.checks()]
    assert ids == sorted(ids)
    assert [registry.check(id_).id for id_ in ids] == ids
    assert {check.id for check in (*registry.event_checks(), *registry.sweep_checks())} == set(ids)
    with pytest.raises(KeyError):
        registry.check("AN-99")


def test_two_checks_cannot_have_one_id():
    with pytest.raises(ValueError, match="AN-01"):

        @registry.register
        class Again(Check):
            """AN-01: Again?"""

            id = "AN-01"

    assert type(registry.check("AN-01")).__name__ == "DuplicateIdentity"


def test_listeners_are_by_event_type():
    for event_type, listening in registry.listeners().items():
        assert listening
        assert all(event_type in check.listens_to for check in listening)
