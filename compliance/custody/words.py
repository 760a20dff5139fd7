"""What an event says in plain English: a title and one sentence, for pages, reports and people who never saw the
vocabulary.

The sentences name only what the sender stated. `{name}` is a member of `data`, `{sender}` the sending organisation.
"""

import re
from collections.abc import Mapping
from typing import Any

from compliance.proof import subject as subjects
from compliance.proof.errors import ProofError

STATES = {
    "none": "Not born",
    "assembled": "Assembled",
    "in_cell": "In the secured cell",
    "provisioned": "Provisioned",
    "packed": "Packed",
    "in_transit": "In transit",
    "received": "Received",
    "accepted": "Accepted",
    "installed": "Installed",
    "in_service": "In service",
    "reprovisioning": "Re-provisioning",
    "removed": "Removed",
    "in_triage": "In triage",
    "decommissioned": "Decommissioned",
    "disposed": "Disposed",
    "scrapped": "Scrapped",
    "quarantined": "Quarantined",
    "missing": "Missing",
}

# Title, and what the sender states.
EVENTS: Mapping[str, tuple[str, str]] = {
    "design.type_registered": (
        "Type registered",
        "{sender} registered the type {type_code}, hardware revision {hardware_revision}.",
    ),
    "design.type_certified": (
        "Certificate {status}",
        "{sender} reports certificate {certificate_id} ({scheme}) as {status}.",
    ),
    "design.firmware_released": ("Firmware {status}", "{sender} reports firmware {version} as {status}."),
    "mfg.component_received": (
        "Components received",
        "{sender} received {quantity} of {component_type}, lot {lot_id}; inspection: {inspection_result}.",
    ),
    "mfg.assembled": ("Assembled", "{sender} assembled the meter on line {line} and gave it its identity."),
    "mfg.calibrated": ("Calibrated", "Calibrated on bench {bench_id} against {standard_ref}: {result}."),
    "mfg.rejected": ("Rejected", "Rejected at station {station} ({reason_code}): {outcome}."),
    "cell.session_opened": (
        "Cell session opened",
        "Two people opened a session of cell {cell_id} for {planned_quantity} meters.",
    ),
    "cell.entered": (
        "Entered the secured cell",
        "The meter entered the secured cell as an untrusted device; identity check: {identity_check}.",
    ),
    "cell.firmware_loaded": (
        "Firmware loaded",
        "Firmware {version} was loaded, and its digest read back from the device.",
    ),
    "cell.keys_provisioned": ("Keys provisioned", "{keys} keys were bound to the meter by the plan {key_plan}."),
    "cell.trust_anchors_loaded": ("Trust anchors loaded", "The anchor set {anchor_set_id} was loaded."),
    "cell.personalised": (
        "Personalised",
        "Configured by the profile {config_profile}; defaults removed and debug port closed as stated.",
    ),
    "cell.tested": (
        "Tested in the cell",
        "Function {functional_result}, security {security_result}, robustness {robustness_result}, "
        "metrology {metrology_result}.",
    ),
    "cell.sealed": ("Sealed", "{seals} seals were applied."),
    "cell.exited": (
        "Left the secured cell",
        "Released at gate {exit_gate}: out of the cell as a sealed, trusted device.",
    ),
    "cell.session_reconciled": (
        "Cell session reconciled",
        "{entered} entered, {exited} left, {reworked} to rework, {scrapped} scrapped, {still_inside} inside.",
    ),
    "keys.bundle_released": (
        "Key bundle released",
        "{sender} released the encrypted keys of {meter_count} meters to {recipient}.",
    ),
    "keys.bundle_acknowledged": (
        "Key bundle acknowledged",
        "{sender} decrypted {decrypted_count} keys and checked them: {proof_method}.",
    ),
    "keys.bundle_revoked": (
        "Key bundle revoked",
        "{sender} revoked the bundle ({reason_code}); rotation is due by {rotation_due}.",
    ),
    "keys.rotated": ("Keys rotated", "{keys} keys were replaced; the device confirmed it: {confirmed_by_device}."),
    "delivery.packed": ("Packed", "{sender} packed it into a unit of {children} pieces."),
    "delivery.dispatched": ("Dispatched", "{carrier} took it over from {consignor}, for {consignee}."),
    "delivery.received": ("Received", "{sender} received it from {handover_from}; condition: {condition}."),
    "delivery.inspected": (
        "Inspected at goods-in",
        "{sender} counted {found_count} of {expected_count} expected: {outcome}.",
    ),
    "install.installed": ("Installed", "{sender} fitted the meter ({reason_code})."),
    "install.commissioned": ("Commissioned", "{operator} took the meter into service at head-end {head_end}."),
    "ownership.transferred": ("Transfer of {kind}", "{kind} passed from {from_party} to {to_party}."),
    "ops.firmware_updated": (
        "Firmware updated",
        "Updated from {from_version} to {to_version} in campaign {campaign_id}.",
    ),
    "ops.attested": ("Attested", "The device was asked what it runs ({method}): {result}."),
    "ops.tamper_alerted": ("Tamper alert", "Alert {alert_code}, severity {severity}; cover {cover_state}."),
    "reprov.started": ("Re-provisioning started", "Hand-over to a new party began (change of {trigger})."),
    "reprov.completed": (
        "Re-provisioning completed",
        "Access of the former party ended; its data were {data_restricted_or_erased}.",
    ),
    "eol.removed": ("Removed", "{sender} took the meter off the wall ({reason_code}) and gave it to {next_holder}."),
    "eol.triaged": ("Triaged", "Return assessment at {facility}: {outcome}."),
    "eol.decommissioned": ("Decommissioned", "Credentials withdrawn and registers updated ({reason_code})."),
    "eol.sanitised": ("Sanitised", "Data and keys erased: {method}, {technique}."),
    "eol.disposed": ("Disposed", "Handed to {recycler_id}, route {route}."),
    "exception.quarantined": ("Quarantined", "{sender} put it on hold: {reason_code}."),
    "exception.released": ("Quarantine ended", "The review found: {cause}. Decision: {decision}."),
    "exception.lost_or_stolen": ("Lost or stolen", "{sender} reports it missing, last held by {last_holder}."),
    "record.corrected": ("Correction", "{sender} declares an earlier entry: {reason}."),
    "custody.linked": ("Linked", "The platform linked an event of {cause}."),
}

VIOLATIONS = {
    "transition.illegal": "Not possible from this state",
    "transition.terminal": "After the end of life",
    "transition.origin": "Not possible for where it was packed",
    "standing.missing": "Sender without standing",
    "violation.second_signature": "Second signature missing",
    "precondition.accepted": "Not accepted by the receiving party",
    "precondition.keys_destroyed": "Keys not destroyed",
    "precondition.keys_live": "Keys still on board",
    "precondition.identity_check": "Identities differ",
    "precondition.cell_order": "Cell step missing or out of order",
    "precondition.test_passed": "Test not passed",
    "precondition.provisioned": "Keys released too early",
    "precondition.recipient": "Acknowledged by another party",
    "precondition.ciphertext": "Another bundle acknowledged",
    "precondition.released": "Bundle was never released",
    "precondition.consignee": "Received by another party",
    "precondition.keys_acknowledged": "Keys not acknowledged",
    "precondition.seals_intact": "Seals not intact",
    "precondition.from_party": "Given by another than the party on record",
    "precondition.rotated": "Keys not rotated",
    "precondition.reuse": "Not ready for reuse",
    "precondition.other_verifier": "Verified by the performer",
    "precondition.sanitised": "Not sanitised",
    "precondition.other_reviewer": "Reviewed by the opener",
    "precondition.child_known": "Unknown meter packed",
    "precondition.balances": "Balance does not close",
    "identifier.second_value": "Second value of one identifier",
    "profile.required_field": "Field of the market profile missing",
    "correction.invalid": "Correction without effect",
}

_FIELD = re.compile(r"\{([a-z_0-9]+)\}")


def title(event_type: str, data: Mapping[str, Any]) -> str:
    """What happened, in a few words."""
    text = EVENTS.get(event_type, (event_type, ""))[0]
    return _filled(text, data, "").replace("_", " ")


def summary(event_type: str, data: Mapping[str, Any], *, sender: str) -> str:
    """What the sender states, in a sentence."""
    text = _filled(EVENTS.get(event_type, ("", ""))[1], data, sender)
    return text[:1].upper() + text[1:]


def state(name: str) -> str:
    """The word for a state."""
    return STATES.get(name, name)


def violation(code: str) -> str:
    """The words for a kind of violation."""
    return VIOLATIONS.get(code, code)


def _filled(text: str, data: Mapping[str, Any], sender: str) -> str:
    return _FIELD.sub(lambda match: sender if match[1] == "sender" else _said(data.get(match[1])), text)


def _said(value: object) -> str:
    """A value as one says it: a list by its length, a subject by its name."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return str(len(value))
    if isinstance(value, Mapping):
        return _said(value.get("subject", ""))
    text = str(value)
    if ":" in text:
        try:
            return subjects.parse(text).value
        except ProofError:
            return text
    return text
