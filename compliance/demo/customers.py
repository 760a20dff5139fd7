"""The simulated organisations as customers of the platform: registered by an administrator, each with its own keys."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from compliance.client import Home, Refused, Session, SigningKey
from compliance.client.home import read_json, write_bytes, write_json
from compliance.client.signing import generate, registration, save
from compliance.demo.people import KeyPlan, OrganisationPlan

SCOPES = ("events:write", "evidence:write", "events:read", "reports:read")
API_KEY_DAYS = 30
KEYS_PER_REGISTRATION = 7  # an envelope carries at most eight signatures, one of them of the vouching key
API_KEY_FILE, REGISTERED_FILE = "api-key", "registered.json"


@dataclass(frozen=True, slots=True)
class Customer:
    """An organisation that can send: its session, and its signing keys by name."""

    plan: OrganisationPlan
    session: Session
    keys: Mapping[str, SigningKey]


def register_all(
    admin: Session,
    plans: Sequence[OrganisationPlan],
    *,
    folder: Path,
    trust: Path | None,
    executor: Executor,
) -> dict[str, Customer]:
    """Register every organisation and its keys; what an earlier run registered is taken up again."""

    def one(plan: OrganisationPlan) -> Customer:
        return _register(admin, plan, Home.at(folder / plan.id), trust)

    return {customer.plan.id: customer for customer in executor.map(one, plans)}


def _register(admin: Session, plan: OrganisationPlan, home: Home, trust: Path | None) -> Customer:
    keys = {key.name: _key(home, key) for key in plan.keys}
    first = keys[plan.keys[0].name]
    _register_organisation(admin, plan, first)
    session = Session(admin.transport.server, _api_key(admin, plan, home), home=home, trust=trust)
    registered = home.path / REGISTERED_FILE
    if not registered.exists():
        for batch in _registrations(list(keys.values()), log=session.origin):
            session.send_batch(batch)
        write_json(registered, {"log": session.origin, "keys": sorted(key.key.public.keyid for key in keys.values())})
    elif read_json(registered)["log"] != session.origin:
        raise Refused(
            status=409, code="demo.other_log", detail=f"{home.path} belongs to another log; remove it to start anew"
        )
    return Customer(plan, session, keys)


def _key(home: Home, plan: KeyPlan) -> SigningKey:
    folder = home.keys / plan.name.split("/")[1]
    if (folder / "key.pem").exists():
        return SigningKey.load(home, str(folder))
    key = generate(organisation=plan.organisation, holder=plan.holder.actor, algorithm=plan.algorithm)
    save(folder, key, None)
    return key


def _register_organisation(admin: Session, plan: OrganisationPlan, first: SigningKey) -> None:
    wanted = {"id": plan.id, "name": plan.name, "roles": list(plan.roles), "first_key": first.key.public.keyid}
    try:
        admin.transport.post_json("/api/v1/organisations", wanted)
    except Refused as refused:
        if refused.status != 409:
            raise
        known = admin.transport.get_json(f"/api/v1/organisations/{plan.id}")
        if known["first_key"] != first.key.public.keyid:
            raise


def _api_key(admin: Session, plan: OrganisationPlan, home: Home) -> str:
    path = home.path / API_KEY_FILE
    if path.exists():
        return path.read_text().strip()
    wanted = {"organisation": plan.id, "scopes": list(SCOPES), "days": API_KEY_DAYS, "name": "demonstration"}
    made = admin.transport.post_json("/api/v1/api-keys", wanted, headers={"Idempotency-Key": str(uuid4())})
    secret: str = made["secret"]
    write_bytes(path, f"{secret}\n".encode())
    return secret


def _registrations(keys: Sequence[SigningKey], *, log: str) -> Iterator[bytes]:
    """The first key registers itself; it vouches for the others."""
    first, *others = keys
    yield registration([first], log=log).ndjson
    for start in range(0, len(others), KEYS_PER_REGISTRATION):
        yield registration(others[start : start + KEYS_PER_REGISTRATION], log=log, vouching=[first]).ndjson
