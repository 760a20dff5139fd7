"""`python -m compliance.client`: the sender's command line. Exit codes: 0 done, 1 refused or not verified, 2 usage,
3 nobody answered (run it again: it continues).
"""

import argparse
import mimetypes
import os
import stat
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from compliance.client import example, progress, signing, submission
from compliance.client.errors import EXIT_OK, EXIT_REFUSED, BadFile, ClientError, LineProblem, Refused
from compliance.client.home import Home
from compliance.client.inclusion import Standing, check_receipt
from compliance.client.session import Session
from compliance.client.signing import SigningKey
from compliance.proof.checkpoint import is_origin
from compliance.proof.errors import ProofError
from compliance.proof.times import parse_time

DEFAULT_SERVER = "http://127.0.0.1:8000"
SHOWN_PROBLEMS = 100  # as many as the platform tells at once
PATIENCE_SECONDS = 60.0  # a restart of the server; somebody sits and waits


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; say what went wrong in a sentence, without a traceback."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (BadFile, Refused) as error:
        if isinstance(error, Refused) and error.code == "batch.refused":
            error.mend = "Mend these lines and run the same command again, or record the others with --mode proceed."
        _say_error(error)
        _say_problems(error.problems)
        return error.exit_code
    except ClientError as error:
        _say_error(error)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_OK
    except KeyboardInterrupt:
        print("Stopped. Running the same command again continues.", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m compliance.client", description="Sign events, send them, keep the receipts."
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--home", metavar="DIR", help="keys, receipts and work in progress (METERPROOF_HOME, ~/.meterproof)"
    )
    common.add_argument(
        "--server",
        default=os.environ.get("METERPROOF_SERVER", DEFAULT_SERVER),
        metavar="URL",
        help=f"METERPROOF_SERVER, else {DEFAULT_SERVER}",
    )
    common.add_argument(
        "--api-key-file", metavar="FILE", help="else METERPROOF_API_KEY, else the file api-key in the home folder"
    )
    common.add_argument(
        "--trust", metavar="DIR", help="trust folder; without one the server's keys are pinned at first use"
    )
    common.add_argument(
        "--patience",
        type=float,
        default=PATIENCE_SECONDS,
        metavar="SECONDS",
        help=f"how long to try while the server does not answer (default: {PATIENCE_SECONDS:.0f})",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    keygen = commands.add_parser("keygen", parents=[common], help="make a signing key and its registration")
    keygen.add_argument("--organisation", required=True, metavar="ID")
    holder = keygen.add_mutually_exclusive_group(required=True)
    for kind in ("person", "station", "service"):
        holder.add_argument(f"--{kind}", metavar="ID", help=f"the key belongs to a {kind}; pseudonymous")
    keygen.add_argument("--algorithm", choices=["ed25519", "ecdsa_p256_sha256"], default="ed25519")
    keygen.add_argument("--name", help="folder of the key below keys/ (default: the holder's id)")
    keygen.add_argument("--log", metavar="ORIGIN", help="the log's origin, instead of asking the server")
    keygen.add_argument(
        "--vouched-by", metavar="KEY", help="an earlier key of the organisation; a further key needs it"
    )
    keygen.set_defaults(run=_keygen)

    example_ = commands.add_parser("example", parents=[common], help="print a file of events to start from")
    example_.add_argument("--organisation", required=True, metavar="ID")
    example_.add_argument("--flag", default="ACM", metavar="ABC", help="three letters that system titles start with")
    example_.set_defaults(run=_example)

    submit = commands.add_parser("submit", parents=[common], help="sign and send a file of events")
    submit.add_argument("file", type=Path, metavar="events.ndjson")
    submit.add_argument("--key", metavar="KEY", help="name or folder of the key (default: the only one)")
    submit.add_argument(
        "--second-key", metavar="KEY", help="a second signature, where two people or two parties must sign"
    )
    submit.add_argument("--source", metavar="ID", help="station, service or desk that made the batch")
    submit.add_argument(
        "--mode", choices=["atomic", "proceed"], default="atomic", help="one bad event stops its batch, or only itself"
    )
    submit.set_defaults(run=_submit)

    evidence = commands.add_parser("evidence", help="hand in evidence files")
    adding = evidence.add_subparsers(dest="word", required=True, metavar="add").add_parser(
        "add", parents=[common], help="hand in one file with what it shows"
    )
    adding.add_argument("file", type=Path)
    adding.add_argument("--title", required=True)
    adding.add_argument(
        "--kind", default="record", help="policy, procedure, record, report, certificate ... (default: record)"
    )
    adding.add_argument("--covers-from", required=True, metavar="DATE")
    adding.add_argument("--covers-to", required=True, metavar="DATE")
    adding.add_argument("--produced-at", metavar="TIME", help="default: when the file was last changed")
    adding.add_argument("--media-type", help="default: by the file's name")
    adding.add_argument(
        "--link", action="append", default=[], metavar="KIND=REFERENCE", help="e.g. requirement=iso27001-2022:A.8.24"
    )
    adding.set_defaults(run=_evidence)

    status = commands.add_parser("status", parents=[common], help="recorded or included: ask for each receipt's proof")
    status.add_argument(
        "--every", action="store_true", help="prove each entry, not only the first and last of a receipt"
    )
    status.set_defaults(run=_status)

    receipts = commands.add_parser("receipts", parents=[common], help="list the receipts kept here")
    receipts.set_defaults(run=_receipts)

    verify = commands.add_parser("verify", help="verify a bundle, receipt, batch, log folder or report offline")
    verify.add_argument("file")
    verify.add_argument("--policy", required=True, metavar="TRUST")
    verify.set_defaults(run=_verify)
    return parser


def _keygen(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    kind = next(kind for kind in ("person", "station", "service") if getattr(options, kind))
    key = signing.generate(
        organisation=options.organisation, holder={kind: getattr(options, kind)}, algorithm=options.algorithm
    )
    if options.log is not None and not is_origin(options.log):
        raise ClientError(f"{options.log!r} is not the origin of a log.")
    vouching = [SigningKey.load(home, options.vouched_by)] if options.vouched_by else []
    folder = home.keys / (options.name or key.source)
    if options.log is None:
        with _session(options, home, api_key="") as session:
            origin = session.origin
    else:
        origin = options.log
    try:
        registered_by = signing.registration([key], log=origin, vouching=vouching)
    except ProofError as error:
        raise ClientError(f"No registration can be made: {error.detail}") from error
    signing.save(folder, key, registered_by)
    print(f"Key id        {key.key.public.keyid}")
    print(f"Private key   {folder / signing.KEY_FILE}  (stays here; make a safe copy)")
    print(f"Registration  {folder / signing.REGISTRATION_FILE}")
    if vouching:
        print(f"Send the registration:  python -m compliance.client submit {folder / signing.REGISTRATION_FILE}")
    else:
        print("Give the registration to the platform's administrator, with the key id told another way.")
    return EXIT_OK


def _example(options: argparse.Namespace) -> int:
    try:
        sys.stdout.write(example.events(options.organisation, options.flag))
    except ProofError as error:
        raise ClientError(error.detail) from error
    return EXIT_OK


def _submit(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    names = [name for name in (options.key, options.second_key) if name]
    keys = [SigningKey.load(home, name) for name in names]
    if not keys and not submission.is_signed(options.file):
        keys = [SigningKey.only_one(home)]
    recorded = duplicates = 0
    problems: list[LineProblem] = []
    with _session(options, home) as session:
        sending = submission.prepare(session, options.file, keys=keys, source=options.source)
        if sending.completed is not None:
            print(f"What was missing was filled in and kept in {sending.completed}.", file=sys.stderr)
        with progress.bar(sending.events, "events") as bar:
            if sys.stderr.isatty():
                session.transport.on_wait = bar.wait
            for sent in submission.send(session, sending, mode=options.mode):
                recorded += sent.outcome.recorded
                duplicates += sent.outcome.duplicates
                problems += submission.problems_of(sent)
                bar.advance(len(sent.planned.lines))
    already = f", {duplicates} {'was' if duplicates == 1 else 'were'} recorded before" if duplicates else ""
    refused = f", {len(problems)} refused" if problems else ""
    print(f"{recorded} of {sending.events} events recorded{already}{refused}.")
    count = "1 receipt" if len(sending.batches) == 1 else f"{len(sending.batches)} receipts"
    print(f"{count} verified and kept in {home.receipts}")
    _say_problems(problems)
    return EXIT_REFUSED if problems else EXIT_OK


def _evidence(options: argparse.Namespace) -> int:
    media_type = options.media_type or mimetypes.guess_type(options.file.name)[0]
    if media_type is None:
        raise ClientError(f"What kind of file is {options.file.name}?", mend="Say it: --media-type application/pdf")
    try:
        content = options.file.read_bytes()
        changed = datetime.fromtimestamp(options.file.stat().st_mtime, UTC)
    except OSError as error:
        raise ClientError(f"{options.file} cannot be read: {error.strerror}") from error
    with _session(options, Home.at(options.home)) as session:
        taken = session.submit_evidence(
            content,
            name=options.file.name,
            media_type=media_type,
            title=options.title,
            kind=options.kind,
            covers_from=_moment(options.covers_from),
            covers_to=_moment(options.covers_to, end_of_day=True),
            produced_at=_moment(options.produced_at) if options.produced_at else changed,
            links=[_link(text) for text in options.link],
        )
    print(f"Evidence      {taken['id']}  ({taken['state']})")
    print(f"SHA-256       {taken['files'][0]['sha256']}")
    return EXIT_OK


def _status(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    waiting = failed = 0
    with _session(options, home) as session:
        kept = list(session.receipts)
        if not kept:
            print("No receipts yet.")
        for one in kept:
            if one.note.get("log") != session.origin:
                print(f"{one.batch_id[:16]}  of another log: {one.note.get('log')}")
                continue
            found = check_receipt(session, one, every=options.every)
            waiting += found.standing is Standing.RECORDED
            failed += found.standing is Standing.BROKEN
            print(f"{one.batch_id[:16]}  {found.standing.value:<10} {found.says}")
    if waiting:
        print("Recorded is the platform's signed promise; after the next checkpoint it becomes included.")
    return EXIT_REFUSED if failed else EXIT_OK


def _receipts(options: argparse.Namespace) -> int:
    from compliance.client.receipts import ReceiptStore

    for one in ReceiptStore(Home.at(options.home)):
        payload = one.read().payload
        print(f"{payload['issued_at'][:19]}Z  {len(payload['entries']):>5} entries  {payload['log']}  {one.path}")
    return EXIT_OK


def _verify(options: argparse.Namespace) -> int:
    from compliance.proof.__main__ import main as verify

    return verify(["verify", options.file, "--policy", options.policy])


def _session(options: argparse.Namespace, home: Home, *, api_key: str | None = None) -> Session:
    key = _api_key(options.api_key_file, home) if api_key is None else api_key
    session = Session(options.server, key, home=home, trust=options.trust, patience_seconds=options.patience)
    session.transport.on_wait = progress.said_once()
    return session


def _api_key(given: str | None, home: Home) -> str:
    if given is None and (key := os.environ.get("METERPROOF_API_KEY")):
        return key.strip()
    path = Path(given).expanduser() if given else home.path / "api-key"
    try:
        mode = path.stat().st_mode
        key = path.read_text().strip()
    except OSError as error:
        raise ClientError(
            "There is no API key.", mend=f"Set METERPROOF_API_KEY, or write the key into {path} (chmod 600)."
        ) from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        print(f"Warning: others can read {path}; chmod 600 {path}", file=sys.stderr)
    return key


def _moment(text: str, *, end_of_day: bool = False) -> datetime:
    if len(text) == len("2026-01-31"):
        text += "T23:59:59Z" if end_of_day else "T00:00:00Z"
    try:
        return parse_time(text)
    except ProofError as error:
        raise ClientError(f"{text!r} is no date like 2026-01-31 or time like 2026-01-31T08:00:00Z.") from error


def _link(text: str) -> tuple[str, str]:
    kind, separator, reference = text.partition("=")
    if not separator or not reference:
        raise ClientError(f"{text!r} is no link like requirement=iso27001-2022:A.8.24.")
    return kind, reference


def _say_error(error: ClientError) -> None:
    print(error.message, file=sys.stderr)
    if error.mend:
        print(error.mend, file=sys.stderr)


def _say_problems(problems: Sequence[LineProblem]) -> None:
    for problem in problems[:SHOWN_PROBLEMS]:
        print(f"  {problem}", file=sys.stderr)
    if len(problems) > SHOWN_PROBLEMS:
        print(f"  and {len(problems) - SHOWN_PROBLEMS} more", file=sys.stderr)
