"""Rows written in bulk are the rows that saving them one by one would have made, on either engine."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compliance.custody import bulk
from compliance.custody.models import Identifier, OrganisationRoles, Violation

pytestmark = [pytest.mark.both_engines, pytest.mark.django_db]

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30) | st.just("x" * 400)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 7 * 10**15).map(lambda microseconds: EPOCH + timedelta(microseconds=microseconds))
KEYS = st.binary(min_size=16, max_size=16)
VIOLATION = ("subject_key", "subject", "seq", "ordinal", "code", "detail", "recorded_at", "settled_seq")
VIOLATIONS = st.tuples(
    KEYS,
    st.just("meter:a:b"),
    st.integers(0, 2**31 - 1),
    st.just(0),
    st.sampled_from(["precondition.keys_live", "standing.missing"]),
    TEXTS,
    MOMENTS,
    st.none() | st.integers(0, 9),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(VIOLATIONS, min_size=1, max_size=5, unique_by=lambda row: row[0]), TEXTS)
def test_what_is_inserted_and_updated_is_read_back(db, rows, text):
    """Columns with one value for all, with nulls, with long and with foreign texts."""
    Violation.objects.all().delete()
    named = [(*row, "mfg.assembled", "elster") for row in rows]
    bulk.insert(Violation, (*VIOLATION, "event_type", "author"), named)
    stored = Violation.objects.values_list(*VIOLATION, "event_type", "author")
    assert set(stored) == set(named)
    changed = [(key, text, None if seq % 2 else seq % 7) for key, _, seq, *_ in rows]
    bulk.update(Violation, ("subject_key", "detail", "settled_seq"), changed, key="subject_key")
    assert set(Violation.objects.values_list("subject_key", "detail", "settled_seq")) == set(changed)
    wanted = [row[0] for row in rows[:2]] + [b"\0" * 16]
    found = dict(bulk.fetch(Violation, ("subject_key", "detail"), key="subject_key", values=wanted))
    assert found == {row[0]: text for row in changed if row[0] in wanted}


def test_json_and_booleans_travel_too(db):
    at = datetime(2026, 5, 4, 6, tzinfo=UTC)
    roles = [("elster", 0, ["manufacturer"], at), ("netz", 0, [], at), ("netz", 1, ["grid_operator", "ü"], at)]
    bulk.insert(OrganisationRoles, ("organisation", "seq", "roles", "recorded_at"), roles)
    stored = OrganisationRoles.objects.order_by("organisation", "seq")
    assert list(stored.values_list("organisation", "seq", "roles", "recorded_at")) == roles
    columns = ("alias", "scheme", "value", "subject", "subject_key", "seq", "single_valued", "recorded_at")
    names = [(f"meter:a:{n}", "a", str(n), "meter:a:1", bytes(16), n, n == 1, at) for n in range(3)]
    bulk.insert(Identifier, columns, names)
    bulk.insert_missing(Identifier, columns, names)
    assert list(Identifier.objects.order_by("alias").values_list(*columns)) == names
