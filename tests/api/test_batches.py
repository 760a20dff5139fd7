"""Signed batches over HTTP: stored with a receipt or not at all, answered alike again, refused with the place."""

import gzip
import json
import threading
from typing import Any

import pytest
from django.db import connection

from compliance.accounts import actions
from compliance.accounts.models import ApiKey, SigningKey
from compliance.accounts.policy import SYSTEM
from compliance.api import bodies
from compliance.custody.models import Meter
from compliance.jobs import clock
from compliance.ledger import integrate, keys, publish
from compliance.ledger.models import Batch, Entry
from compliance.proof import batch as batches
from compliance.proof import dsse, receipt
from compliance.proof.keys import PrivateKey
from tests.accounts import world as accounts
from tests.api.machines import MANUFACTURER_SCOPES, Machine, machine, problem
from tests.custody import world

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines, pytest.mark.usefixtures("log")]

PATH = "/api/v1/batches"
NDJSON = batches.NDJSON


@pytest.fixture
def elster(log) -> world.Party:
    return world.join("elster", "manufacturer")


@pytest.fixture
def factory(elster) -> Machine:
    return machine("elster", *MANUFACTURER_SCOPES)


def submit(sender: Machine, signed: batches.SignedBatch | bytes, path: str = PATH, **headers: str):
    data = signed if isinstance(signed, bytes) else signed.ndjson
    return sender.post(path, data, Content_Type=headers.pop("kind", NDJSON), **headers)


class TestRecorded:
    """What is answered with 201 is durable and has a receipt."""

    def test_a_batch_and_its_receipt(self, elster, factory):
        signed = elster.sign(world.born(1), world.born(2))
        response = submit(factory, signed)
        assert response.status_code == 201
        said = response.json()
        assert response.headers["Location"] == f"{PATH}/{signed.batch_id}"
        assert (said["batch"], said["recorded"], said["duplicate"], said["rejected"]) == (signed.batch_id, 2, 0, 0)
        assert [entry["subject"] for entry in said["entries"]] == [world.title(1), world.title(2)]
        envelope = dsse.read_envelope(said["receipt"], payload_type=dsse.RECEIPT_TYPE)
        envelope.verify({keys.receipt_key().public.keyid: keys.receipt_key().public})
        payload = receipt.read(envelope.canonical).payload
        assert [entry["hash"] for entry in payload["entries"]] == [entry["hash"] for entry in said["entries"]]
        assert Meter.objects.count() == 2

    def test_sent_twice_it_is_stored_once_and_answered_alike(self, elster, factory):
        """F2: the retry after a lost answer gets the first receipt."""
        signed = elster.sign(world.born(1))
        first, again = submit(factory, signed), submit(factory, signed)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        assert Entry.objects.filter(batch=bytes.fromhex(signed.batch_id)).count() == 1

    def test_as_json(self, elster, factory):
        signed = elster.sign(world.born(1))
        lines = signed.ndjson.splitlines()
        body = {"envelope": json.loads(lines[0]), "events": [json.loads(line) for line in lines[1:]]}
        response = factory.post(PATH, body)
        assert response.status_code == 201
        assert response.json()["batch"] == signed.batch_id

    def test_compressed(self, elster, factory):
        data = gzip.compress(elster.sign(world.born(1)).ndjson)
        assert submit(factory, data, Content_Encoding="gzip").status_code == 201

    def test_an_event_of_another_batch_is_a_duplicate_with_its_first_batch(self, elster, factory):
        event = world.born(1)
        first = elster.sign(event)
        submit(factory, first)
        said = submit(factory, elster.sign(event, world.born(2))).json()
        assert (said["recorded"], said["duplicate"]) == (1, 1)
        assert said["duplicates"] == [{"index": 0, "batch": first.batch_id}]

    def test_read_back(self, elster, factory):
        signed = elster.sign(world.born(1))
        made = submit(factory, signed).json()
        path = f"{PATH}/{signed.batch_id}"
        said = factory.get(path).json()
        assert (said["state"], said["author"], said["count"], said["recorded"]) == ("recorded", "elster", 1, 1)
        assert said["receipt"] == made["receipt"]
        integrate.integrate()
        publish.publish()
        assert factory.get(path).json()["state"] == "included"

    def test_unsigned_where_the_policy_allows_it(self, log):
        """Vouched by the platform, and said so in the batch."""
        accounts.join("lenient", "manufacturer", signature_policy="accepted")
        sender = machine("lenient", "events:write", "events:read")
        event = world.event("mfg.assembled", "meter:dlms_system_title:4C454E0000000001", {"identifiers": []})
        response = submit(sender, json.dumps(event).encode())
        assert response.status_code == 201, response.content
        batch = Batch.objects.get(id=bytes.fromhex(response.json()["batch"]))
        payload = batches.read_payload(dsse.read_envelope(bytes(batch.envelope), payload_type=dsse.BATCH_TYPE))
        assert (payload["issuer"], payload["on_behalf_of"]) == ("platform", "lenient")
        assert payload["credential"] == sender.key.public_id


class TestRefused:
    """What cannot be taken is refused with line, pointer and reason, and nothing of it is stored."""

    @pytest.fixture
    def other(self, log) -> world.Party:
        return world.join("other", "manufacturer")

    @pytest.fixture(autouse=True)
    def nothing_is_stored(self, elster, other):
        before = (Entry.objects.count(), Batch.objects.count())
        yield
        assert (Entry.objects.count(), Batch.objects.count()) == before

    def bad(self, number: int) -> dict[str, Any]:
        event = world.born(number)
        del event["data"]["line"]
        return event

    def test_each_bad_line_is_named(self, elster, factory):
        signed = elster.sign(world.born(1), self.bad(2), world.born(3), self.bad(4))
        said = problem(submit(factory, signed), 422, "batch.refused")
        assert [(each["line"], each["index"], each["code"]) for each in said["errors"]] == [
            (3, 1, "event.data"),
            (5, 3, "event.data"),
        ]
        assert all(each["pointer"].startswith("/data") and each["detail"] for each in said["errors"])
        assert said["error_count"] == 2

    def test_a_hundred_are_listed_and_all_are_counted(self, elster, factory):
        signed = elster.sign(*(self.bad(number) for number in range(1, 131)))
        said = problem(submit(factory, signed), 422, "batch.refused")
        assert (len(said["errors"]), said["error_count"]) == (100, 130)

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            (b'{"a":1,"a":2}', "json.duplicate_name"),
            (b'{"a":NaN}', "json.number"),
            (b'{"a":1e999}', "json.number"),
            (b'{"a":9007199254740993}', "json.number"),
            (b'{"a":"\\ud800"}', "json.surrogate"),
            (b'{"a":"\\u0000"}', "json.nul"),
            (b'{"a":"\xff"}', "json.utf8"),
            (b"[" * 60_000, "json.depth"),
            (b"{", "json.syntax"),
            (b"", "json.syntax"),
        ],
    )
    def test_a_line_that_is_not_strict_json(self, elster, factory, line, code):
        """F50-F54: with its number; the rest of the batch cannot be checked against the signature then."""
        lines = elster.sign(world.born(1), world.born(2), world.born(3)).ndjson.splitlines()
        lines[2] = line
        said = problem(submit(factory, b"\n".join(lines)), 400, "batch.refused")
        assert [(each["line"], each["index"], each["code"]) for each in said["errors"]] == [(3, 1, code)]

    def test_unsigned(self, elster, factory):
        event = json.dumps(world.born(1)).encode()
        said = problem(submit(factory, event), 422, "batch.unsigned")
        assert "signed" in said["detail"]

    def test_wrongly_signed(self, elster, factory):
        """The signature of another batch is no signature of this one."""
        lines = elster.sign(world.born(1)).ndjson.splitlines()
        envelope = json.loads(lines[0])
        other = json.loads(elster.sign(world.born(2)).ndjson.splitlines()[0])
        envelope["signatures"] = other["signatures"]
        lines[0] = json.dumps(envelope).encode()
        problem(submit(factory, b"\n".join(lines)), 422, "envelope.signature")

    def test_signed_by_a_key_nobody_registered(self, elster, factory):
        signed = accounts.sign("elster", [world.born(1)], [PrivateKey.generate()])
        problem(submit(factory, signed), 422, "key.unknown")

    def test_signed_by_a_revoked_key(self, elster, factory):
        signed = elster.sign(world.born(1))
        SigningKey.objects.filter(pk=elster.keys[0].public.keyid).update(revoked_at=clock.now())
        problem(submit(factory, signed), 422, "key.revoked")

    def test_of_another_organisation(self, other, factory):
        """T9: nobody sends in another's name, rightly signed or not."""
        signed = other.sign(world.event("mfg.assembled", "meter:dlms_system_title:4F54480000000001"))
        problem(submit(factory, signed), 403, "batch.issuer")

    def test_for_another_log(self, elster, factory):
        signed = accounts.sign("elster", [world.born(1)], elster.keys[:1], log="other.example/log")
        problem(submit(factory, signed), 422, "batch.log")

    def test_events_exchanged_after_signing(self, elster, factory):
        lines = elster.sign(world.born(1), world.born(2)).ndjson.splitlines()
        problem(submit(factory, b"\n".join([lines[0], lines[2], lines[1]])), 422, "batch.root")

    def test_an_event_left_out(self, elster, factory):
        lines = elster.sign(world.born(1), world.born(2)).ndjson.splitlines()
        problem(submit(factory, b"\n".join(lines[:2])), 422, "batch.count")

    @pytest.mark.parametrize("body", [b"", b"\n", b"{}", b"[]", b"\xff\xfe", b'{"envelope":{},"events":[]}'])
    def test_rubbish(self, factory, body):
        response = submit(factory, body)
        assert 400 <= response.status_code < 500
        problem(response, response.status_code, response.json()["code"])

    def test_a_decision_is_not_for_senders(self, elster, factory):
        """T16: nobody but the platform accepts evidence or opens findings."""
        event = accounts.event("evidence.accepted", "evidence:platform:evd_1", {"reason": "fine"})
        signed = accounts.sign("elster", [event], elster.keys[:1])
        said = problem(submit(factory, signed), 403, "batch.refused")
        assert said["errors"][0]["code"] == "event.authority"

    def test_a_role_that_may_not_send_the_type(self, elster, factory):
        event = world.event("install.installed", world.title(1))
        said = problem(submit(factory, elster.sign(event)), 403, "batch.refused")
        assert said["errors"][0]["code"] == "role.missing"

    @pytest.mark.parametrize("kind", ["text/plain", "application/json-seq", "text/csv"])
    def test_another_media_type(self, elster, factory, kind):
        problem(submit(factory, elster.sign(world.born(1)), kind=kind), 415, "media_type.unsupported")

    def test_another_mode(self, elster, factory):
        response = submit(factory, elster.sign(world.born(1)), path=f"{PATH}?mode=sometimes")
        problem(response, 400, "request.parameter")

    def test_too_many_bytes(self, factory):
        """T3, F50: 10 MB are refused by their announced length, unread."""
        problem(submit(factory, b" " * (bodies.MAX_BATCH_BYTES + 1)), 413, "body.too_large")
        bomb = gzip.compress(b" " * 100_000_000)
        problem(submit(factory, bomb, Content_Encoding="gzip"), 413, "body.too_large")

    def test_too_many_events(self, elster, factory):
        event = accounts.event("record.noted", "meter:elster:1", {})
        signed = accounts.sign("elster", [{**event, "id": f"e{number}"} for number in range(1_001)], elster.keys[:1])
        problem(submit(factory, signed), 413, "batch.too_many")


class TestConflicts:
    """What contradicts the record is told with 409."""

    def test_an_event_id_with_other_content(self, elster, factory):
        """T11: equivocation under one id is refused, with both hashes."""
        first = world.born(1)
        submit(factory, elster.sign(first))
        other = {**world.born(1), "id": first["id"], "actor": {"person": "p-2"}}
        said = problem(submit(factory, elster.sign(other)), 409, "batch.refused")
        assert said["errors"][0]["code"] == "event.conflict"

    def test_a_chain_that_moved(self, elster, factory):
        submit(factory, elster.sign(world.born(1)))
        event = {**world.event("mfg.calibrated", world.title(1)), "prev_hint": None}
        said = problem(submit(factory, elster.sign(event)), 409, "batch.refused")
        assert (said["errors"][0]["code"], said["errors"][0]["pointer"]) == ("chain.moved", "/prev_hint")

    def test_a_name_of_another_chain(self, elster, factory):
        """T22: one logical device name, one meter."""
        submit(factory, elster.sign(world.born(1)))
        clone = {**world.born(2), "data": world.born(1)["data"]}
        said = problem(submit(factory, elster.sign(clone)), 409, "batch.refused")
        assert said["errors"][0]["code"] == "subject.taken"


class TestProceed:
    """With mode=proceed each event stands by itself, and the answer says which do not."""

    def test_the_good_ones_are_recorded(self, elster, factory):
        bad = world.born(2)
        del bad["data"]["line"]
        signed = elster.sign(world.born(1), bad, world.born(3))
        response = submit(factory, signed, path=f"{PATH}?mode=proceed")
        assert response.status_code == 201
        assert response.headers["X-Batch-Rejected"] == "1"
        said = response.json()
        assert (said["recorded"], said["rejected"]) == (2, 1)
        assert [(each["line"], each["index"], each["code"]) for each in said["problems"]] == [(3, 1, "event.data")]
        payload = receipt.read(dsse.read_envelope(said["receipt"], payload_type=dsse.RECEIPT_TYPE).canonical).payload
        assert [dict(each) for each in payload["refused"]] == [{"index": 1, "code": "event.data"}]
        again = submit(factory, signed, path=f"{PATH}?mode=proceed")
        assert again.status_code == 200
        assert again.json()["receipt"] == said["receipt"]

    def test_nothing_good_is_nothing_recorded(self, elster, factory):
        bad = world.born(2)
        del bad["data"]["line"]
        before = Entry.objects.count()
        problem(submit(factory, elster.sign(bad), path=f"{PATH}?mode=proceed"), 422, "batch.refused")
        assert Entry.objects.count() == before


@pytest.mark.django_db(transaction=True)
def test_revoked_while_requests_are_in_flight(elster, factory):
    """T18: nothing is recorded after the revocation has committed."""
    signed = [elster.sign(world.born(number)) for number in range(1, 13)]
    started, answers = threading.Barrier(len(signed) + 1), []

    def send(one):
        try:
            started.wait(20)
            answers.append(submit(factory, one))
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(one,)) for one in signed]
    for thread in threads:
        thread.start()
    started.wait(20)
    key = actions.revoke_api_key(by=SYSTEM, key=factory.key)
    for thread in threads:
        thread.join(60)
    assert len(answers) == len(signed)
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {201, 401, 503}, statuses
    batch_ids = [bytes.fromhex(one.batch_id) for one in signed]
    recorded = Entry.objects.filter(batch__in=batch_ids)
    assert recorded.count() == statuses.count(201)
    assert all(entry.recorded_at < ApiKey.objects.get(pk=key.pk).revoked_at for entry in recorded)
    problem(submit(factory, elster.sign(world.born(99))), 401, "credential.wrong")
