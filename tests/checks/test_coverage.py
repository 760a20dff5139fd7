"""Coverage: what supports a requirement, what only contributes, what contradicts, and what never counts."""

import io
import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compliance.checks import coverage, registry
from compliance.checks.models import CheckResult, CheckRun, Finding, FindingState
from compliance.checks.registry import Check, Severity
from compliance.evidence import actions as evidence_actions
from compliance.evidence.intake import IncomingFile
from compliance.evidence.models import LinkKind
from compliance.frameworks import actions as framework_actions
from compliance.frameworks import selectors as frameworks
from compliance.frameworks.catalogue import read_catalogue
from compliance.frameworks.models import Framework, Relationship
from compliance.jobs import clock
from tests.accounts import world as accounts

pytestmark = pytest.mark.django_db

SPRING = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 31, tzinfo=UTC))
SECOND = timedelta(seconds=1)
_numbers = itertools.count(1)


class Desk:
    """A maker who hands in, and an auditor who decides."""

    def __init__(self):
        self.maker = accounts.join("acme", "manufacturer").organisation
        self.alice = accounts.person("alice", self.maker, "member")
        self.auditor = accounts.person("hanna", accounts.join("auditors", "auditor").organisation, "auditor")

    def submit(self, *references, covers=SPRING):
        number = next(_numbers)
        return evidence_actions.submit_evidence(
            by=self.alice,
            organisation=self.maker,
            title=f"Record {number}",
            kind="record",
            files=[IncomingFile("record.txt", "text/plain", io.BytesIO(f"record {number}".encode()))],
            covers_from=covers[0],
            covers_to=covers[1],
            produced_at=SPRING[1],
            links=[(LinkKind.REQUIREMENT, reference) for reference in references],
        )

    def accept(self, *references, covers=SPRING):
        evidence = self.submit(*references, covers=covers)
        return evidence_actions.accept_evidence(evidence=evidence, reviewer=self.auditor, reason="complete")

    def send_back(self, *references):
        evidence = self.submit(*references)
        return evidence_actions.return_evidence(evidence=evidence, reviewer=self.auditor, reason="not legible")

    def renew(self, *references):
        """Evidence that newer evidence, about nothing here, stands in for."""
        old, new = self.accept(*references), self.accept()
        return evidence_actions.supersede_evidence(evidence=old, successor=new, reviewer=self.auditor, reason="renewed")


@pytest.fixture
def desk(log):
    return Desk()


def load_framework(key, refs, *, kind="control"):
    head = f"framework: {{id: {key}, title: {key}, version: '1', publisher: P, licence_note: L, verification: V}}\n"
    rows = "".join(
        f"- {{id: {ref}, title: Title of {ref}, group: G, kind: {kind}, verification: verified}}\n" for ref in refs
    )
    text = f"{head}groups: [{{id: G, title: Group}}]\nrequirements:\n{rows}"
    framework_actions.load(read_catalogue(text.encode(), name=f"{key}.yaml"))


def load_mappings(*rows, key="m", editorial="true"):
    """Rows are (source, relationship, target)."""
    lines = "".join(f"- {{source: '{s}', target: '{t}', relationship: {r}}}\n" for s, r, t in rows)
    text = f"mapping_set: {{id: {key}, title: M, editorial: {editorial}}}\nmappings:\n{lines}"
    framework_actions.load(read_catalogue(text.encode(), name=f"{key}.yaml"))


def row(reference, **options):
    computed = coverage.compute(reference.partition(":")[0], **options)
    return next(each for each in computed.requirements if each.requirement.reference == reference)


def spoken_by(checks, monkeypatch):
    """The checks of the product are these and no others."""
    monkeypatch.setattr(registry, "_checks", {each.id: each for each in checks})


def make_check(id_, reference):
    """A check that speaks to one requirement."""
    members = {"id": id_, "name": id_.lower(), "severity": Severity.HIGH, "speaks_to": (reference,)}
    return type("Made", (Check,), {"__doc__": f"{id_}: Is it so?", **members})()


def ran(**results):
    """A run of the checks; each result is (population, deviations, not evaluable)."""
    now = clock.now()
    run = CheckRun.objects.create(log_size=9, root="00", log_time=now, started_at=now, ran_at=now)
    for detector, (population, deviations, not_evaluable) in results.items():
        CheckResult.objects.create(
            run=run,
            detector=detector,
            name=detector,
            version=1,
            population=population,
            deviations=deviations,
            not_evaluable=not_evaluable,
            digest="",
        )
    return run


def finding(detector, state=FindingState.OPEN):
    return Finding.objects.create(
        id=f"fnd_{next(_numbers)}", detector=detector, version=1, severity="high", subject="meter:x:1",
        subject_key=b"0" * 16, seq=0, hash=b"0" * 32, event_type="x", author="acme", detail="x", log_size=1,
        opened_at=clock.now(), state=state,
    )  # fmt: skip


# Direct evidence.


def test_only_accepted_evidence_supports(desk):
    load_framework("x", ["R1", "R2", "R3", "R4", "R5"])
    desk.submit("x:R1")
    desk.send_back("x:R2")
    desk.renew("x:R3")
    accepted = desk.accept("x:R4")
    computed = coverage.compute("x")
    assert [each.status for each in computed.requirements] == ["none", "none", "none", "supported", "none"]
    assert [len(each.reasons) for each in computed.requirements] == [0, 0, 0, 1, 0]
    (reason,) = row("x:R4").reasons
    assert (reason.kind, reason.effect, reason.reference) == ("evidence", "supports", accepted.public_id)
    for said in ("Record", "record of Acme", "covers 2026-03-01 to 2026-05-31", "accepted 20"):
        assert said in reason.text


def test_evidence_speaks_for_the_time_it_covers(desk):
    load_framework("x", ["R1"])
    desk.accept("x:R1")
    for at, status in (
        (SPRING[0] - SECOND, "none"),
        (SPRING[0], "supported"),
        (SPRING[1], "supported"),
        (SPRING[1] + SECOND, "none"),
        (None, "supported"),
    ):
        assert row("x:R1", at=at).status == status


def test_a_threat_cannot_be_met_whatever_is_linked_to_it(desk):
    load_framework("x", ["T1"], kind="threat")
    desk.accept("x:T1")
    assert (row("x:T1").status, row("x:T1").reasons) == ("not_assessable", ())


def test_a_reference_that_the_edition_does_not_hold_is_named(desk):
    load_framework("x", ["R1"])
    desk.accept("x:R9", "x:R1")
    desk.submit("x:R8")
    assert coverage.compute("x").unresolved == ("x:R9",)


# Checks.

RESULTS = {
    "not run": (None, (), "says_nothing", "none", "has not run yet"),
    "nothing there": ((0, 0, 0), (), "says_nothing", "none", "there was nothing to look at"),
    "nothing to tell": ((4, 0, 4), (), "says_nothing", "none", "nothing to judge, 4 could not be evaluated"),
    "clean": ((4, 0, 0), (), "supports", "supported", "4 looked at, none deviates"),
    "clean, some unknown": ((4, 0, 1), (), "supports", "supported", "none deviates, 1 could not be evaluated"),
    "one open": ((4, 1, 0), ("open",), "contradicts", "contradicted", "1 open finding among 4 looked at"),
    "not told yet": ((4, 1, 0), (), "contradicts", "contradicted", "1 open finding among 4"),
    "seen live": ((4, 0, 0), ("open",), "contradicts", "contradicted", "1 open finding"),
    "before any run": (None, ("open",), "contradicts", "contradicted", "1 open finding"),
    "all closed": ((4, 2, 0), ("closed", "closed"), "contributes", "contributing", "2 deviated, all closed"),
    "one of two closed": ((4, 2, 0), ("closed", "open"), "contradicts", "contradicted", "1 open finding"),
}


def test_what_a_check_says(log, monkeypatch):
    load_framework("x", ["R1"])
    spoken_by([make_check("XX-01", "x:R1")], monkeypatch)
    for result, findings, effect, status, text in RESULTS.values():
        with transaction.atomic():
            if result is not None:
                ran(**{"XX-01": result})
            for state in findings:
                finding("XX-01", state)
            covered = row("x:R1")
            transaction.set_rollback(True)
        (reason,) = covered.reasons
        assert (reason.kind, reason.effect, reason.reference) == ("check", effect, "XX-01")
        assert covered.status == status
        assert reason.text.startswith("XX-01 Is it so?")
        assert text in reason.text


def test_an_open_finding_outweighs_accepted_evidence(desk, monkeypatch):
    load_framework("x", ["R1"])
    spoken_by([make_check("XX-01", "x:R1")], monkeypatch)
    desk.accept("x:R1")
    ran(**{"XX-01": (3, 1, 0)})
    covered = row("x:R1")
    assert covered.status == "contradicted"
    assert [reason.effect for reason in covered.reasons] == ["contradicts", "supports"]


# Across frameworks.

CARRIED = {
    "equal": ("supports", "contributes", "contradicts"),
    "superset_of": ("supports", "contributes", None),
    "subset_of": ("contributes", "contributes", "contradicts"),
    "intersects_with": ("contributes", "contributes", None),
    "supports": ("contributes", "contributes", None),
    "mitigated_by": (None, None, None),
    "applies_in_phase": (None, None, None),
}
AGAINST_THE_ARROW = {
    "equal": "equal",
    "superset_of": "subset_of",
    "subset_of": "superset_of",
    "intersects_with": "intersects_with",
}
STATUS = {"supports": "supported", "contributes": "contributing", "contradicts": "contradicted"}
# What each requirement of the framework `a` has of its own.
OWN = {
    "none": None,
    "submitted": None,
    "returned": None,
    "superseded": None,
    "silent": None,
    "accepted": "supports",
    "clean": "supports",
    "closed": "contributes",
    "open": "contradicts",
    "both": "contradicts",
}


def table(effect, relationship):
    """What the rules of the issue say of one mapping row."""
    if effect is None or relationship is None:
        return None
    return CARRIED[relationship][("supports", "contributes", "contradicts").index(effect)]


@pytest.fixture
def sources(desk, monkeypatch):
    """Two frameworks: `a`, whose requirements have every kind of reason, and `b`, that has none."""
    load_framework("a", OWN)
    load_framework("b", ["B1", "B2"])
    desk.submit("a:submitted")
    desk.send_back("a:returned")
    desk.renew("a:superseded")
    desk.accept("a:accepted", "a:both")
    checked = ("clean", "closed", "open", "silent")
    checks = [make_check(f"XX-{name}", f"a:{name}") for name in checked] + [make_check("XX-both", "a:both")]
    spoken_by(checks, monkeypatch)
    ran(**{"XX-clean": (5, 0, 0), "XX-closed": (5, 1, 0), "XX-open": (5, 1, 0), "XX-silent": (5, 0, 5)})
    finding("XX-closed", FindingState.CLOSED)
    finding("XX-open")
    finding("XX-both")


ROWS = st.lists(
    st.tuples(
        st.sampled_from(sorted(OWN)),
        st.sampled_from(sorted(CARRIED)),
        st.booleans(),
        st.sampled_from(["B1", "B2"]),
    ),
    max_size=6,
    unique_by=lambda row: (row[0], row[2], row[3]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_the_strongest_of_what_mappings_carry_decides(sources, rows):
    """Against a model written from the rules: any rows, in either direction, from any kind of reasons."""
    expected = {ref: Counter() for ref in ("B1", "B2")}
    told = []
    for own, relationship, with_the_arrow, ref in rows:
        ends = (f"a:{own}", relationship, f"b:{ref}") if with_the_arrow else (f"b:{ref}", relationship, f"a:{own}")
        told.append(ends)
        towards = relationship if with_the_arrow else AGAINST_THE_ARROW.get(relationship)
        if (effect := table(OWN[own], towards)) is not None:
            expected[ref][effect] += 1
    with transaction.atomic():
        if told:
            load_mappings(*told)
        found = {each.requirement.ref: each for each in coverage.compute("b").requirements}
        transaction.set_rollback(True)
    for ref, effects in expected.items():
        assert Counter(reason.effect.value for reason in found[ref].reasons) == effects
        strongest = next((effect for effect in ("contradicts", "supports", "contributes") if effects[effect]), None)
        assert found[ref].status == (STATUS[strongest] if strongest else "none")


def test_a_mapping_names_where_its_weight_comes_from(sources):
    for own, relationship in itertools.product(("accepted", "closed", "open"), CARRIED):
        with transaction.atomic():
            load_mappings((f"a:{own}", relationship, "b:B1"))
            reasons = row("b:B1").reasons
            transaction.set_rollback(True)
        effect = table(OWN[own], relationship)
        assert [reason.effect for reason in reasons] == ([] if effect is None else [effect])
        for reason in reasons:
            assert (reason.kind, reason.reference) == ("mapping", f"a:{own}")
            assert f"a:{own} Title of {own} {Relationship(relationship).label} this" in reason.text
            assert "directly by 1 reason" in reason.text
            assert "(editorial mapping m " in reason.text
            assert ("this contributes and is no support by itself" in reason.text) == (effect == "contributes")


def test_support_goes_one_hop_and_no_further(sources):
    load_framework("c", ["C1"])
    load_mappings(("a:accepted", "superset_of", "b:B1"), ("b:B1", "equal", "c:C1"))
    assert row("b:B1").status == "supported"
    assert (row("c:C1").status, row("c:C1").reasons) == ("none", ())


def test_nothing_comes_back_to_where_it_came_from(sources):
    """A requirement with evidence is not its own support by way of another framework."""
    load_mappings(("a:accepted", "equal", "b:B1"))
    assert [reason.kind for reason in row("a:accepted").reasons] == ["evidence"]


def test_contributions_never_add_up_to_support(sources):
    load_mappings(("a:accepted", "subset_of", "b:B1"), ("a:clean", "subset_of", "b:B1"))
    assert row("b:B1").status == "contributing"
    assert len(row("b:B1").reasons) == 2


def test_evidence_outside_its_time_is_not_carried_either(sources):
    load_mappings(("a:accepted", "equal", "b:B1"))
    assert row("b:B1", at=SPRING[1]).status == "supported"
    assert row("b:B1", at=SPRING[1] + SECOND).status == "none"


def test_a_threat_is_not_met_by_a_mapping(sources):
    load_framework("t", ["T1"], kind="threat")
    load_mappings(("a:accepted", "equal", "t:T1"))
    assert row("t:T1").status == "not_assessable"


def test_totals_count_each_requirement_once(sources):
    computed = coverage.compute("a")
    totals = dict(computed.totals)
    assert totals.pop("requirements") == totals.pop("assessable") == len(OWN)
    assert totals == {"contradicted": 2, "supported": 2, "contributing": 1, "none": 5, "not_assessable": 0}


# The shipped catalogues.


@pytest.fixture
def shipped():
    framework_actions.load_shipped()


def test_the_2013_edition_carries_where_a_control_stayed_the_same(shipped, desk):
    desk.accept("iso27001-2013:A.6.1.2", "iso27001-2013:A.5.1.1")
    same, part = row("iso27001-2022:A.5.3"), row("iso27001-2022:A.5.1")
    assert (same.status, part.status) == ("supported", "contributing")
    assert [reason.reference for reason in same.reasons if reason.kind == "mapping"] == ["iso27001-2013:A.6.1.2"]
    assert "is part of this" in next(reason.text for reason in part.reasons if reason.kind == "mapping")


def test_the_whole_carries_to_its_part_and_helps_only_contribute(shipped, desk):
    desk.accept("bsi-cc-pp-0073:ALC_DEL.1", "bsi-cc-pp-0073:AVA_VAN.5")
    assert row("bsi-smgw-sc:SILKE-01").status == "supported"
    assert row("iso27001-2022:A.8.29").status == "contributing"


def test_a_countermeasure_never_carries_to_the_threat_nor_back(shipped, desk):
    desk.accept("sm-lifecycle:ST-01")
    assert row("bsi-cc-pp-0073:O.Firewall").status == "none"


def test_cpa_themes_are_covered_by_direct_links_alone(shipped, desk):
    reference = frameworks.framework("uk-cpa-sm").requirements.first()
    assert {each.status for each in coverage.compute("uk-cpa-sm").requirements} <= {"none", "not_assessable"}
    desk.accept(f"uk-cpa-sm:{reference.ref}")
    assert Counter(each.status for each in coverage.compute("uk-cpa-sm").requirements)["supported"] == 1


def test_every_shipped_framework_computes_quickly(shipped, log, django_assert_max_num_queries):
    for framework in frameworks.frameworks():
        with django_assert_max_num_queries(9):
            computed = coverage.compute(framework.key)
        assert computed.totals["requirements"] == len(computed.requirements) == framework.requirement_count
        assert computed.totals["assessable"] == framework.assessable_count


def test_an_unknown_framework_is_said(shipped):
    with pytest.raises(Framework.DoesNotExist):
        coverage.compute("nowhere")


def test_as_json_says_all_of_it_and_whose_list_it_is(shipped, desk):
    desk.accept("iso27001-2022:A.5.9")
    said = coverage.as_json(coverage.compute("iso27001-2022"))
    assert said["format"] == "meterproof-coverage/1"
    assert said["framework"]["licence_note"]
    assert said["checks"] is None
    assert sum(said["totals"][status] for status in coverage.Status) == said["totals"]["requirements"]
    item = next(each for each in said["requirements"] if each["ref"] == "A.5.9")
    assert (item["status"], item["reference"]) == ("supported", "iso27001-2022:A.5.9")
    assert item["reasons"][0].keys() == {"kind", "effect", "text", "reference"}
    cpa = coverage.as_json(coverage.compute("uk-cpa-sm"))
    assert cpa["framework"]["official"] is False
    assert {each["verification"] for each in cpa["requirements"]} == {"unverified-theme"}
