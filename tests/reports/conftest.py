"""Sealed reports that many tests read; each is made once."""

from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.test import override_settings

from tests.conftest import FOLDERS
from tests.reports import house
from tests.reports.making import Workshop, draw


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """An authority, a log and a trust folder that belong together."""
    return Workshop.open(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="session")
def unsigned_audit(workshop: Workshop) -> bytes:
    """A framework audit as drawn, with fields for three signatures."""
    return draw(workshop.audit_draft(requirements=12, findings=2, evidence=3))


@pytest.fixture(scope="session")
def sealed_audit(workshop: Workshop, unsigned_audit: bytes) -> bytes:
    """The audit under the platform's seal."""
    return workshop.seal(unsigned_audit)


@pytest.fixture(scope="session")
def signed_by_three(workshop: Workshop, sealed_audit: bytes) -> bytes:
    """The sealed audit, signed by an auditor and then by a regulator."""
    audited = workshop.sign(sealed_audit, "sig-auditor", workshop.colleague("Auditorin Ä. Öztürk"))
    return workshop.sign(audited, "sig-regulator", workshop.colleague("Regulator, metering section"))


@pytest.fixture(scope="session")
def unsigned_certificate(workshop: Workshop) -> bytes:
    """A meter certificate as drawn."""
    return draw(workshop.certificate_draft(events=5))


@pytest.fixture(scope="session")
def sealed_certificate(workshop: Workshop, unsigned_certificate: bytes) -> bytes:
    """The meter certificate under the platform's seal."""
    return workshop.seal(unsigned_certificate)


@pytest.fixture(scope="session")
def issued(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, house.Issued]:
    """Both kinds of report, made from a log by the job. The rows are gone; the files and what was read of them stay."""
    folder = tmp_path_factory.mktemp("house")
    paths = {name: folder / name.lower() for name in FOLDERS}
    around = transaction.atomic()
    around._from_testcase = True  # as Django marks its own: a durable block inside is not stopped by it
    with django_db_blocker.unblock(), around, override_settings(METERPROOF={**settings.METERPROOF, **paths}):
        made = house.issue_both(house.build())
        transaction.set_rollback(True)
    return made
