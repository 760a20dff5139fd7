"""A redacted entry: its bytes are gone everywhere, everything else stands, and everybody says so."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse

from compliance.accounts.models import Organisation
from compliance.accounts.policy import SYSTEM, NotAllowed
from compliance.custody import redaction
from compliance.ledger import export, fsck, guards, importing, integrate, proofs, publish
from compliance.ledger import redaction as ledger_redaction
from compliance.ledger.drill import rows
from compliance.ledger.drill.trial import Trial, problems, run, take_down_guards
from compliance.ledger.errors import Refused
from compliance.ledger.models import Entry, EventKey
from compliance.proof.subject import key_of
from compliance.proof.subject import log as log_subject
from compliance.proof.verify import verify_file
from tests.accounts import world as accounts
from tests.custody import world
from tests.ledger.test_export import emptied, tree

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]

ORDER = {"authority": "County court", "reason": "case 12/26"}
SECRET = b"0d1f8e77-name-of-a-person"


@pytest.fixture
def told(parties: dict[str, world.Party]) -> str:
    """A published chain of one meter, with a name in its second event that should not be there."""
    meter = world.title(1)
    parties["elster"].send(world.born(1))
    parties["elster"].send(world.event("cell.tested", meter, actor={"person": SECRET.decode()}))
    parties["elster"].send(world.event("cell.sealed", meter))
    publish_all()
    return meter


def publish_all() -> None:
    """Everything into the tree and under a checkpoint."""
    integrate.integrate()
    publish.publish()


def files_with(word: bytes) -> list[str]:
    """Published files that hold `word`."""
    return sorted(name for name, data in tree(django_settings.METERPROOF["LOG_DIR"]).items() if word in data)


def test_a_redacted_entry_is_gone_and_everything_stands(
    told: str, tmp_path: Path, settings: Any, client: Client
) -> None:
    """Rows, bundles, export, import: the bytes are nowhere, each verifier says redacted, fsck finds nothing."""
    before = Entry.objects.get(subject=key_of(told), seq=1)
    assert files_with(SECRET)
    with pytest.raises(NotAllowed):
        redaction.redact(by=SYSTEM, subject=told, seq=1, **ORDER)
    person = accounts.person("admin", Organisation.objects.get(pk="platform"), "administrator")
    with pytest.raises(CommandError, match="nobody"):
        call_command("redact", told, "1", by="none", **ORDER)
    call_command("redact", told, "1", by=person.username, **ORDER)
    row = Entry.objects.get(subject=before.subject, seq=1)
    assert (row.body, row.hash, row.prev) == (b"", before.hash, before.prev)
    assert files_with(SECRET) == []
    assert guards.missing() == []
    with pytest.raises(DatabaseError), transaction.atomic():
        Entry.objects.filter(seq=0).update(body=b"")
    publish_all()
    result = fsck.run()
    assert ([problem.place for problem in result.problems], result.redacted) == ([], 1)
    (said,) = ledger_redaction.redactions(told)
    assert (said.seq, said.authority, said.actor) == (1, ORDER["authority"], person.actor)
    client.force_login(person)
    page = client.get(reverse("web:meter", args=[world.meter(told).public_id])).content.decode()
    assert f"by order of {ORDER['authority']}: {ORDER['reason']}" in page
    assert SECRET.decode() not in page
    bundle = tmp_path / "meter.proof"
    bundle.write_bytes(proofs.proof_bundle([told]))
    for shown in (bundle, settings.METERPROOF["LOG_DIR"]):
        verdict = verify_file(shown, settings.METERPROOF["TRUST_DIR"])
        assert (verdict.error, verdict.redacted) == (None, [said.leaf])
    call_command("redact", told, "1", by=person.username, **ORDER)  # again: nothing is left to do
    assert len(ledger_redaction.redactions(told)) == 1
    publish_all()
    export.export_log(tmp_path / "export")
    emptied(settings, tmp_path / "mirror")
    importing.import_log(tmp_path / "export")
    export.export_log(tmp_path / "again")
    assert tree(tmp_path / "again") == tree(tmp_path / "export")
    assert fsck.run().problems == []
    assert Entry.objects.filter(body=b"").values_list("subject", "seq", "recorded_at").get() == (
        before.subject,
        1,
        before.recorded_at,
    )


def test_what_is_never_redacted(told: str, parties: dict[str, world.Party]) -> None:
    person = accounts.person("admin", Organisation.objects.get(pk="platform"), "administrator")
    parties["elster"].send(world.event("cell.tested", told))
    for subject, seq, code in (
        ("organisation:org:elster", 0, "redaction.never"),
        (f"log:origin:{world.origin()}", 0, "redaction.never"),
        ("evidence:platform:e-1", 0, "redaction.never"),
        (told, 3, "redaction.early"),
        (told, 99, "entry.unknown"),
        ("nonsense", 0, "subject.form"),
    ):
        with pytest.raises(Refused) as refusal:
            redaction.redact(by=person, subject=subject, seq=seq, **ORDER)
        assert refusal.value.code == code, subject
    with pytest.raises(Refused, match=r"redaction\.reason"):
        redaction.redact(by=person, subject=told, seq=1, authority=" ", reason="x")
    assert not Entry.objects.filter(body=b"").exists()


def test_the_cause_of_linked_entries_may_go(parties: dict[str, world.Party]) -> None:
    """What a unit said of its meters is gone; the links on their chains stand, with the hash of their cause."""
    world.live(parties, [world.title(1), world.title(2)], until="delivery.packed")
    publish_all()
    person = accounts.person("admin", Organisation.objects.get(pk="platform"), "administrator")
    redaction.redact(by=person, subject=world.UNIT, seq=0, **ORDER)
    publish_all()
    assert [problem.place for problem in fsck.run().problems] == []
    for subject in (world.UNIT, world.title(1)):
        assert proofs.proof_bundle([subject])


def test_what_is_left_of_a_redacted_entry_is_guarded_by_fsck(told: str) -> None:
    """Its columns and its event key, for which the bytes no longer speak: the signed receipt does."""
    person = accounts.person("admin", Organisation.objects.get(pk="platform"), "administrator")
    for seq in (0, 1):
        redaction.redact(by=person, subject=told, seq=seq, **ORDER)
    take_down_guards()
    assert problems() == []
    unnoticed = []
    for model in (Entry, EventKey):
        for row in model.objects.filter(subject=key_of(told), seq__lt=2):
            harms = {
                column.name: partial(rows.write, row, str(column.column), rows.changed(getattr(row, column.name)))
                for column in model._meta.concrete_fields
            }
            for what, harm in {**harms, "the row": model._default_manager.filter(pk=row.pk).delete}.items():
                if not run(Trial("edit", "redacted", what, harm, ("",))).problems:
                    unnoticed.append(f"{what} of {model.__name__} {row.seq}")
    assert unnoticed == []


def test_a_damaged_entry_of_the_log_keeps_no_page_from_opening(told: str, client: Client) -> None:
    """fsck names it; what the others say of redactions still counts."""
    administrator = accounts.person("admin", Organisation.objects.get(pk="platform"), "administrator")
    redaction.redact(by=administrator, subject=told, seq=1, **ORDER)
    publish_all()
    damaged = Entry.objects.filter(subject=key_of(log_subject(world.origin()))).order_by("seq").first()
    assert damaged is not None
    take_down_guards()
    Entry.objects.filter(subject=damaged.subject, seq=damaged.seq).update(body=b'{"event":7')
    (said,) = ledger_redaction.redactions(told)
    assert said.seq == 1
    client.force_login(administrator)
    page = client.get(reverse("web:meter", args=[f"mtr_{key_of(told).hex()}"]))
    assert page.status_code == 200
    assert ORDER["authority"] in page.content.decode()
    place = f"entry {damaged.subject.hex()}/{damaged.seq} "
    assert any(problem.place.startswith(place) for problem in fsck.run().problems)
