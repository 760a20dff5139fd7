"""Sending a file of events: completed, signed, recorded once, whatever happens on the way."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from compliance.client import NotTrusted, Refused, SigningKey, Unreachable, example, submission
from compliance.client.home import read_json
from compliance.client.transport import FAULT_TRIES, Transport
from compliance.proof import batch
from tests.client.conftest import Sender
from tests.client.front import BUSY, DROP, FAULT, FORGE_RECEIPT, FULL, LOSE_ANSWER, REQUEST_ID, SLOW_DOWN, front

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True), pytest.mark.both_engines]
EVENTS = 8


def test_a_users_own_file_is_recorded_and_its_receipt_kept(
    sender: Sender, events_of_acme: str, recorded: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The third command of the README."""
    assert sender.run("submit", sender.file(events_of_acme)) == 0
    assert recorded() == EVENTS
    assert f"{EVENTS} of {EVENTS} events recorded" in capsys.readouterr().out
    (receipt,) = sender.session().receipts
    assert len(receipt.read().payload["entries"]) == EVENTS


def test_what_is_missing_is_filled_in_and_kept_beside(sender: Sender, events_of_acme: str) -> None:
    """Ids, versions and the actor are the machine's to know; the completed file shows them."""
    sender.run("submit", sender.file(events_of_acme))
    completed = [json.loads(line) for line in (sender.folder / "events.complete.ndjson").read_text().splitlines()]
    assert len({event["id"] for event in completed}) == EVENTS
    assert all(event["v"] == 1 and event["actor"] == {"person": "alice"} for event in completed)
    assert {event["subject"] for event in completed if event["type"].startswith("mfg.a")} == {
        f"meter:dlms_system_title:41434D010000000{number}" for number in (1, 2, 3)
    }


def test_sent_again_it_is_answered_alike(
    sender: Sender, events_of_acme: str, recorded: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The very same batch goes out again: no second entry, no second receipt."""
    path = sender.file(events_of_acme)
    assert sender.run("submit", path) == sender.run("submit", path) == 0
    first, second = (line for line in capsys.readouterr().out.splitlines() if "recorded" in line)
    assert first == second
    assert recorded() == EVENTS
    assert len(list(sender.session().receipts)) == 1


def test_with_another_key_or_home_the_events_stay_the_same(
    sender: Sender, events_of_acme: str, recorded: Callable[[], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever sends the file a second time finds the ids of the first beside it."""
    path = sender.file(events_of_acme)
    sender.run("submit", path)
    (tmp_path / "other").mkdir(mode=0o700)
    for name in ("keys", "api-key"):
        os.rename(sender.home.path / name, tmp_path / "other" / name)
    other = Sender(sender.server, type(sender.home).at(tmp_path / "other"), sender.folder)
    assert other.run("submit", path) == 0
    assert f"0 of {EVENTS} events recorded, {EVENTS} were recorded before" in capsys.readouterr().out
    assert recorded() == EVENTS


def test_tomorrows_events_under_the_same_name_are_new_ones(
    sender: Sender, events_of_acme: str, recorded: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """A line is known again by what it says, never by its place: moved it is the same event, changed it is another."""
    lines = events_of_acme.splitlines()
    assert sender.run("submit", sender.file("\n".join(lines[:3]))) == 0
    tomorrow = [lines[1].replace("PCB-1", "PCB-2"), lines[2], lines[0].replace("M100", "M200")]
    capsys.readouterr()
    assert sender.run("submit", sender.file("\n".join(tomorrow))) == 0
    assert "2 of 3 events recorded, 1 was recorded before" in capsys.readouterr().out
    assert recorded() == 5


def test_bad_lines_come_back_with_line_pointer_and_reason(
    sender: Sender, events_of_acme: str, recorded: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them at once, and nothing is sent."""
    lines = events_of_acme.splitlines()
    lines[1] = lines[1].replace('"occurred_at": "', '"occurred_at": "x')
    lines[3] = lines[3][:-9]
    lines[5] = lines[5].replace('"type"', '"typ"')
    assert sender.run("submit", sender.file("\n".join(lines))) == 1
    said = capsys.readouterr().err
    assert re.search(r"line 2 /occurred_at: .* \[time\.form\]", said)
    assert re.search(r"line 4 .*\[json\.", said)
    assert re.search(r"line 6 /typ: .*unknown.* \[event\.member\]", said)
    assert recorded() == 0


def test_refusals_of_the_server_name_the_line_of_the_users_file(
    sender: Sender, events_of_acme: str, recorded: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty line shifts nothing: the line is that of the file, not of the batch."""
    lines = events_of_acme.splitlines()
    broken = json.loads(lines[3])
    del broken["data"]["result"]
    path = sender.file("\n".join([lines[0], "", lines[1], lines[2], json.dumps(broken), *lines[4:]]))
    assert sender.run("submit", path) == 1
    assert re.search(r"line 5 /data\S*: .*result.* \[event\.data\]", capsys.readouterr().err)
    assert recorded() == 0


def test_proceed_records_the_good_ones(
    sender: Sender, events_of_acme: str, recorded: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """One bad event stops only itself, and the exit code still says that something is to be mended."""
    lines = events_of_acme.splitlines()
    broken = json.loads(lines[7])
    del broken["data"]["result"]
    path = sender.file("\n".join([*lines[:7], json.dumps(broken)]))
    assert sender.run("submit", path, "--mode", "proceed") == 1
    assert recorded() == EVENTS - 1
    assert "line 8 /data" in capsys.readouterr().err


def test_a_key_nobody_registered_is_refused(
    sender: Sender, events_of_acme: str, recorded: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrongly signed: a clear problem, and nothing recorded."""
    sender.run("keygen", "--organisation", "acme", "--person", "mallory")
    assert sender.run("submit", sender.file(events_of_acme), "--key", "mallory") == 1
    assert "key.unknown" in capsys.readouterr().err
    assert recorded() == 0


def test_two_people_sign_one_batch(sender: Sender, events_of_acme: str) -> None:
    """A second key of the organisation, vouched for by the first, then both signatures on a batch."""
    assert sender.run("keygen", "--organisation", "acme", "--person", "bob", "--vouched-by", "alice") == 0
    registration = sender.home.keys / "bob" / "registration.ndjson"
    assert sender.run("submit", registration, "--key", "alice") == 0
    assert sender.run("submit", sender.file(events_of_acme), "--key", "alice", "--second-key", "bob") == 0
    kept = [path.read_bytes() for path in sender.home.receipts.glob("*.ndjson")]
    assert max(len(batch.read(one).signatures) for one in kept) == 2


@pytest.mark.parametrize("word", [DROP, LOSE_ANSWER, BUSY, SLOW_DOWN, FAULT])
def test_what_goes_wrong_on_the_way_is_tried_again(
    sender: Sender, events_of_acme: str, recorded: Callable[[], int], word: str
) -> None:
    """F2 among them: the server had committed when the answer was lost; the retry gets the first receipt."""
    with front(sender.server, word) as (address, state):
        through = Sender(address, sender.home, sender.folder)
        assert through.run("submit", sender.file(events_of_acme)) == 0
        assert state.posts == 2
    assert recorded() == EVENTS


def test_a_server_that_asks_for_time_gets_it(sender: Sender, events_of_acme: str) -> None:
    """Retry-After is the least pause, and whoever watches is told the reason."""
    waits: list[tuple[str, float]] = []
    with front(sender.server, BUSY, SLOW_DOWN) as (address, _):
        key = (sender.home.path / "api-key").read_text()
        transport = Transport(address, key, on_wait=lambda reason, seconds: waits.append((reason, seconds)))
        transport.sleep = lambda _seconds: None
        with sender.session(transport=transport) as session:
            sending = submission.prepare(session, sender.file(events_of_acme), keys=[sender.key()])
            assert [sent.outcome.recorded for sent in submission.send(session, sending, mode="atomic")] == [EVENTS]
    assert [re.findall(r"\[(\d+) ", reason) for reason, _ in waits] == [["503"], ["429"]]
    assert all(seconds >= 1 for _, seconds in waits)


def test_a_server_that_breaks_each_time_is_given_up_soon(
    sender: Sender, events_of_acme: str, recorded: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """A few tries and no more; what was signed is kept, and the same command sends it when the server is mended."""
    path = sender.file(events_of_acme)
    with front(sender.server, *[FAULT] * 10) as (address, state):
        assert Sender(address, sender.home, sender.folder).run("submit", path) == 3
        assert state.posts == FAULT_TRIES
    said = capsys.readouterr().err
    assert REQUEST_ID in said
    assert "Nothing is lost" in said
    (kept,) = (sender.home.path / "submissions").glob("*/0001.ndjson")
    assert recorded() == 0
    assert sender.run("submit", path) == 0
    assert {one.batch_id for one in sender.session().receipts} == {batch.read(kept.read_bytes()).batch_id}


def test_a_server_that_asks_for_too_long_is_not_waited_for(
    sender: Sender, events_of_acme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk is not mended in a minute: said at once, with exit code 3."""
    with front(sender.server, FULL) as (address, state):
        assert Sender(address, sender.home, sender.folder).run("submit", sender.file(events_of_acme)) == 3
        assert state.posts == 1
    assert "asks to wait 3600 s" in capsys.readouterr().err


def test_patience_ends(sender: Sender) -> None:
    """Nobody answers: exit code 3 by its own name, and the advice to run it again."""
    with sender.session(transport=Transport("http://127.0.0.1:9", "", patience_seconds=0.5)) as session:
        with pytest.raises(Unreachable) as error:
            session.send_batch(_registration_of(sender.key()))
        assert error.value.exit_code == 3
        assert "again" in error.value.mend


def test_a_forged_receipt_is_not_kept(sender: Sender, events_of_acme: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What does not verify with the trusted receipt key is no receipt."""
    sender.run("status")  # pins the platform's keys while nobody is between
    with front(sender.server, FORGE_RECEIPT) as (address, _):
        through = Sender(address, sender.home, sender.folder)
        assert through.run("submit", sender.file(events_of_acme)) == 1
    assert "does not verify" in capsys.readouterr().err
    assert not list(sender.session().receipts)


def test_killed_in_the_middle_it_continues(
    sender: Sender,
    recorded: Callable[[], int],
    subprocess_environment: dict[str, str],
) -> None:
    """kill -9 after the first of three batches: the same command then sends the very same bytes for the rest."""
    path = sender.file(_many_events(2_100))
    command = [sys.executable, "-m", "compliance.client", "submit", str(path)]
    command += ["--server", sender.server, "--home", str(sender.home.path)]
    process = subprocess.Popen(command, env=subprocess_environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(sender.home.receipts.glob("*.receipt.json")):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (plan,) = (read_json(one) for one in (sender.home.path / "submissions").glob("*/plan.json"))
    before = len(list(sender.home.receipts.glob("*.receipt.json")))
    assert before < 3
    finished = subprocess.run(command, env=subprocess_environment, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert recorded() == 2_100
    sent = {one["batch"] for one in plan["batches"]}
    assert sent == {one.batch_id for one in sender.session().receipts}
    assert "2100 of 2100 events recorded" in finished.stdout


def test_batches_respect_count_and_size(sender: Sender) -> None:
    """At most 1,000 events and 5 MiB each, in order, none lost."""
    big = [json.loads(line) for line in _many_events(1_300).splitlines()]
    for event in big[:200]:
        event["data"]["note"] = ["x" * 8_000] * 6
    path = sender.file("\n".join(json.dumps(event) for event in big))
    with sender.session() as session:
        sending = submission.prepare(session, path, keys=[sender.key()])
        sizes = [one.path.stat().st_size for one in sending.batches]
        assert max(sizes) <= 5 * 1024 * 1024
        assert [line for one in sending.batches for line in one.lines] == list(range(1, 1_301))
        assert max(len(one.lines) for one in sending.batches) <= 1_000


def test_a_signed_batch_is_sent_as_it_is(sender: Sender, recorded: Callable[[], int], events_of_acme: str) -> None:
    """A station signs where there is no network; the desk sends."""
    with sender.session() as session:
        prepared = submission.prepare(session, sender.file(events_of_acme), keys=[sender.key()])
        carried = sender.file(prepared.batches[0].path.read_text(), "from-the-station.ndjson")
    (sender.home.keys / "alice").rename(sender.folder / "key-of-the-station")
    assert sender.run("submit", carried) == 0
    assert recorded() == EVENTS


def test_a_batch_for_another_log_is_not_sent(sender: Sender) -> None:
    """No replay into another installation, not even by mistake."""
    key = sender.key()
    with sender.session() as session, pytest.raises(Exception, match=r"elsewhere\.example/log"):
        session.send_batch(_registration_of(key, log="elsewhere.example/log"))


def test_another_log_key_than_the_pinned_one_stops_everything(sender: Sender, events_of_acme: str) -> None:
    """After the first use the server cannot say that it signs with another key."""
    with sender.session() as session:
        assert session.origin
    vkey = sender.home.trust(session.origin) / "log.vkey"
    other = _other_log_key(session.origin)
    for file in (vkey, vkey.parent / "policy"):
        file.write_text(file.read_text().replace(session.service["log_key"], other))
    with sender.session() as again, pytest.raises(NotTrusted):
        again.send_batch(_registration_of(sender.key()))
    assert sender.run("submit", sender.file(events_of_acme)) == 1


def test_the_trust_folder_of_the_relying_party_is_used(sender: Sender, events_of_acme: str, folders: Path) -> None:
    """With --trust nothing is pinned from the server's own word."""
    assert sender.run("submit", sender.file(events_of_acme), "--trust", folders / "trust_dir") == 0
    with sender.session(trust=folders / "trust_dir") as session:
        assert not session.trust.pinned_at_first_use


def test_an_unknown_api_key_is_refused_at_once(sender: Sender) -> None:
    """401 is not tried again."""
    with sender.session(transport=Transport(sender.server, "mp_live_nonsense")) as session:
        batch_of_a_key = _registration_of(sender.key())
        with pytest.raises(Refused) as error:
            session.send_batch(batch_of_a_key)
    assert error.value.status == 401


def _many_events(count: int) -> str:
    """Types that are registered and never used."""
    (line,) = [one for one in example.events("acme", "ACM").splitlines() if "design.type_registered" in one]
    template = json.loads(line)
    return "\n".join(
        json.dumps(
            {
                **template,
                "subject": f"meter_type:acme:T{number}",
                "data": {**template["data"], "type_code": f"T{number}"},
            }
        )
        for number in range(count)
    )


def _registration_of(key: SigningKey, log: str = "meterproof.example/log") -> bytes:
    from compliance.client.signing import registration

    return registration([key], log=log).ndjson


def _other_log_key(origin: str) -> str:
    from compliance.proof.keys import PrivateKey
    from compliance.proof.note import NoteSigner

    return NoteSigner(origin, PrivateKey.generate()).vkey
