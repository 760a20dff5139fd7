"""The offline verifier as a command: `python -m compliance.proof verify FILE --policy TRUST [--json]`.

Exit 0: nothing bad. 1: something does not verify. 2: it could not be checked. No account, no database, and no network
but for `monitor`, which follows a log from outside.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from compliance.proof.errors import REASONS
from compliance.proof.monitor import command as monitor
from compliance.proof.steps import Step, Verdict
from compliance.proof.verify import Asked, verify_file

MARKS = {"ok": "ok ", "bad": "BAD", "unchecked": "?  "}


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None) -> int:
    """Run the command; returns the exit status."""
    if isinstance(sys.stdout, TextIOWrapper):  # names in a policy are bytes that need not be UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    out = out or sys.stdout
    options = _parser().parse_args(arguments)
    if options.command == "reasons":
        for code, meaning in REASONS.items():
            print(f"{code:28} {meaning}", file=out)
        return 0
    if options.command == "monitor":
        return monitor.run(options, out)
    verdict = verify_file(options.file, options.policy, asked=Asked(options.keys, options.entry, options.checkpoint))
    if options.json:
        value = {"file": str(options.file), **verdict.to_object()}
        print(json.dumps(value, indent=2, ensure_ascii=False), file=out)
    else:
        _print(options.file, verdict, out)
    return verdict.exit_status


def _print(file: Path, verdict: Verdict, out: TextIO) -> None:
    print(f"Verifying {file}\n", file=out)
    for number, step in enumerate(verdict.steps, start=1):
        _print_step(number, step, out)
    error = verdict.error
    print(file=out)
    if error is None:
        said = ["Nothing is wrong."]
        if verdict.redacted:
            said.append(f"{len(verdict.redacted)} entries were redacted, each explained by an entry of the log.")
        if verdict.notes:
            said.append(f"{len(verdict.notes)} notes above.")
        print("VERIFIED  " + " ".join(said), file=out)
        return
    where = f" at {error.place}" if error.place else ""
    if verdict.exit_status == 1:
        print(f"NOT VERIFIED  {error.code}{where}: {error.detail}", file=out)
        print("What stands above the failing step was checked; nothing after it was.", file=out)
    else:
        print(f"COULD NOT BE CHECKED  {error.code}{where}: {error.detail}", file=out)


def _print_step(number: int, step: Step, out: TextIO) -> None:
    print(f"{number:2}. [{MARKS[step.status]}] {step.title}", file=out)
    for line in step.lines:
        print(f"          {line}", file=out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m compliance.proof", description="Checks proofs of a Meterproof log, offline."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser(
        "verify",
        help="check a file and say step by step what was checked",
        description="Exit status: 0 nothing bad, 1 something does not verify, 2 it could not be checked.",
    )
    verify.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a proof bundle, receipt (JSON or COSE), batch, checkpoint, .tlog-proof, consistency proof, PDF report, "
        "or the folder of a log",
    )
    verify.add_argument(
        "--policy", type=Path, required=True, metavar="TRUST", help="your trust folder, or the policy file in it"
    )
    verify.add_argument("--json", action="store_true", help="say it as JSON")
    verify.add_argument("--keys", type=Path, metavar="KEYS", help="registered keys, for a batch that stands alone")
    verify.add_argument(
        "--entry", type=Path, metavar="ENTRY", help="the entry's bytes, for a proof that it is in the log"
    )
    verify.add_argument(
        "--checkpoint", type=Path, metavar="OLD", help="the older checkpoint that you kept, for a proof of consistency"
    )
    monitor.add_arguments(
        commands.add_parser(
            "monitor",
            help="follow a log from outside and keep evidence",
            description="For cron. Exit status: 0 all is well, 1 something is wrong, 2 it could not be checked.",
        )
    )
    commands.add_parser("reasons", help="list the reason codes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
