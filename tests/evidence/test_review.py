"""From hand-in to decision: what is recorded, who may decide, and that each step stands in the log."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from compliance.accounts.policy import NotAllowed
from compliance.evidence import actions, selectors, storage
from compliance.evidence.errors import BlobDamaged, BlobMissing, IntakeRefused, WrongState
from compliance.evidence.intake import IncomingFile
from compliance.evidence.manifest import manifest_of
from compliance.evidence.models import Evidence, LinkKind, State
from compliance.jobs import clock, failpoints
from compliance.ledger import selectors as ledger
from compliance.ledger.models import Entry
from tests.evidence.conftest import SPRING

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


def types(evidence):
    return [entry.event["type"] for entry in ledger.chain(evidence.subject)]


def blob_path(settings, digest):
    return settings.METERPROOF["BLOB_DIR"] / digest[:2] / digest[2:4] / digest


def test_evidence_is_recorded_with_three_times_and_its_files(people, submit):
    evidence = submit(b"one", b"two")
    assert (evidence.state, evidence.scan) == (State.SUBMITTED, "unscanned")
    assert (evidence.covers_from, evidence.covers_to, evidence.produced_at) == (*SPRING, SPRING[1])
    assert evidence.received_at > evidence.produced_at
    (entry,) = ledger.chain(evidence.subject)
    assert entry.event["type"] == "evidence.received"
    assert entry.event["actor"] == people.alice.actor
    assert entry.event["data"]["manifest_sha256"] == evidence.manifest_sha256 == manifest_of(evidence).digest
    assert [file["sha256"] for file in entry.event["evidence"]] == [file.sha256 for file in evidence.files.all()]


def test_names_and_titles_stay_out_of_the_log(submit):
    """Personal data never enters a hashed leaf: what people call things is covered by the manifest's digest alone."""
    file = IncomingFile("Interview Hanna Voss.txt", "text/plain", io.BytesIO(b"notes"))
    evidence = submit(files=[file], title="Interview with Hanna Voss")
    body = Entry.objects.get(hash=ledger.chain(evidence.subject)[0].hash).body
    assert b"Hanna" not in body
    assert b"Voss" not in body


def test_a_machine_hands_in_for_its_organisation(people, submit):
    evidence = submit(by=people.machine)
    assert (evidence.submitter, evidence.submitted_with) == (None, people.machine)
    assert ledger.chain(evidence.subject)[0].event["actor"] == people.machine.actor


def test_a_retry_gives_the_first_evidence(submit):
    """F2: same bytes, same words: one item, one entry."""
    first, again = submit(b"same"), submit(b"same")
    assert again.pk == first.pk
    assert types(first) == ["evidence.received"]
    assert submit(b"same", title="Another title").pk != first.pk


def test_what_was_returned_can_be_handed_in_again(people, submit):
    first = submit(b"same")
    actions.return_evidence(evidence=first, reviewer=people.auditor, reason="page 2 is missing")
    assert submit(b"same").pk != first.pk


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"files": []}, "evidence.files"),
        ({"title": " "}, "evidence.title"),
        ({"title": "two\nlines"}, "evidence.title"),
        ({"title": "x" * 201}, "evidence.title"),
        ({"kind": "Not a word"}, "evidence.kind"),
        ({"covers_to": SPRING[0] - timedelta(days=1)}, "evidence.period"),
        ({"produced_at": datetime(2999, 1, 1, tzinfo=UTC)}, "evidence.produced"),
        ({"links": [("requirement", "A.5.9")]}, "evidence.link"),
        ({"links": [("wish", "iso27001-2022:A.5.9")]}, "evidence.link"),
        ({"links": [("meter", "1EMH0012345678")]}, "evidence.link"),
        ({"links": [("meter", "shipment:acme:S-1")]}, "evidence.link"),
        ({"links": [("control", "a\nb")]}, "evidence.link"),
        ({"links": [("control", str(n)) for n in range(201)]}, "evidence.link"),
        ({"files": [IncomingFile("a.exe", "text/plain", io.BytesIO(b"x"))]}, "file.type"),
    ],
)
def test_a_bad_statement_is_refused_and_nothing_recorded(submit, parts, code):
    with pytest.raises(IntakeRefused) as caught:
        submit(**parts)
    assert caught.value.code == code
    assert not Evidence.objects.exists()


def test_two_files_of_the_same_bytes_are_refused(submit):
    with pytest.raises(IntakeRefused, match="same content"):
        submit(b"x", b"x")


def test_links_may_name_any_subject(submit):
    links = [("cell_session", "cell_session:acme:OSN2-1"), ("control", "C-14"), ("shipment", "shipment:acme:S-1")]
    evidence = submit(links=[*links, links[0]])
    assert sorted((link.kind, link.reference) for link in evidence.links.all()) == sorted(links)
    assert selectors.evidence_for("shipment", "shipment:acme:S-1").get() == evidence


def test_nobody_hands_in_for_another_organisation(people, submit):
    with pytest.raises(NotAllowed):
        submit(by=people.other)
    with pytest.raises(NotAllowed):
        submit(by=people.administrator)


def test_an_auditor_accepts_with_a_reason(people, submit):
    evidence = submit()
    accepted = actions.accept_evidence(evidence=evidence, reviewer=people.auditor, reason=" Complete and signed. ")
    assert (accepted.state, accepted.decided_by, accepted.reason) == (
        State.ACCEPTED,
        people.auditor,
        "Complete and signed.",
    )
    last = ledger.chain(evidence.subject)[-1].event
    assert (last["type"], last["actor"]) == ("evidence.accepted", people.auditor.actor)
    assert last["data"] == {"manifest_sha256": evidence.manifest_sha256, "reason": "Complete and signed."}
    assert [link.evidence for link in selectors.accepted_links(LinkKind.REQUIREMENT, ["iso27001-2022:A.8.24"])] == [
        evidence
    ]


def test_an_auditor_returns_with_a_reason(people, submit):
    evidence = submit()
    returned = actions.return_evidence(evidence=evidence, reviewer=people.auditor, reason="not legible")
    assert returned.state == State.RETURNED
    assert types(evidence) == ["evidence.received", "evidence.returned"]
    assert not selectors.accepted_links(LinkKind.REQUIREMENT, ["iso27001-2022:A.8.24"]).exists()


@pytest.mark.parametrize("decide", [actions.accept_evidence, actions.return_evidence])
def test_separation_of_duties(people, submit, decide):
    """Nobody decides on what he or his organisation handed in, and nobody but an auditor decides at all."""
    evidence = submit()
    for reviewer in (people.alice, people.other, people.administrator):
        with pytest.raises(NotAllowed):
            decide(evidence=evidence, reviewer=reviewer, reason="fine")
    auditors = people.auditor.organisations[0]
    own = submit(b"working paper", by=people.auditor, organisation=auditors)
    for reviewer in (people.auditor, people.second_auditor):
        with pytest.raises(NotAllowed):
            decide(evidence=own, reviewer=reviewer, reason="fine")
    assert types(evidence) == types(own) == ["evidence.received"]


@pytest.mark.parametrize("reason", ["", " \n", "x" * 2_001, "a\0b"])
def test_a_decision_needs_a_reason(people, submit, reason):
    evidence = submit()
    with pytest.raises(IntakeRefused, match=r"evidence\.reason"):
        actions.accept_evidence(evidence=evidence, reviewer=people.auditor, reason=reason)
    assert types(evidence) == ["evidence.received"]


@pytest.mark.parametrize("first", [actions.accept_evidence, actions.return_evidence])
@pytest.mark.parametrize("second", [actions.accept_evidence, actions.return_evidence])
def test_a_decision_is_final(people, submit, first, second):
    evidence = submit()
    first(evidence=evidence, reviewer=people.auditor, reason="decided")
    with pytest.raises(WrongState):
        second(evidence=evidence, reviewer=people.second_auditor, reason="again")


def test_accepted_evidence_is_superseded_by_accepted_evidence(people, submit):
    old, new = submit(b"old"), submit(b"new", title="New record")
    for evidence in (old, new):
        actions.accept_evidence(evidence=evidence, reviewer=people.auditor, reason="fine")
    superseded = actions.supersede_evidence(evidence=old, successor=new, reviewer=people.auditor, reason="renewed")
    assert (superseded.state, superseded.superseded_by) == (State.SUPERSEDED, new)
    assert types(old)[-1] == "evidence.superseded"
    with pytest.raises(WrongState):
        actions.supersede_evidence(evidence=new, successor=old, reviewer=people.auditor, reason="back")


def test_damaged_evidence_is_not_accepted(people, submit, settings):
    """F13, F14."""
    evidence = submit()
    path = blob_path(settings, evidence.files.get().sha256)
    path.chmod(0o640)
    path.write_bytes(b"other")
    with pytest.raises(BlobDamaged):
        actions.accept_evidence(evidence=evidence, reviewer=people.auditor, reason="fine")
    path.unlink()
    with pytest.raises(BlobMissing):
        actions.accept_evidence(evidence=evidence, reviewer=people.auditor, reason="fine")
    assert types(evidence) == ["evidence.received"]


def test_killed_between_blob_and_row(submit, settings):
    """F3: an interrupted hand-in leaves an orphan blob and nothing else; the retry works."""

    def die():
        raise KeyboardInterrupt

    with failpoints.arm("evidence.recorded", die), pytest.raises(KeyboardInterrupt), transaction.atomic():
        submit(b"half")
    assert not Evidence.objects.exists()
    assert len(list(storage.stored_digests())) == 1
    assert submit(b"half").state == State.SUBMITTED


def test_what_one_may_see(people, submit):
    evidence = submit()
    for actor in (people.alice, people.machine, people.auditor, people.administrator):
        assert list(selectors.evidence_visible_to(actor)) == [evidence]
        assert selectors.evidence(evidence.public_id, actor) == evidence
    assert not selectors.evidence_visible_to(people.other).exists()
    assert selectors.evidence(evidence.public_id, people.other) is None
    assert list(selectors.waiting_for_review(people.auditor)) == [evidence]


def test_lists_take_the_same_queries_for_one_and_for_many(people, submit, django_assert_num_queries):
    for number in range(5):
        submit(str(number).encode(), title=f"Record {number}")
    actor = people.auditor
    actor.active_memberships  # noqa: B018 (read once for each request)
    with django_assert_num_queries(3):
        for evidence in selectors.evidence_visible_to(actor):
            assert evidence.organisation.name
            assert [file.name for file in evidence.files.all()]
            assert [link.reference for link in evidence.links.all()]


def test_a_file_is_opened_by_its_digest(people, submit):
    evidence = submit(b"content")
    digest = evidence.files.get().sha256
    file, content = selectors.open_file(evidence, digest)
    with content:
        assert (file.name, content.read()) == ("record-0.txt", b"content")
    assert selectors.open_file(evidence, "0" * 64) is None


def test_the_database_knows_who_may_not_decide(people, submit):
    """The submitter cannot become the reviewer, even for code that skips the actions."""
    evidence = submit()
    with pytest.raises(IntegrityError), transaction.atomic():
        Evidence.objects.all().move(
            evidence.pk,
            start=State.SUBMITTED,
            end=State.ACCEPTED,
            decided_by_id=people.alice.pk,
            decided_at=clock.now(),
            reason="mine",
        )
