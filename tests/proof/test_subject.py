"""Subjects, identifier schemes and times: one spelling each."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.proof import identifiers, subject
from compliance.proof.errors import ProofError
from compliance.proof.identifiers import SCHEMES
from compliance.proof.times import format_time, is_offset, parse_recorded_at, parse_time

EXAMPLES = [(scheme.code, text) for scheme in SCHEMES.values() for text in scheme.valid_examples]
COUNTER_EXAMPLES = [(scheme.code, text) for scheme in SCHEMES.values() for text in scheme.invalid_examples]


@pytest.mark.parametrize(("scheme", "text"), EXAMPLES)
def test_valid_examples_are_in_normal_form(scheme, text):
    identifiers.check(scheme, text)
    assert identifiers.normalise(scheme, f" {text} ") == text
    made = subject.make("meter", scheme, text)
    assert made.value == text
    assert subject.parse(made.text) == made


@pytest.mark.parametrize(("scheme", "text"), COUNTER_EXAMPLES)
def test_invalid_examples_are_refused(scheme, text):
    with pytest.raises(ProofError) as refused:
        identifiers.check(scheme, text)
    assert refused.value.code == "subject.form"


@pytest.mark.parametrize(("scheme", "text"), [pair for pair in EXAMPLES if SCHEMES[pair[0]].check_digit])
def test_a_wrong_check_digit_is_refused(scheme, text):
    for digit in set("0123456789") - {text[-1]}:
        with pytest.raises(ProofError):
            identifiers.check(scheme, text[:-1] + digit)


@pytest.mark.parametrize(
    ("scheme", "typed", "normal"),
    [
        ("eui64", "00:db:12:34:56:78:90:a0", "00-DB-12-34-56-78-90-A0"),
        ("eui64", "00db1234567890a0", "00-DB-12-34-56-78-90-A0"),
        ("din43849", "1 emh 00 12345678", "1EMH0012345678"),
        ("mpan", "12 0006 5432 105", "1200065432105"),
        ("dlms_system_title", "454c560000f42400", "454C560000F42400"),
        ("gtin14", "4012345123456", "04012345123456"),
        ("sgtin_dl", "urn:epc:id:sgtin:4012345.012345.ELV1", "https://id.gs1.org/01/04012345123456/21/ELV1"),
        ("mid_mark", "ce  m26   0102", "CE M26 0102"),
        ("acme", "  Lot 7 ", "Lot 7"),
    ],
)
def test_what_people_type_is_brought_to_normal_form(scheme, typed, normal):
    assert identifiers.normalise(scheme, typed) == normal


def test_what_cannot_be_brought_to_normal_form_is_refused():
    for scheme, typed in (
        ("eui64", "00db"),
        ("sgtin_dl", "urn:epc:id:sgtin:1"),
        ("dlms_system_title", "004C560000F42400"),
    ):
        with pytest.raises(ProofError):
            identifiers.normalise(scheme, typed)


def test_single_valued_schemes():
    assert identifiers.is_single_valued("din43849")
    assert not identifiers.is_single_valued("gtin14")
    assert identifiers.is_single_valued("acme")


VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=15)


@given(
    st.sampled_from(["meter", "shipment", "cell_session", "finding"]),
    st.sampled_from(["acme", "platform", "x"]),
    VALUES,
)
def test_subjects_round_trip(kind, scheme, value):
    made = subject.Subject(kind, scheme, value)
    if len(made.text) <= subject.MAX_SUBJECT_BYTES:
        assert subject.parse(made.text) == made
        assert made.key == subject.key_of(made.text)
        assert len(made.key) == 16


def test_a_subject_is_percent_encoded_once():
    assert subject.make("shipment", "elster", "Los Ü7/a").text == "shipment:elster:Los%20%C3%9C7/a"
    assert subject.log("localhost:8000") == "log:origin:localhost%3A8000"
    assert str(subject.parse("log:origin:localhost%3A8000")) == "log:origin:localhost%3A8000"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "meter",
            "meter:acme",
            "meter:acme:",
            "meter::1",
            ":acme:1",
            "spoon:acme:1",
            "meter:Acme:1",
            "meter:9a:1",
        ),
        *("meter:acme:a b", "meter:acme:ä", "meter:acme:%41", "meter:acme:%c3%9c", "meter:acme:%C3", "meter:acme:%2"),
        *(
            "meter:acme:a%2Fb",
            "meter:acme:%7E",
            "meter:acme:" + "x" * 129,
            "meter:acme:" + "%00" * 60,
            "meter:acme:1\n",
        ),
        *("meter:org:acme", "meter:sha256:" + "0" * 64, "meter:origin:log.example", "organisation:acme:acme"),
        *("organisation:org:Acme", "organisation:org:a", "signing_key:sha256:0", "signing_key:acme:1", "log:acme:1"),
        *("log:origin:a+b", "log:origin:a%20b", "meter:dlms_system_title:454c560000f42400"),
        *("meter:dlms_system_title:004C560000F42400", "logistic_unit:sscc:340123450000000018"),
    ],
)
def test_what_is_no_subject_is_refused(text):
    with pytest.raises(ProofError) as refused:
        subject.parse(text)
    assert refused.value.code == "subject.form"


@pytest.mark.parametrize("value", [None, 1, [], {}])
def test_what_is_no_text_is_no_subject(value):
    with pytest.raises(ProofError):
        subject.parse(value)


@pytest.mark.parametrize(("kind", "scheme"), [("spoon", "acme"), ("meter", "Acme"), ("meter", "a:b")])
def test_making_a_subject_of_another_kind_is_refused(kind, scheme):
    with pytest.raises(ProofError):
        subject.make(kind, scheme, "1")
    with pytest.raises(ProofError):
        subject.make("meter", "acme", "\ud800")


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("acme", True),
        ("a1", True),
        ("a", False),
        ("Acme", False),
        ("a" * 32, False),
        ("sscc", False),
        ("org", False),
        ("platform", False),
    ],
)
def test_organisations_are_not_called_like_schemes(name, free):
    assert subject.may_be_given_to_organisation(name) == free


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2026-04-13T07:54:02.1Z", datetime(2026, 4, 13, 7, 54, 2, 100_000, tzinfo=UTC)),
        ("2026-04-13T07:54:02.144170Z", datetime(2026, 4, 13, 7, 54, 2, 144_170, tzinfo=UTC)),
        ("2024-02-29T23:59:59.999999Z", datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("9999-12-31T23:59:59.9Z", datetime(9999, 12, 31, 23, 59, 59, 900_000, tzinfo=UTC)),
    ],
)
def test_times(text, moment):
    assert parse_time(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        *("2026-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "1969-12-31T23:59:59Z", "2026-04-13T07:54:60Z"),
        *("2026-04-13T24:00:00Z", "2026-04-13 07:54:02Z", "2026-04-13T07:54:02z", "2026-04-13T07:54:02+00:00"),
        *("2026-04-13T07:54:02.Z", "2026-04-13T07:54:02.1234567Z", "2026-4-13T07:54:02Z", "2026-04-13T07:54:02Z\n"),
        *(
            "2026-04-13T07:54:02,5Z",
            "20260413T075402Z",
            "2026-W16-1T00:00:00Z",
            "",
            "٢٠٢٦-04-13T07:54:02Z",
            None,
            5,
            ["2026"],
        ),
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ProofError) as refused:
        parse_time(text)
    assert refused.value.code == "time.form"


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30), timezones=st.just(timezone(timedelta(hours=-5)))))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_times_round_trip_with_six_digits(moment):
    text = format_time(moment)
    assert parse_recorded_at(text) == moment
    assert len(text) == 27


def test_recorded_times_have_six_digits_and_a_zone():
    for text in ("2026-04-13T07:54:02Z", "2026-04-13T07:54:02.123Z", "2026-02-30T00:00:00.000000Z", None):
        with pytest.raises(ProofError):
            parse_recorded_at(text)
    with pytest.raises(ProofError):
        format_time(datetime(2026, 1, 1))  # noqa: DTZ001 - the point


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("+00:00", True),
        ("-13:59", True),
        ("+14:00", True),
        ("+14:01", False),
        ("-15:00", False),
        ("00:00", False),
        (5, False),
    ],
)
def test_offsets(text, right):
    assert is_offset(text) == right


def test_the_schemes_are_those_of_their_file():
    """Read once when the module is; read again they are the same."""
    assert identifiers._load() == dict(identifiers.SCHEMES)
    for scheme in identifiers.SCHEMES.values():
        assert scheme.valid_examples
        assert isinstance(scheme.personal_data, bool)
