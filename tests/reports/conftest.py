"""Sealed reports that many tests read; each is made once."""

import pytest

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
def sealed_certificate(workshop: Workshop) -> bytes:
    """A sealed meter certificate."""
    return workshop.seal(draw(workshop.certificate_draft(events=5)))
