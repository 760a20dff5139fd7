"""`python -m compliance.proof monitor`, for cron. Exit 0: all is well; 1: something is wrong; 2: not checkable."""

import argparse
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.monitor import memory
from compliance.proof.monitor.follow import Asked, Finding, Monitor, MonitorTrust, Report
from compliance.proof.monitor.sources import WAIT_SECONDS, open_source
from compliance.proof.note import MAX_NOTE_BYTES

DEADLINE_SECONDS: Final = 3600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `monitor`."""
    parser.add_argument("source", metavar="LOG", help="https://…/log, or the folder of a copy")
    parser.add_argument(
        "--policy", "--trust", type=Path, required=True, metavar="TRUST", help="your trust folder, or a policy file"
    )
    parser.add_argument("--state", type=Path, default=Path("monitor"), metavar="DIR", help="what is kept between runs")
    parser.add_argument("--json", action="store_true", help="say it as JSON")
    parser.add_argument("--full", action="store_true", help="hash every tile again, not only the new ones")
    parser.add_argument(
        "--entries", metavar="LOG", help="where entry bundles are: an address or a folder; hash them too"
    )
    parser.add_argument("--entries-key", type=Path, metavar="FILE", help="sent as bearer token with --entries")
    parser.add_argument(
        "--seen", type=Path, action="append", default=[], metavar="FILE", help="another checkpoint of this log you hold"
    )
    parser.add_argument("--max-age", type=int, metavar="SECONDS", help="an older checkpoint is stale (see the docs)")
    parser.add_argument("--deadline", type=int, default=DEADLINE_SECONDS, metavar="SECONDS", help="for the whole run")


def run(options: argparse.Namespace, out: TextIO, *, now: int | None = None) -> int:
    """Run once; the exit status."""
    try:
        with _deadline(options.deadline), memory.locked(options.state) as kept:
            report = _monitor(options, kept, int(time.time()) if now is None else now)
    except ProofError as error:
        report = Report([Finding(error.code, error.detail, error.exit_status, error.place)])
    if options.json:
        print(json.dumps({"source": options.source, **report.to_object()}, indent=2), file=out)
    else:
        _print(options.source, report, out)
    return report.exit_status


def _monitor(options: argparse.Namespace, kept: memory.Memory, now: int) -> Report:
    until = time.monotonic() + options.deadline
    entries = None
    if options.entries is not None:
        key = _text(options.entries_key).strip() if options.entries_key else ""
        entries = open_source(options.entries, until=until, key=key)
    asked = Asked(
        max_age_seconds=options.max_age,
        is_full=options.full,
        entries=entries,
        seen={str(path): _text(path) for path in options.seen},
    )
    source = open_source(options.source, until=until)
    return Monitor(source, MonitorTrust.load(options.policy), kept, asked, now=now).run()


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_NOTE_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotCheckable("file.missing", f"cannot be read: {error}", place=str(path)) from None


@contextmanager
def _deadline(seconds: int) -> Iterator[None]:
    """Ends even a run whose server sends a byte now and then for ever. Only the main thread can be interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_signal: int, _frame: object) -> None:
        raise NotCheckable("monitor.unreachable", f"not done after {seconds} seconds (--deadline)")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds + WAIT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _print(source: str, report: Report, out: TextIO) -> None:
    print(f"Monitoring {source}\n", file=out)
    for line in report.said:
        print(f"  {line}", file=out)
    for finding in report.findings:
        where = f" at {finding.place}" if finding.place else ""
        mark = "WRONG" if finding.exit_status == 1 else "COULD NOT BE CHECKED"
        print(f"  {mark}  {finding.code}{where}: {finding.detail}", file=out)
        if finding.evidence:
            print(f"         evidence: {finding.evidence}", file=out)
    print(f"\n{('ALL IS WELL', 'SOMETHING IS WRONG', 'COULD NOT BE CHECKED')[report.exit_status]}", file=out)
