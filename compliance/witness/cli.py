"""The commands of a witness, for `python -m compliance.witness` and `manage.py witness` alike."""

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any, Final, TextIO

from compliance.proof.times import format_posix
from compliance.witness import evidence, home, server
from compliance.witness.home import HomeError

logger = logging.getLogger(__name__)

LISTEN: Final = "127.0.0.1:7380"


def add_arguments(parser: argparse.ArgumentParser, *, folder: Path) -> None:
    """The words and options, `folder` being where a witness lives unless --dir says otherwise."""
    words = parser.add_subparsers(dest="word", required=True)

    def command(word: str, what: str) -> argparse.ArgumentParser:
        made = words.add_parser(word, help=what, description=what)
        made.add_argument("--dir", type=Path, default=folder, help=f"the witness's folder (default: {folder.name})")
        return made

    keygen = command("keygen", "make the key and the memory of a new witness, and print its verifier key")
    keygen.add_argument("--name", required=True, help="for ever: an address without scheme, as witness.example.org/w1")
    adding = command("add-log", "trust a log by its verifier key; a running witness knows it at once")
    adding.add_argument("vkey", help="the log's verifier key, or a file that holds it")
    adding.add_argument("--checkpoint", type=Path, help="a signed checkpoint of the log to begin from")
    serving = command("serve", "serve the witness; with --name and --log, make it first if there is none")
    serving.add_argument("--name", help="make the witness under this name if the folder is empty")
    serving.add_argument("--log", action="append", default=[], help="trust this log too: verifier key, or its file")
    serving.add_argument("--listen", default=LISTEN, metavar="HOST:PORT", help=f"default: {LISTEN}")
    serving.add_argument("--prefix", default="", help="path before /add-checkpoint")
    serving.add_argument("--workers", type=int, default=2, help="processes")
    serving.add_argument("--certificate", type=Path, help="PEM, to serve https")
    serving.add_argument("--private-key", type=Path, help="PEM, of the certificate")
    command("accept-clock", "go on although a cosignature has a later time than the clock, which is right now")
    status = command("status", "say what was cosigned last, and how much evidence there is")
    status.add_argument("--json", action="store_true")


def run(options: dict[str, Any], out: TextIO) -> int:
    """Do what was asked; the exit status. Raises HomeError with words for the operator."""
    folder: Path = options["dir"]
    match options["word"]:
        case "keygen":
            print(home.make(folder, options["name"]), file=out)
        case "add-log":
            _add_log(folder, options["vkey"], options["checkpoint"], out)
        case "serve":
            _serve(folder, options, out)
        case "accept-clock":
            _accept_clock(folder, out)
        case _:
            return _status(folder, as_json=options["json"], out=out)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """`python -m compliance.witness`."""
    parser = argparse.ArgumentParser(prog="python -m compliance.witness", description=__doc__)
    add_arguments(parser, folder=Path("witness"))
    try:
        return run(vars(parser.parse_args(arguments)), sys.stdout)
    except HomeError as error:
        print(error, file=sys.stderr)
        return 2


def _serve(folder: Path, options: dict[str, Any], out: TextIO) -> None:
    if options["name"] and not home.is_made(folder):
        home.make(folder, options["name"])
    signer = home.load_signer(folder)
    if options["name"] and options["name"] != signer.name:
        raise HomeError(f"the witness in {folder} is {signer.name}; a name is for ever.")
    for vkey in options["log"]:
        _add_log(folder, vkey, None, out)
    prefix = f"{options['prefix'].strip('/')}/".lstrip("/")
    print(f"Witness {signer.vkey}", file=out)
    print(f"Listening on {options['listen']}; logs send to <address>/{prefix}add-checkpoint", file=out)
    out.flush()
    server.serve(
        folder,
        listen=options["listen"],
        prefix=options["prefix"],
        workers=options["workers"],
        certificate=options["certificate"],
        private_key=options["private_key"],
    )


def _add_log(folder: Path, vkey: str, checkpoint: Path | None, out: TextIO) -> None:
    text = _text(Path(vkey)) if "+" not in vkey or Path(vkey).exists() else vkey
    known = None if checkpoint is None else _text(checkpoint)
    added = home.add_log(folder, text.strip(), known=known)
    name = text.strip().partition("+")[0]
    print(f"{'Trusts' if added else 'Trusted already'}: {name}", file=out)


def _accept_clock(folder: Path, out: TextIO) -> None:
    now = int(time.time())
    store = home.load_store(folder)
    for origin in store.origins():
        ahead = store.take_time(origin, now)
        if ahead:
            logger.warning("the operator says that it is %s: %s goes back %d s", format_posix(now), origin, ahead)
            print(f"{origin}: the last cosignature was {ahead} s ahead; the next may be of now.", file=out)
        else:
            print(f"{origin}: nothing to do.", file=out)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise HomeError(f"{path} cannot be read: {error}") from None


def _status(folder: Path, *, as_json: bool, out: TextIO) -> int:
    store = home.load_store(folder)
    kept = evidence.count(folder / home.EVIDENCE)
    logs = []
    for origin in store.origins():
        last = store.cosigned(origin)
        logs.append(
            {
                "origin": origin,
                "size": last.size if last else None,
                "root": last.root.hex() if last else None,
                "cosigned_at": format_posix(last.time) if last and last.time else None,
            }
        )
    value = {"witness": home.load_signer(folder).vkey, "logs": logs, "evidence": kept}
    if as_json:
        print(json.dumps(value, indent=2), file=out)
    else:
        print(f"witness   {value['witness']}", file=out)
        for log in logs:
            said = f"{log['size']} entries at {log['cosigned_at'] or 'the start'}" if log["root"] else "nothing yet"
            print(f"log       {log['origin']}: {said}", file=out)
        print(f"evidence  {kept['fork']} forks, {kept['unproven']} proofs that do not hold", file=out)
    return 1 if kept[evidence.FORK] else 0
