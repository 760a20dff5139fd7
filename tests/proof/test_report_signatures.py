"""What follows from what pyHanko finds of each signature and time stamp: in which order, and by which code."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from asn1crypto import x509
from cryptography.hazmat.primitives import serialization
from pyhanko.sign.validation.status import SignatureCoverageLevel

from compliance.proof.errors import ProofError
from compliance.proof.report import signatures
from compliance.proof.report.signatures import Carried, Roots, Signed, Stamped
from tests.proof.time_stamps import authority

NOW = datetime(2026, 5, 4, 6, 30, tzinfo=UTC)
OURS = authority()


def loaded(certificate: Any) -> x509.Certificate:
    return x509.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))


CERTIFICATE = loaded(OURS.certificate)
ROOTS = Roots((loaded(OURS.root),), (loaded(OURS.root),))
NOTHING = Carried((), (), ())
GOOD_STAMP = {"intact": True, "valid": True, "trusted": True}
GOOD = {
    "intact": True,
    "valid": True,
    "coverage": SignatureCoverageLevel.ENTIRE_REVISION,
    "trusted": True,
    "revoked": False,
    "signing_cert": CERTIFICATE,
    "timestamp_validity": SimpleNamespace(**GOOD_STAMP),
}


def token(moment: datetime) -> Any:
    content = SimpleNamespace(parsed={"gen_time": SimpleNamespace(native=moment)})
    return {"encap_content_info": {"content": content}}


class Case:
    """Signatures and time stamps of a file, as pyHanko would find them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.signed: list[Any] = []
        self.stamped: list[Any] = []
        self.contexts: list[Any] = []

        async def of_signature(embedded: Any, **more: Any) -> Any:
            self.contexts.append(more)
            return embedded.status

        async def of_stamp(embedded: Any, context: Any, *, skip_diff: bool) -> Any:
            assert skip_diff
            return embedded.status

        patch.setattr(signatures, "async_validate_pdf_signature", of_signature)
        patch.setattr(signatures, "async_validate_pdf_timestamp", of_stamp)
        patch.setattr(signatures, "extract_tst_data_iter", lambda info, **_: iter(info))

    @property
    def reader(self) -> Any:
        return SimpleNamespace(embedded_regular_signatures=self.signed, embedded_timestamp_signatures=self.stamped)

    def signs(
        self, field: str = "sig-seal", *, at: datetime = NOW, certifies: bool = True, tokens: int = 1, **status: Any
    ) -> None:
        self.signed.append(
            SimpleNamespace(
                field_name=field,
                signed_revision=len(self.signed) + 1,
                docmdp_level=2 if certifies else None,
                signer_info=[token(at)] * tokens,
                signer_cert=CERTIFICATE,
                other_embedded_certs=[],
                status=SimpleNamespace(**{**GOOD, **status}),
            )
        )

    def stamps(self, *, at: datetime = NOW, data: Any = None, **status: Any) -> None:
        self.stamped.append(
            SimpleNamespace(
                field_name=f"stamp-{len(self.stamped)}",
                signed_revision=len(self.stamped) + 1,
                signed_data=token(at) if data is None else data,
                signer_cert=CERTIFICATE,
                other_embedded_certs=[],
                status=SimpleNamespace(**{**GOOD, **status}),
            )
        )

    def signatures(self, before: datetime = NOW) -> list[Signed]:
        return signatures.signatures(self.reader, ROOTS, NOTHING, before=before)

    def time_stamps(self, now: datetime = NOW) -> list[Stamped]:
        return signatures.time_stamps(self.reader, ROOTS, NOTHING, now=now)


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(monkeypatch)


def refusal(do: Any, **more: Any) -> tuple[str, str | None, int]:
    with pytest.raises(ProofError) as refused:
        do(**more)
    return refused.value.code, refused.value.place, refused.value.exit_status


def test_signatures_come_in_the_order_of_their_revisions(case: Case) -> None:
    case.signs("sig-seal")
    case.signs("sig-auditor", certifies=False, at=NOW - timedelta(hours=1), coverage=SignatureCoverageLevel.ENTIRE_FILE)
    case.signed.reverse()
    found = case.signatures()
    assert [(one.field, one.is_certifying, one.signed_at) for one in found] == [
        ("sig-seal", True, NOW),
        ("sig-auditor", False, NOW - timedelta(hours=1)),
    ]
    assert found[0].signer == "Common Name: Test time stamps"
    assert found[0].certificate_sha256 == CERTIFICATE.sha256.hex()
    assert found[0].certificate_valid_until == OURS.certificate.not_valid_after_utc
    assert all(context["skip_diff"] for context in case.contexts)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ({"intact": False}, "report.signature"),
        ({"valid": False}, "report.signature"),
        ({"coverage": SignatureCoverageLevel.CONTIGUOUS_BLOCK_FROM_START}, "report.signature"),
        ({"timestamp_validity": None}, "report.time_stamp"),
        ({"timestamp_validity": SimpleNamespace(**GOOD_STAMP | {"intact": False})}, "report.time_stamp"),
        ({"timestamp_validity": SimpleNamespace(**GOOD_STAMP | {"valid": False})}, "report.time_stamp"),
        ({"timestamp_validity": SimpleNamespace(**GOOD_STAMP | {"trusted": False})}, "report.time_stamp"),
        ({"revoked": True}, "report.revocation"),
        ({"tokens": 0}, "report.time_stamp"),
        ({"tokens": 2}, "report.time_stamp"),
    ],
    ids=str,
)
def test_a_signature_that_does_not_hold(case: Case, status: dict[str, Any], code: str) -> None:
    case.signs("sig-seal")
    case.signs("sig-auditor", **status)
    assert refusal(case.signatures) == (code, "sig-auditor", 1)


def test_who_is_not_trusted_is_told_why(case: Case) -> None:
    case.signs(trusted=False)
    assert refusal(case.signatures) == ("report.revocation", "sig-seal", 1)  # no list says that it was not revoked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.proof.test_report_signatures.ROOTS", Roots((), ()))
        assert refusal(case.signatures) == ("report.untrusted", "sig-seal", 1)


def test_the_first_signature_is_the_seal(case: Case) -> None:
    assert refusal(case.signatures)[0] == "report.seal"
    case.signs("sig-auditor")
    case.signs("sig-seal")
    assert refusal(case.signatures)[0] == "report.seal"
    case.signed.clear()
    case.signs(certifies=False)
    assert refusal(case.signatures) == ("report.seal", "sig-seal", 1)


def test_nobody_signs_after_the_time_stamp(case: Case) -> None:
    case.signs()
    case.signs("sig-auditor", at=NOW + timedelta(seconds=1))
    assert refusal(case.signatures) == ("report.time_stamp", "sig-auditor", 1)
    assert len(case.signatures(before=NOW + timedelta(seconds=1))) == 2


def test_time_stamps_come_in_order_and_the_last_is_of_a_certificate_that_is_valid(case: Case) -> None:
    assert refusal(case.time_stamps)[0] == "report.time_stamp"
    case.stamps(at=NOW - timedelta(days=1))
    case.stamps(at=NOW)
    case.stamped.reverse()
    found = case.time_stamps()
    assert [stamp.moment for stamp in found] == [NOW - timedelta(days=1), NOW]
    assert {stamp.authority for stamp in found} == {"Common Name: Test time stamps"}
    assert len(case.time_stamps(now=NOW - timedelta(minutes=10))) == 2
    assert refusal(case.time_stamps, now=NOW - timedelta(minutes=10, seconds=1))[0] == "report.time_stamp"
    assert refusal(case.time_stamps, now=NOW + timedelta(days=366)) == ("report.expired", None, 2)
    case.stamps(at=NOW - timedelta(seconds=1))
    assert refusal(case.time_stamps)[0] == "report.time_stamp"


@pytest.mark.parametrize(
    "status",
    [
        {"intact": False},
        {"valid": False},
        {"coverage": SignatureCoverageLevel.CONTIGUOUS_BLOCK_FROM_START},
        {"trusted": False},
        {"data": {}},
        {"data": {"encap_content_info": {"content": SimpleNamespace(parsed=None)}}},
    ],
    ids=str,
)
def test_a_time_stamp_that_does_not_hold(case: Case, status: dict[str, Any]) -> None:
    case.stamps()
    case.stamps(**status)
    code, place, _ = refusal(case.time_stamps)
    assert (code, place) == ("report.time_stamp", None if "data" in status else "stamp-1")


def test_a_file_without_validation_data_says_nothing_of_revocation() -> None:
    with pytest.raises(ProofError) as refused:
        Carried.read(SimpleNamespace(root={}))  # type: ignore[arg-type]
    assert refused.value.code == "report.revocation"


def test_nothing_comes_from_the_network() -> None:
    context = Carried((CERTIFICATE,), (), ()).context(ROOTS.report, NOW)
    assert not context.fetching_allowed
    assert context.moment == NOW
