"""Asking for reports, who sees which, and the comparison of the register with files and log."""

from pathlib import Path

import pytest
from django.conf import settings

from compliance.accounts.models import Organisation, Person
from compliance.accounts.policy import SYSTEM, NotAllowed
from compliance.custody.models import Meter
from compliance.frameworks.actions import load_shipped
from compliance.jobs import clock
from compliance.jobs.models import Job
from compliance.ledger import selectors as ledger
from compliance.reports import actions, archive, consistency, selectors
from compliance.reports.actions import DrawnPdf, RequestRefused
from compliance.reports.builders.drafts import Draft
from compliance.reports.facts import CheckpointFacts
from compliance.reports.models import Report, State
from compliance.reports.sealing import SealedPdf
from tests.accounts import world as accounts
from tests.custody import world

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


@pytest.fixture
def people(log: Path) -> dict[str, Person]:
    """People of every role, two makers with a meter each, and the catalogues."""
    load_shipped()
    for name in ("elster", "rival"):
        world.join(name, "manufacturer")
    maker = Organisation.objects.get(pk="elster")
    for home, role in (("pruefhaus", "auditor"), ("behoerde", "regulator")):
        accounts.join(home, role)
    return {
        "administrator": accounts.person("anna", Organisation.objects.get(pk="platform"), "administrator"),
        "auditor": accounts.person("hanna", Organisation.objects.get(pk="pruefhaus"), "auditor"),
        "regulator": accounts.person("regina", Organisation.objects.get(pk="behoerde"), "regulator"),
        "manager": accounts.person("marta", maker, "manager"),
        "member": accounts.person("max", maker, "member"),
        "stranger": accounts.person("rita", Organisation.objects.get(pk="rival"), "member"),
    }


@pytest.fixture
def meter(people: dict[str, Person]) -> str:
    """Public id of a meter that elster made."""
    maker = world.join("werk2", "manufacturer")
    maker.send(world.event("mfg.assembled", world.title(1), {"identifiers": []}))
    Meter.objects.update(owner="elster")
    return world.meter(world.title(1)).public_id


def sealed(report: Report) -> Report:
    """`report` as issued, without the pages: the register does not look into the file."""
    draft = Draft("<p>", (), "A title", CheckpointFacts("o", 9, "ab" * 32, clock.now(), "note"), clock.now())
    actions.begin(report)
    actions.drawn(report, DrawnPdf(draft, "cd" * 32, 3))
    content = b"%PDF " + report.public_id.encode()
    name = archive.store(content)
    made = SealedPdf(content, "ef" * 32, "an authority", True)
    return actions.issue(report, made, sha256=name.removesuffix(".pdf"), signed_fields=["sig-seal"])


def test_who_may_ask(people: dict[str, Person]) -> None:
    wanted = {"kind": "framework_audit", "parameters": {"framework": "uk-cpa-sm"}}
    for role in ("regulator", "manager", "member", "stranger"):
        with pytest.raises(NotAllowed):
            actions.request_report(by=people[role], **wanted)
    assert not Report.objects.exists()
    asked = actions.request_report(by=people["auditor"], **wanted)
    assert (asked.state, asked.requested_by) == (State.REQUESTED, people["auditor"])
    assert Job.objects.filter(task="reports.produce").count() == 1


def test_a_credential_needs_the_scope(people: dict[str, Person]) -> None:
    house = Organisation.objects.get(pk="pruefhaus")
    reader, _ = accounts.api_key(house, "reports:read")
    with pytest.raises(NotAllowed):
        actions.request_report(by=reader, kind="framework_audit", parameters={"framework": "uk-cpa-sm"})


WRONG = (
    ("novel", {}, "kind"),
    ("framework_audit", {}, "parameters"),
    ("framework_audit", {"framework": "uk-cpa-sm", "meter": "x"}, "parameters"),
    ("framework_audit", {"framework": "../../etc/passwd"}, "framework"),
    ("framework_audit", {"framework": "nobody-wrote-this"}, "framework"),
    ("framework_audit", {"framework": 7}, "parameters"),
    ("meter_certificate", {"meter": "mtr_" + "0" * 32}, "meter"),
    ("meter_certificate", {"meter": "<script>"}, "meter"),
)


def test_what_cannot_be_asked(log: Path) -> None:
    load_shipped()
    for kind, parameters, wrong in WRONG:
        with pytest.raises(RequestRefused) as refused:
            actions.request_report(by=SYSTEM, kind=kind, parameters=parameters)
        assert refused.value.parameter == wrong, parameters
    assert not Report.objects.exists()


def test_the_same_question_twice_is_one_report(people: dict[str, Person]) -> None:
    first, second = (
        actions.request_report(by=people[role], kind="framework_audit", parameters={"framework": "uk-cpa-sm"})
        for role in ("auditor", "administrator")
    )
    assert first.pk == second.pk
    sealed(first)
    third = actions.request_report(by=SYSTEM, kind="framework_audit", parameters={"framework": "uk-cpa-sm"})
    assert third.pk != first.pk, "what was issued stands; a new question gets a new answer"
    assert third.number != first.number


def test_who_sees_a_meters_certificate(people: dict[str, Person], meter: str) -> None:
    asked = actions.request_report(by=people["auditor"], kind="meter_certificate", parameters={"meter": meter})
    waiting = {name for name, person in people.items() if selectors.report(asked.public_id, person) is not None}
    assert waiting == {"administrator", "auditor"}, "the others see what is issued"
    sealed(asked)
    seeing = {name for name, person in people.items() if selectors.report(asked.public_id, person) is not None}
    assert seeing == people.keys() - {"stranger"}


def test_an_audit_is_for_those_who_see_everything(people: dict[str, Person]) -> None:
    asked = actions.request_report(by=SYSTEM, kind="framework_audit", parameters={"framework": "uk-cpa-sm"})
    sealed(asked)
    seeing = {name for name, person in people.items() if asked in selectors.reports_visible_to(person)}
    assert seeing == {"administrator", "auditor", "regulator"}


def test_issued_twice_it_is_in_the_log_once(people: dict[str, Person]) -> None:
    asked = actions.request_report(by=SYSTEM, kind="framework_audit", parameters={"framework": "uk-cpa-sm"})
    first = sealed(asked)
    made = SealedPdf(b"another", "00" * 32, "an authority", True)
    second = actions.issue(asked, made, sha256="11" * 32, signed_fields=["sig-seal"])
    assert (second.pdf_sha256, second.issued_at) == (first.pdf_sha256, first.issued_at)
    assert len(ledger.chain(asked.subject)) == 1


def test_fsck_finds_what_was_done_to_an_issued_report(people: dict[str, Person]) -> None:
    asked = actions.request_report(by=SYSTEM, kind="framework_audit", parameters={"framework": "uk-cpa-sm"})
    issued = sealed(asked)
    assert list(consistency.compare()) == []
    file: Path = settings.METERPROOF["REPORT_DIR"] / issued.pdf_path
    content = file.read_bytes()
    file.write_bytes(content + b" ")
    assert [problem.code for problem in consistency.compare()] == ["report.file"]
    with pytest.raises(archive.ArchiveDamaged):
        selectors.open_pdf(issued)
    file.unlink()
    assert [problem.code for problem in consistency.compare()] == ["report.file"]
    file.write_bytes(content)
    Report.objects.filter(pk=issued.pk).update(title="Another title")
    (found,) = consistency.compare()
    assert (found.code, str(issued.number) in found.place, "title" in found.detail) == ("report.row", True, True)
    Report.objects.filter(pk=issued.pk).delete()
    assert [problem.code for problem in consistency.compare()] == ["report.gone"]
