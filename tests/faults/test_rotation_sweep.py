"""G4: every call of a change of keys fails in turn; repeating the command ends it, and nothing signed is lost."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from compliance.jobs import clock
from compliance.ledger import key_history, keys, rotation, selectors, tasks
from compliance.ledger.errors import LedgerError
from compliance.proof import subject as subjects
from compliance.proof.verify import verify_file
from tests.faults.bench import Bench, every
from tests.faults.sweep import once, sweep_all

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_engines, pytest.mark.timeout(400)]

EVERY = every(37)  # both steps together make some hundred calls of each kind


@dataclass(slots=True)
class Rotating:
    """A key of `use` is changed: begun, ended. After a fault the operator repeats what he was at."""

    bench: Bench
    use: str
    wait: Callable[[timedelta], None]
    publishes: bool = True
    before: list[keys.Reference] = field(init=False)

    def __post_init__(self) -> None:
        tasks.integrate_and_publish()
        self.before = keys.references(self.use)

    def run(self) -> None:
        """Begin and end it, as far as that was not done."""
        if self._is_over():
            return
        try:
            rotation.begin(self.use)
        except LedgerError as error:
            if "was added already" not in str(error):
                raise
        if self.use == keys.PLATFORM:
            self.wait(rotation.LONGEST_REQUEST)  # what the old key signed may be on its way
        rotation.finish(self.use)

    def check(self) -> None:
        """One key signs, the log names it once and the one before it as revoked once; strangers can follow."""
        (present,) = keys.references(self.use)
        assert [present] != self.before
        new, old = keys.public_half(present), keys.public_half(self.before[0])
        if self.use == keys.PLATFORM:
            told = [
                [each.event["type"] for each in selectors.chain(subjects.signing_key(key.keyid))] for key in (old, new)
            ]
            assert told == [["org.key_registered", "org.key_revoked"], ["org.key_registered"]]
        else:
            named = [key for key in key_history.read().of_use(rotation._USES[self.use]) if key.revocation is None]
            assert [key.key.keyid for key in named] == [new.keyid]
        said = [each.event["data"] for each in selectors.chain(subjects.log(settings.METERPROOF["ORIGIN"]))]
        assert len(said) == len({str(data) for data in said}), "the same was said twice"
        verdict = verify_file(settings.METERPROOF["LOG_DIR"], settings.METERPROOF["TRUST_DIR"])
        assert verdict.error is None, verdict.error
        self.bench.send(self.bench.sign(self.bench.new_meter()))

    def _is_over(self) -> bool:
        present = keys.references(self.use)
        return len(present) == 1 and present != self.before


@pytest.mark.parametrize("use", keys.USES)
def test_whatever_call_fails_the_key_is_changed_once(use: str, bench: Bench) -> None:
    kinds = once(settings.METERPROOF["LOG_DIR"].parent)
    ahead = [timedelta()]
    if use == keys.PLATFORM:
        kinds = {name: fault for name, fault in kinds.items() if not name.startswith("clock")}  # the test sets it
    with clock.use(lambda: datetime.now(UTC) + sum(ahead, timedelta())):
        found = sweep_all(lambda: Rotating(bench, use, ahead.append), kinds, bench.told, every=EVERY)
    assert sum(found.values()) > 100, found
