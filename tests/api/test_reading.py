"""Reading back: events, proofs, meters, bundles, the public log; each organisation its own part."""

import itertools
import re
from pathlib import Path

import pytest
from django.conf import settings

from compliance.accounts.models import Organisation
from compliance.ledger import integrate, keys, publish, selectors, setup
from compliance.proof import dsse, merkle
from compliance.proof import receipt as receipt_format
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.note import NoteVerifier, open_note
from compliance.proof.tlog_proof import TlogProof
from compliance.proof.verify import Asked, verify_file
from compliance.proof.witness_protocol import AddCheckpoint
from tests.accounts import world as accounts
from tests.api.machines import MANUFACTURER_SCOPES, NOBODY, machine, problem
from tests.custody import world

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines, pytest.mark.usefixtures("log")]


@pytest.fixture
def elster(log) -> world.Party:
    return world.join("elster", "manufacturer")


@pytest.fixture
def factory(elster):
    return machine("elster", *MANUFACTURER_SCOPES)


@pytest.fixture
def recorded(elster):
    """A batch of one birth."""
    signed = elster.sign(world.born(1))
    elster.hand_in(signed.ndjson)
    return signed


def put_under_a_checkpoint() -> None:
    integrate.integrate()
    publish.publish()


class TestEvents:
    """One event, its receipt and its proof."""

    def test_as_it_was_recorded(self, factory, recorded):
        said = factory.get(f"/api/v1/events/{recorded.batch_id}/0").json()
        assert (said["author"], said["subject"], said["seq"], said["leaf"]) == ("elster", world.title(1), 0, None)
        assert said["event"]["type"] == "mfg.assembled"
        put_under_a_checkpoint()
        assert factory.get(f"/api/v1/events/{recorded.batch_id}/0").json()["leaf"] > 0

    def test_receipt(self, factory, recorded):
        response = factory.get(f"/api/v1/events/{recorded.batch_id}/0/receipt")
        envelope = dsse.read_envelope(response.content, payload_type=dsse.RECEIPT_TYPE)
        envelope.verify({keys.receipt_key().public.keyid: keys.receipt_key().public})

    def test_proof_once_there_is_a_checkpoint(self, factory, recorded):
        path = f"/api/v1/events/{recorded.batch_id}/0/proof"
        response = factory.get(path)
        said = problem(response, 409, "proof.pending")
        assert said["retry_after"] == int(response.headers["Retry-After"])
        put_under_a_checkpoint()
        text = factory.get(path).content.decode()
        leaf_hash = bytes.fromhex(factory.get(f"/api/v1/events/{recorded.batch_id}/0").json()["hash"])
        proof = TlogProof.from_text(text)
        verifier = NoteVerifier.from_vkey(NOBODY.get("/api/v1/service").json()["log_key"])
        opened = open_note(proof.checkpoint, [verifier])
        checkpoint = Checkpoint.from_text(opened.text)
        proof.verify(leaf_hash=leaf_hash, checkpoint=checkpoint)

    @pytest.mark.parametrize(
        "place", [f"{'0' * 64}/0", "{batch}/1", "{batch}/00", "{batch}/-1", "{batch}/99999", "{upper}/0", "xyz/0"]
    )
    def test_what_is_not_there(self, factory, recorded, place):
        path = place.format(batch=recorded.batch_id, upper=recorded.batch_id.upper())
        for end in ("", "/receipt", "/proof", "/entry", "/cose-receipt"):
            problem(factory.get(f"/api/v1/events/{path}{end}"), 404, "not_found")

    def test_first_the_promise_then_the_proofs_and_the_verifier_accepts_each(self, factory, recorded, tmp_path):
        """The receipt comes with the recording; entry, tlog-proof and COSE receipt are what the command takes."""
        path = f"/api/v1/events/{recorded.batch_id}/0"
        promised = factory.get(f"{path}/receipt")
        payload = receipt_format.read(promised.content).payload
        assert payload["issued_at"] < payload["merge_by"]
        problem(factory.get(f"{path}/cose-receipt"), 409, "proof.pending")
        put_under_a_checkpoint()
        files = {name: tmp_path / name for name in ("receipt", "entry", "proof", "cose-receipt")}
        for name, file in files.items():
            file.write_bytes(factory.get(f"{path}/{name}").content)
        trust = setup.write_trust_folder()
        assert verify_file(files["receipt"], trust).exit_status == 0
        for name, kind in (("proof", "proof file"), ("cose-receipt", "COSE receipt")):
            verdict = verify_file(files[name], trust, asked=Asked(entry=files["entry"]))
            assert (verdict.error, verdict.kind) == (None, kind)
            files["wrong"] = tmp_path / "wrong"
            files["wrong"].write_bytes(files["entry"].read_bytes().replace(b'"seq":0', b'"seq":1'))
            assert verify_file(files[name], trust, asked=Asked(entry=files["wrong"])).exit_status == 1
            assert verify_file(files[name], trust).exit_status == 2
        assert payload["entries"][0]["hash"] == merkle.leaf_hash(files["entry"].read_bytes()).hex()

    def test_the_walk_with_other_peoples_tools(self, factory, recorded, tmp_path, monkeypatch, capsys):
        """docs/formats/verify.md, "Checking without our code": its programs run on what its requests answer."""
        put_under_a_checkpoint()
        event = f"/api/v1/events/{recorded.batch_id}/0"
        for name, media_type, response in (
            ("event.entry", "application/octet-stream", factory.get(f"{event}/entry")),
            ("event.tlog-proof", "text/plain; charset=utf-8", factory.get(f"{event}/proof")),
            ("event.cose", 'application/cose; cose-type="cose-sign1"', factory.get(f"{event}/cose-receipt")),
            ("receipt-keys.cbor", "application/cose-key-set", NOBODY.get("/log/receipt-keys")),
            ("log.vkey", "application/json", NOBODY.get("/api/v1/service")),
        ):
            assert response["Content-Type"] == media_type
            content = response.json()["log_key"].encode() if name == "log.vkey" else response.content
            (tmp_path / name).write_bytes(content)
        page = (settings.BASE_DIR / "docs/formats/verify.md").read_text("utf-8")
        programs = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        assert len(programs) == 2
        monkeypatch.chdir(tmp_path)
        for program in programs:
            exec(compile(program, "verify.md", "exec"), {})  # noqa: S102  # the page's own text
        origin, size = settings.METERPROOF["ORIGIN"], selectors.log_size()
        leaf = selectors.leaf_index(world.title(1), 0)
        assert capsys.readouterr().out.splitlines() == [
            f"{origin} {world.title(1)} leaf {leaf} of {size}",
            f"leaf {leaf} of {size} in {origin}",
        ]


class TestConsistency:
    """From any published size to any later one, for everybody."""

    def test_between_any_two_published_sizes(self, elster, tmp_path):
        kept: dict[int, Path] = {}
        for number in range(1, 5):
            elster.send(*(world.born(10 * number + more) for more in range(number)))
            put_under_a_checkpoint()
            note = NOBODY.get("/log/checkpoint").content
            size = Checkpoint.from_text(note.decode().split("\n\n")[0] + "\n").size
            kept[size] = tmp_path / f"checkpoint.{size}"
            kept[size].write_bytes(note)
        trust = setup.write_trust_folder()
        assert len(kept) == 4
        for old, new in itertools.combinations(sorted(kept), 2):
            for end in ("", ".cose"):
                response = NOBODY.get(f"/log/consistency/{old}/{new}{end}")
                assert response["Access-Control-Allow-Origin"] == "*"
                file = tmp_path / f"proof{end}"
                file.write_bytes(response.content)
                assert verify_file(file, trust, asked=Asked(checkpoint=kept[old])).error is None
                assert verify_file(file, trust, asked=Asked(checkpoint=kept[new])).exit_status == 1
                assert verify_file(file, trust).exit_status == 2
        same = AddCheckpoint.from_bytes(NOBODY.get(f"/log/consistency/{new}/{new}").content)
        assert (same.proof, same.checkpoint) == ((), kept[new].read_text())
        unpublished = next(size for size in itertools.count(1) if size not in kept)
        for path in (
            f"{new}/{old}",
            f"{unpublished}/{new}",
            f"{old}/{new + 1}",
            f"{new}/{new}.cose",
            f"0{old}/{new}",
            f"{old}/{new}.txt",
            f"{old}",
            f"{old}/{'9' * 17}",
        ):
            assert NOBODY.get(f"/log/consistency/{path}").status_code == 404, path


class TestSubjects:
    """Typed identifiers lead to the chain they belong to."""

    def test_by_birth_name_and_by_joined_name(self, factory, recorded):
        said = factory.get("/api/v1/subjects?scheme=dlms_system_title&value=454C530000000001").json()
        assert said["subject"] == said["name"] == world.title(1)
        joined = factory.get("/api/v1/subjects?kind=meter&scheme=dlms_ldn&value=ELS0000000000001").json()
        assert joined["subject"] == world.title(1)
        assert joined["name"] == "meter:dlms_ldn:ELS0000000000001"
        assert joined["meter"] == said["meter"]
        assert factory.get(f"/api/v1/meters/{said['meter']}").json()["subject"] == world.title(1)

    def test_as_people_type_them(self, factory, recorded):
        said = factory.get("/api/v1/subjects?scheme=dlms_system_title&value=454c530000000001").json()
        assert said["subject"] == world.title(1)

    def test_other_chains(self, factory):
        said = factory.get("/api/v1/subjects?kind=organisation&scheme=org&value=elster").json()
        assert said == {"subject": "organisation:org:elster", "name": "organisation:org:elster", "meter": None}

    def test_unknown_and_impossible(self, factory):
        problem(factory.get("/api/v1/subjects?scheme=dlms_system_title&value=454C530000000009"), 404, "subject.unknown")
        problem(factory.get("/api/v1/subjects?scheme=dlms_system_title&value=xyz"), 422, "subject.form")
        problem(factory.get("/api/v1/subjects?kind=teapot&scheme=org&value=x"), 422, "subject.form")
        problem(factory.get("/api/v1/subjects?scheme=org"), 400, "request.parameter")

    def test_somebody_else_learns_the_chain_and_no_more(self, recorded):
        """An installer must be able to name the meter; what happened on it is not told."""
        accounts.join("installateur", "installer")
        said = machine("installateur", "events:read").get("/api/v1/subjects?scheme=dlms_ldn&value=ELS0000000000001")
        assert said.json() == {
            "subject": world.title(1),
            "name": "meter:dlms_ldn:ELS0000000000001",
            "meter": None,
        }


class TestMeters:
    """Lists, chains and bundles, cut to who asks."""

    def test_pages(self, elster, factory):
        elster.send(*(world.born(number) for number in range(1, 6)))
        seen, query = [], "limit=2"
        while query:
            body = factory.get(f"/api/v1/meters?{query}").json()
            seen += [meter["subject"] for meter in body["items"]]
            query = f"limit=2&cursor={body['next']}" if body["next"] else ""
        assert seen == [world.title(number) for number in range(1, 6)]
        assert len(factory.get("/api/v1/meters?state=assembled").json()["items"]) == 5
        assert factory.get("/api/v1/meters?state=disposed").json()["items"] == []
        problem(factory.get("/api/v1/meters?state=nonsense"), 400, "request.parameter")

    def test_a_cursor_belongs_to_its_filter(self, elster, factory):
        elster.send(world.born(1), world.born(2))
        cursor = factory.get("/api/v1/meters?limit=1&state=assembled").json()["next"]
        problem(factory.get(f"/api/v1/meters?cursor={cursor}"), 400, "request.cursor")

    def test_the_chain_in_words(self, elster, factory, recorded):
        elster.send(world.event("mfg.calibrated", world.title(1)))
        meter = factory.get("/api/v1/meters").json()["items"][0]
        path = f"/api/v1/meters/{meter['id']}/events"
        first = factory.get(f"{path}?limit=1").json()
        rest = factory.get(f"{path}?limit=1&cursor={first['next']}").json()
        assert [link["type"] for link in first["items"] + rest["items"]] == ["mfg.assembled", "mfg.calibrated"]
        assert rest["next"] is None
        assert first["items"][0]["title"]
        assert first["items"][0]["batch"] == recorded.batch_id

    def test_the_bundle_verifies_with_the_trust_folder_alone(self, factory, recorded, admin, folders, tmp_path):
        """(c) of the promises: no network, no account."""
        meter = factory.get("/api/v1/meters").json()["items"][0]
        path = f"/api/v1/meters/{meter['id']}/proof"
        problem(factory.get(path), 409, "proof.pending")
        put_under_a_checkpoint()
        setup.write_trust_folder()
        for reader in (factory, admin):
            response = reader.get(path)
            assert response.status_code == 200, response.content
            bundle = tmp_path / "meter.proof"
            bundle.write_bytes(response.content)
            verdict = verify_file(bundle, folders / "trust_dir")
            assert verdict.exit_status == 0, verdict.error

    def test_a_party_sees_its_own_time_and_no_other(self, log):
        """T19, T20: the new owner does not see the factory, the former holder not what came after."""
        parties = world.make()
        world.live(parties, [world.title(1)], until="install.commissioned")
        put_under_a_checkpoint()
        seen = {}
        for name in ("elster", "stadtwerk", "installateur", "recycler"):
            reader = machine(name, "events:read")
            meters = reader.get("/api/v1/meters").json()["items"]
            if not meters:
                seen[name] = []
                problem(reader.get(f"/api/v1/meters/mtr_{'0' * 32}"), 404, "not_found")
                continue
            path = f"/api/v1/meters/{meters[0]['id']}"
            seen[name] = [link["type"] for link in reader.get(f"{path}/events").json()["items"]]
            problem(reader.get(f"{path}/proof"), 403, "not_allowed")
            assert reader.get(path).json()["last_type"] in seen[name]
        assert "mfg.assembled" in seen["elster"]
        assert "install.commissioned" not in seen["elster"]
        assert "install.commissioned" in seen["stadtwerk"]
        assert "cell.keys_provisioned" not in seen["stadtwerk"]
        assert seen["recycler"] == []


class TestPublicLog:
    """Checkpoint and hash tiles are everybody's; the events in entry bundles are not."""

    def test_nothing_is_published_before_the_first_checkpoint(self):
        problem(NOBODY.get("/log/checkpoint"), 404, "not_found")

    def test_checkpoint_and_tiles(self, recorded, log):
        put_under_a_checkpoint()
        response = NOBODY.get("/log/checkpoint")
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.content == (log / "checkpoint").read_bytes()
        verifier = NoteVerifier.from_vkey(NOBODY.get("/api/v1/service").json()["log_key"])
        size = Checkpoint.from_text(open_note(response.content.decode(), [verifier]).text).size
        tile = NOBODY.get(f"/log/tile/0/000.p/{size}")
        assert len(tile.content) == 32 * size
        assert tile.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert tile.headers["Content-Type"] == "application/octet-stream"
        assert "max-age=1" in response.headers["Cache-Control"]

    @pytest.mark.parametrize(
        "path",
        [
            "/log/tile/entries/000.p/{size}",
            "/log/tile/entries/000",
            "/log/batches/{batch}.json",
            "/log/tile/../checkpoint",
            "/log/tile/0/../entries/000.p/{size}",
            "/log/tile/0/%2e%2e/entries/000.p/{size}",
            "/log/../secrets_dir/log.pem",
            "/log/tile/64/000",
            "/log/tile/0/0",
            "/log/tile/0/000.p/256",
            "/log/tile/0/" + "x001/" * 6 + "000",
            "/log/tile/0/000",
            "/log/",
        ],
    )
    def test_nothing_else_is_served(self, recorded, path):
        """T19: entry bundles and batches hold the events themselves."""
        put_under_a_checkpoint()
        size = Checkpoint.from_text(NOBODY.get("/log/checkpoint").content.decode().split("\n\n")[0] + "\n").size
        problem(NOBODY.get(path.format(size=size, batch=recorded.batch_id)), 404, "not_found")

    def test_a_path_longer_than_the_file_system_takes_is_no_crash(self):
        problem(NOBODY.get("/log/tile/0/" + "x001/" * 2_000 + "000"), 404, "not_found")


def test_health_of_a_working_and_a_broken_installation(recorded, settings, folders):
    """Ready means that a batch would be recorded and published; what is wrong is named without its secrets."""
    assert NOBODY.get("/livez").json() == {"status": "ok"}
    waiting = NOBODY.get("/readyz")
    assert waiting.status_code == 503
    assert waiting.json()["checks"]["checkpoint"] == "no checkpoint yet"
    put_under_a_checkpoint()
    ready = NOBODY.get("/readyz")
    assert ready.status_code == 200, ready.content
    assert set(ready.json()["checks"].values()) == {"ok"}
    settings.METERPROOF = {**settings.METERPROOF, "SIGNER_DIR": folders / "elsewhere"}
    lost = NOBODY.get("/readyz")
    assert lost.status_code == 503
    assert lost.json()["checks"]["signer"] == "StateRefused"
    assert str(folders) not in lost.content.decode()
    assert Organisation.objects.exists()
