"""For the machine that runs us: is the process alive, and can it do its work."""

import shutil
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from compliance.jobs import clock
from compliance.ledger import selectors, signer, startup, witnesses
from compliance.ledger.errors import LedgerError

LEAST_FREE_BYTES = 64 * 1024 * 1024  # a few full batches with their tiles; below it the next ones would break off


@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """`/livez`: the process answers."""
    return JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """`/readyz`: database, log, signer, folders and the freshness of the checkpoint. 503 names what is not."""
    answers = {name: _answer(check) for name, check in CHECKS.items()}
    is_ready = all(answer == "ok" for answer in answers.values())
    return JsonResponse(
        {"status": "ok" if is_ready else "not ready", "checks": answers},
        status=200 if is_ready else 503,
        headers={"Cache-Control": "no-store"},
    )


def _answer(check: Callable[[], str]) -> str:
    try:
        return check()
    except (DatabaseError, LedgerError, OSError) as error:
        return type(error).__name__  # the words may name hosts and paths; they are in the server's log


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _folders() -> str:
    for name in ("LOG_DIR", "BLOB_DIR", "REPORT_DIR", "SIGNER_DIR"):
        folder = Path(settings.METERPROOF[name])
        while not folder.exists():
            folder = folder.parent
        if shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
            return f"{name} is nearly full"
    return "ok"


def _signer() -> str:
    startup.compare_with_signer()
    return "ok"


def _checkpoint() -> str:
    if selectors.latest_checkpoint() is None:
        return "no checkpoint yet"
    _, waiting = selectors.waiting()
    limit = settings.METERPROOF["MAX_MERGE_DELAY_SECONDS"]
    if waiting is not None and (clock.now() - waiting).total_seconds() > limit:
        return "recorded entries wait longer than promised for a checkpoint"
    return "ok"


def _witnesses() -> str:
    if witnesses.alarm() is not None:
        return "a witness knows another history of this log: publishing is stopped"
    signed = signer.last_signed()
    if signed is None or witnesses.collected(signed.note).may_be_shown:
        return "ok"
    waiting = (clock.now() - signed.signed_at).total_seconds()
    return "too few witnesses cosign" if waiting > settings.METERPROOF["MAX_MERGE_DELAY_SECONDS"] else "ok"


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "folders": _folders,
    "signer": _signer,
    "checkpoint": _checkpoint,
    "witnesses": _witnesses,
}
