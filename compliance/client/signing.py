"""Keys of the sender: made here, kept here, never sent anywhere. What leaves is the public half and signatures.

A key's folder holds `key.pem` (PKCS #8, owner only), `key.json` (public: key object, organisation, holder) and
`registration.ndjson`, the signed batch by which the organisation registers it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from compliance.client.errors import ClientError
from compliance.client.home import Home, read_json, write_bytes, write_json
from compliance.proof import batch
from compliance.proof import subject as subjects
from compliance.proof.errors import ProofError
from compliance.proof.keys import PrivateKey
from compliance.proof.times import format_time

KEY_FILE, PUBLIC_FILE, REGISTRATION_FILE = "key.pem", "key.json", "registration.ndjson"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with whose it is: an organisation, and a person, station or service in it."""

    key: PrivateKey
    organisation: str
    holder: Mapping[str, str]

    @property
    def source(self) -> str:
        """Id of the holder: names the source of batches unless the sender gives another."""
        return next(iter(self.holder.values()))

    @classmethod
    def load(cls, home: Home, name: str) -> "SigningKey":
        """The key called `name` in the home folder, or in the folder at the path `name`."""
        for folder in (Path(name).expanduser(), home.keys / name):
            if (folder / KEY_FILE).is_file():
                return _read(folder)
        raise ClientError(
            f"There is no key {name!r}.", mend="`keygen` makes one; `--key` takes its name or its folder."
        )

    @classmethod
    def only_one(cls, home: Home) -> "SigningKey":
        """The key of a home folder that holds one."""
        names = sorted(path.parent.name for path in home.keys.glob(f"*/{KEY_FILE}"))
        if len(names) == 1:
            return cls.load(home, names[0])
        if not names:
            raise ClientError("You have no signing key yet.", mend="python -m compliance.client keygen --help")
        raise ClientError(f"You have several keys: {', '.join(names)}.", mend="Say which signs: --key NAME")


def generate(*, organisation: str, holder: Mapping[str, str], algorithm: str) -> SigningKey:
    """A new key from the system's randomness."""
    if not subjects.may_be_given_to_organisation(organisation):
        raise ClientError(
            f"{organisation!r} cannot be the id of an organisation.",
            mend="2 to 31 lower-case letters, digits and _, the first a letter; no identifier scheme is called so.",
        )
    return SigningKey(PrivateKey.generate(algorithm), organisation, dict(holder))


def registration(
    keys: Sequence[SigningKey], *, log: str, vouching: Sequence[SigningKey] = (), now: datetime | None = None
) -> batch.SignedBatch:
    """The batch that registers `keys`: signed by each of them (possession), and by `vouching`, earlier valid keys.

    Without `vouching` the one key must be the organisation's first. Source: docs/formats, `org.key_registered`.
    """
    moment = now or datetime.now(UTC)
    organisation = keys[0].organisation
    events = [
        {
            "v": 1,
            "id": str(uuid4()),
            "type": "org.key_registered",
            "schema": 1,
            "subject": subjects.signing_key(one.key.public.keyid),
            "occurred_at": format_time(moment),
            "actor": dict(one.holder),
            "data": {
                "organisation": organisation,
                "holder": dict(one.holder),
                "key": one.key.public.to_object(),
                "valid_from": format_time(moment),
                "valid_until": None,
            },
        }
        for one in keys
    ]
    return batch.build(
        events=events,
        log=log,
        issuer=organisation,
        source=(vouching or keys)[0].source,
        sequence=None,
        created=moment,
        keys=[one.key for one in (*keys, *vouching)],
    )


def save(folder: Path, key: SigningKey, registered_by: batch.SignedBatch | None) -> None:
    """Write the files of a key into `folder`. Refuses to replace a key: what it signed could not be continued."""
    if (folder / KEY_FILE).exists():
        raise ClientError(f"{folder} holds a key already.", mend="Choose another --name.")
    write_bytes(folder / KEY_FILE, key.key.to_pem())
    write_json(
        folder / PUBLIC_FILE,
        {"organisation": key.organisation, "holder": dict(key.holder), "key": key.key.public.to_object()},
    )
    if registered_by is not None:
        write_bytes(folder / REGISTRATION_FILE, registered_by.ndjson, mode=0o644)


def _read(folder: Path) -> SigningKey:
    try:
        public = read_json(folder / PUBLIC_FILE)
        key = PrivateKey.from_pem((folder / KEY_FILE).read_bytes())
        if key.public.to_object() != public["key"]:
            raise ClientError(f"{folder}: key.pem and key.json do not belong together.")
        return SigningKey(key, public["organisation"], public["holder"])
    except (OSError, ValueError, KeyError, ProofError) as error:
        raise ClientError(f"The key in {folder} cannot be read: {error}") from error
