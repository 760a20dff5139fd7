"""What may happen to a report after its seal: signatures in fields that were there, and what keeps them verifiable.

A later revision may hold, and change, only

1. validation data (the document security store, ETSI EN 319 142-1 section 5.4.2): its lists only grow, by plain DER;
2. the value and appearance of signature fields that the certified revision held, empty;
3. invisible document time stamps: a new field without area, appended to the form and to one page's annotations;
4. the dates and the producer that every writer stamps (document information, XMP).

This is narrower than the difference analysis of PDF libraries, which must allow what any form may do, and it looks
only at the objects of later revisions, so its cost does not grow with the report.
"""

import re
from typing import Any, Final

import defusedxml.ElementTree as ElementTree
from pyhanko.pdf_utils import generic

from compliance.proof.report.objects import Reference, entry, is_reference, require, require_only, same, written
from compliance.proof.report.revisions import MAX_NEW_OBJECTS, Revisions

SIGNATURE_KEYS: Final = {
    *("/Type", "/Filter", "/SubFilter", "/Contents", "/ByteRange", "/M"),
    *("/Name", "/Location", "/Reason", "/ContactInfo", "/Prop_Build"),
}
TIME_STAMP_FIELD_KEYS: Final = {"/Type", "/Subtype", "/FT", "/T", "/TU", "/V", "/Rect", "/F", "/Ff", "/P"}
APPEARANCE_KEYS: Final = {
    *("/Type", "/Subtype", "/BBox", "/Matrix", "/Resources", "/Length"),
    *("/Filter", "/DecodeParms", "/FormType", "/Group"),
}
ACTIVE_KEYS: Final = {
    *("/JS", "/JavaScript", "/AA", "/A", "/OpenAction", "/URI", "/EmbeddedFile"),
    *("/EF", "/OC", "/OCGs", "/Annots", "/Launch"),
}
STORE_KEYS: Final = {"/Type", "/Certs", "/CRLs", "/OCSPs", "/VRI"}
STORE_LISTS: Final = ("/Certs", "/CRLs", "/OCSPs")
RELATED_KEYS: Final = {"/Type", "/Cert", "/CRL", "/OCSP", "/TU", "/TS"}
RELATED_LISTS: Final = ("/Cert", "/CRL", "/OCSP")
STAMPED_BY_WRITERS: Final = {"ModifyDate", "MetadataDate", "Producer"}
MAX_EXTENSIONS_BYTES: Final = 600
MAX_DEPTH: Final = 12
_REFERENCE: Final = re.compile(rb"\d+ \d+ R\b")
_RDF: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_WRAPPERS: Final = {f"{_RDF}RDF", f"{_RDF}Description", "{adobe:ns:meta/}xmpmeta"}
_NO_PROPERTY: Final = {f"{_RDF}about", f"{_RDF}parseType", "{adobe:ns:meta/}xmptk"}


def require_permitted(revisions: Revisions) -> list[str]:
    """What each revision after the seal did, in words. Raises ProofError `report.update` for anything not permitted."""
    revisions.require_nothing_between()
    said, added = [], 0
    for number in revisions.later():
        update = _Update(revisions, number)
        update.require_permitted()
        added += len(update.fresh)
        require(added <= MAX_NEW_OBJECTS, f"more than {MAX_NEW_OBJECTS} new objects after the seal")
        said.append(f"revision {number}: {' and '.join(update.said) or 'nothing'}")
    return said


class _Update:
    """One revision beside the one before it."""

    def __init__(self, revisions: Revisions, number: int) -> None:
        reader = revisions.reader
        self.number = number
        self.root = reader.root_ref
        self.old = reader.get_historical_resolver(number - 1)
        self.new = reader.get_historical_resolver(number)
        listed = set(self.new.explicit_refs_in_revision())
        self.fresh = {ref for ref in listed if reader.xrefs.get_historical_ref(ref, number - 1) is None}
        self.overridden = listed - self.fresh
        self.explained: set[Reference] = set()
        self.said: list[str] = []

    def require_permitted(self) -> None:
        """Explain every object of this revision, or raise."""
        require(not self.new.refs_freed_in_revision(), "objects were freed", place=f"revision {self.number}")
        require(_root(self.old) == _root(self.new), "another catalog", place=f"revision {self.number}")
        self._catalog()
        self._information()
        self._metadata()
        listed = self.fresh | self.overridden
        rest = {ref.idnum for ref in listed - self.explained if not self._is_cross_reference(ref)}
        require(not rest, f"objects with no permitted reason: {sorted(rest)[:6]}", place=f"revision {self.number}")

    def _is_cross_reference(self, reference: Reference) -> bool:
        value = self.new(reference)
        is_table = isinstance(value, generic.StreamObject) and value.get("/Type") == "/XRef"
        return reference in self.fresh and is_table

    def _is_fresh(self, value: Any) -> bool:
        return is_reference(value) and value.reference in self.fresh

    def _pair(self, before: Any, after: Any, what: str) -> tuple[Any, Any]:
        """Both values themselves; a reference must be the same one in both, and is explained by being looked at."""
        if not (is_reference(before) or is_reference(after)):
            return before, after
        both = is_reference(before) and is_reference(after) and before.reference == after.reference
        require(both, f"{what} points elsewhere")
        self.explained.add(after.reference)
        return self.old(before.reference), self.new(after.reference)

    # The parts of a document that a later revision touches.

    def _catalog(self) -> None:
        before, after = self.old.root, self.new.root
        self.explained.add(self.root)
        require_only(before, after, {"/DSS", "/AcroForm", "/Extensions"}, "catalog")
        if not same(entry(before, "/Extensions"), entry(after, "/Extensions")):
            self._extensions(entry(after, "/Extensions"))
        seen = set(self.explained)
        self._store(entry(before, "/DSS"), entry(after, "/DSS"))
        if (self.explained - seen) & (self.fresh | self.overridden):
            self.said.append("validation data")
        old_form, new_form = self._pair(entry(before, "/AcroForm"), entry(after, "/AcroForm"), "the form")
        require(old_form is not None and new_form is not None, "the form is gone")
        require_only(old_form, new_form, {"/Fields", "/SigFlags"}, "form")
        require(int(new_form.get("/SigFlags", 3)) in {1, 3}, "form: /SigFlags")
        self._fields(*self._pair(entry(old_form, "/Fields"), entry(new_form, "/Fields"), "the list of fields"))

    def _extensions(self, value: Any) -> None:
        plain = isinstance(value, generic.DictionaryObject) and set(value) <= {"/ESIC", "/ADBE", "/ISO_"}
        small = plain and len(written(value)) < MAX_EXTENSIONS_BYTES and not _REFERENCE.search(written(value))
        require(small, "catalog: /Extensions")

    def _information(self) -> None:
        before, after = (entry(history.trailer_view, "/Info") for history in (self.old, self.new))
        if before is None and after is None:
            return
        require(
            is_reference(after) and (before is None or same(before, after)), "document information points elsewhere"
        )
        self.explained.add(after.reference)
        old = self.old(before.reference) if before is not None else generic.DictionaryObject()
        require_only(old, self.new(after.reference), {"/ModDate", "/Producer"}, "document information")

    def _metadata(self) -> None:
        before, after = entry(self.old.root, "/Metadata"), entry(self.new.root, "/Metadata")
        if after is None or after.reference not in self.overridden:
            return
        self.explained.add(after.reference)
        old, new = _properties(self.old(before.reference).data), _properties(self.new(after.reference).data)
        changed = sorted({name.rpartition("}")[2] for name, _ in set(old) ^ set(new)})
        require(old == new, f"metadata changed: {', '.join(changed[:4])}")

    # Signature fields.

    def _fields(self, before: Any, after: Any) -> None:
        kept = [written(field) for field in before] == [written(field) for field in list(after)[: len(before)]]
        require(kept, "form: fields were removed or put in another order")
        names = self._known_fields()
        for name, (reference, field) in names.items():
            if reference in self.overridden:
                self._filled(name, reference, field, self.new(reference))
        for field in list(after)[len(before) :]:
            require(self._is_fresh(field), "form: an added field is not a new object")
            self._time_stamp_field(field.reference, names)

    def _known_fields(self) -> dict[str, tuple[Reference, Any]]:
        known: dict[str, tuple[Reference, Any]] = {}
        for value in self.old.root["/AcroForm"]["/Fields"]:
            require(is_reference(value), "a form field without an object of its own")
            field = self.old(value.reference)
            name = str(field["/T"])
            require("/Kids" not in field, "nested form fields", place=name)
            require(name not in known, "two fields with one name", place=name)
            known[name] = (value.reference, field)
        return known

    def _filled(self, name: str, reference: Reference, before: Any, after: Any) -> None:
        self.explained.add(reference)
        if written(before) == written(after):
            return
        was_empty = before.get("/FT") == "/Sig" and "/V" not in before
        require(was_empty, "was signed already, or is no signature field", place=name)
        require_only(before, after, {"/V", "/AP"}, f"field {name}")
        require("/V" in after, "changed without being signed", place=name)
        self._value(after, name, "/Sig", "/ETSI.CAdES.detached")
        if not same(entry(before, "/AP"), entry(after, "/AP")):
            self._appearance(after["/AP"], name)
        self.said.append(f"signature in {name}")

    def _appearance(self, states: Any, name: str) -> None:
        require(set(states) == {"/N"}, "more than one appearance", place=name)
        normal = entry(states, "/N")
        require(self._is_fresh(normal), "the appearance is not a new object", place=name)
        require(set(self.new(normal.reference)) <= APPEARANCE_KEYS, "unknown entries in the appearance", place=name)
        self._require_passive(normal, name, depth=0)

    def _value(self, field: Any, name: str, kind: str, form: str) -> None:
        value = entry(field, "/V")
        require(self._is_fresh(value), "the signature is not a new object", place=name)
        self.explained.add(value.reference)
        signature = self.new(value.reference)
        plain = signature.get("/Type") == kind and set(signature) <= SIGNATURE_KEYS
        require(plain, "a signature of another kind, or with unknown entries", place=name)
        require(signature.get("/SubFilter") == form, "another signature format", place=name)
        beside = {key: entry(signature, key) for key in signature if key != "/Contents"}
        hidden = _REFERENCE.search(written(generic.DictionaryObject(beside)))
        require(hidden is None, "references inside the signature", place=name)

    def _require_passive(self, value: Any, name: str, *, depth: int) -> None:
        """An appearance reaches new objects only, and none that acts, opens or carries files."""
        require(depth < MAX_DEPTH, "the appearance is nested too deeply", place=name)
        if is_reference(value):
            if value.reference in self.explained:
                return
            require(value.reference in self.fresh, "the appearance refers to an older object", place=name)
            self.explained.add(value.reference)
            value = self.new(value.reference)
        if isinstance(value, generic.DictionaryObject):
            require(not set(value) & ACTIVE_KEYS, "an action or a file inside the appearance", place=name)
            for key in value:
                self._require_passive(entry(value, key), name, depth=depth + 1)
        elif isinstance(value, generic.ArrayObject):
            for item in value:
                self._require_passive(item, name, depth=depth + 1)

    def _time_stamp_field(self, reference: Reference, known: dict[str, tuple[Reference, Any]]) -> None:
        self.explained.add(reference)
        field = self.new(reference)
        name = str(field.get("/T"))
        is_new = name not in known and field.get("/FT") == "/Sig" and set(field) <= TIME_STAMP_FIELD_KEYS
        require(is_new, "only an invisible document time stamp may be added", place=name)
        left, bottom, right, top = (float(value) for value in field["/Rect"])
        require(left == right or bottom == top, "the added field is visible", place=name)
        self._value(field, name, "/DocTimeStamp", "/ETSI.RFC3161")
        self._page_of(field, reference, name)
        self.said.append("document time stamp")

    def _page_of(self, field: Any, reference: Reference, name: str) -> None:
        page = entry(field, "/P")
        require(is_reference(page), "a time stamp without a page", place=name)
        before, after = self.old(page.reference), self.new(page.reference)
        require(before.get("/Type") == "/Page", "a time stamp on something that is no page", place=name)
        self.explained.add(page.reference)
        require_only(before, after, {"/Annots"}, "page")
        old, new = self._annotations(entry(before, "/Annots"), entry(after, "/Annots"))
        appended = [*(written(item) for item in old), b"%d %d R" % (reference.idnum, reference.generation)]
        require([written(item) for item in new] == appended, "annotations were added, removed or moved", place=name)

    def _annotations(self, before: Any, after: Any) -> tuple[list[Any], list[Any]]:
        if before is None and is_reference(after):
            require(after.reference in self.fresh, "the list of annotations points elsewhere")
            self.explained.add(after.reference)
            return [], list(self.new(after.reference))
        if before is None:
            return [], list(after)
        if is_reference(before) and not is_reference(after):
            return list(self.old(before.reference)), list(after)
        old, new = self._pair(before, after, "the list of annotations")
        return list(old), list(new)

    # Validation data.

    def _store(self, before: Any, after: Any) -> None:
        if before is None and after is None:
            return
        require(after is not None, "the validation data is gone")
        if is_reference(after):
            kept = is_reference(before) and before.reference == after.reference
            require(kept or (not is_reference(before) and self._is_fresh(after)), "validation data points elsewhere")
            self.explained.add(after.reference)
        new = self.new(after.reference) if is_reference(after) else after
        old = self.old(before.reference) if is_reference(before) else before
        old = generic.DictionaryObject() if old is None else old
        require(
            isinstance(new, generic.DictionaryObject) and set(new) <= STORE_KEYS, "validation data: unknown entries"
        )
        for key in STORE_LISTS:
            self._grown(entry(old, key), entry(new, key), key)
        self._related(entry(old, "/VRI"), entry(new, "/VRI"))

    def _grown(self, before: Any, after: Any, key: str) -> None:
        if is_reference(after):
            kept = is_reference(before) and before.reference == after.reference
            require(kept or self._is_fresh(after), f"validation data: {key} points elsewhere")
            self.explained.add(after.reference)
        old, new = _listed(before, self.old), _listed(after, self.new)
        earlier = {written(item) for item in old}
        require(earlier <= {written(item) for item in new}, f"validation data: {key} lost something")
        for item in new:
            self._require_der(item)

    def _related(self, before: Any, after: Any) -> None:
        if after is None:
            require(before is None, "validation data: /VRI is gone")
            return
        old, new = self._store_dictionary(before, self.old), self._store_dictionary(after, self.new)
        require(set(old) <= set(new), "validation data: /VRI lost something")
        for key in new:
            require(re.fullmatch(r"/[0-9A-F]{40}", key) is not None, "validation data: /VRI has another entry")
            related = self._store_dictionary(entry(new, key), self.new)
            require(set(related) <= RELATED_KEYS, "validation data: unknown entries in /VRI")
            for name in RELATED_LISTS:
                value = entry(related, name)
                if is_reference(value):
                    self.explained.add(value.reference)
                for item in _listed(value, self.new):
                    self._require_der(item)

    def _store_dictionary(self, value: Any, history: Any) -> Any:
        if value is None:
            return generic.DictionaryObject()
        if is_reference(value):
            self.explained.add(value.reference)
            value = history(value.reference)
        require(isinstance(value, generic.DictionaryObject), "validation data of another shape")
        return value

    def _require_der(self, item: Any) -> None:
        """A certificate, revocation list or answer: a stream of its own, DER, never overwritten."""
        require(is_reference(item), "validation data: an entry without an object of its own")
        value = self.new(item.reference)
        plain = isinstance(value, generic.StreamObject) and set(value) <= {"/Length", "/Filter", "/DecodeParms"}
        require(plain and value.data[:1] == b"\x30", "validation data: an entry that is no plain DER stream")
        if item.reference in self.overridden:
            before = self.old(item.reference)
            require(
                isinstance(before, generic.StreamObject) and before.data == value.data, "validation data overwritten"
            )
        self.explained.add(item.reference)


def _root(history: Any) -> tuple[int, int]:
    reference = history.trailer_view.raw_get("/Root")
    return reference.idnum, reference.generation


def _listed(value: Any, history: Any) -> list[Any]:
    if value is None:
        return []
    found = history(value.reference) if is_reference(value) else value
    require(isinstance(found, generic.ArrayObject), "validation data: not a list")
    return list(found)


def _properties(packet: bytes) -> list[tuple[str, str]]:
    """Qualified names and values of an XMP packet, however written, without what every writer stamps."""
    found: list[tuple[str, str]] = []

    def walk(element: Any, path: str) -> None:
        for name, value in element.attrib.items():
            if name not in _NO_PROPERTY:
                found.append((f"{path}/{name}", value.strip()))
        for child in element:
            if isinstance(child.tag, str):
                walk(child, path if child.tag in _WRAPPERS or child.tag.startswith(_RDF) else f"{path}/{child.tag}")
        if text := (element.text or "").strip():
            found.append((path, text))

    walk(ElementTree.fromstring(packet, forbid_dtd=True), "")
    return sorted(pair for pair in found if pair[0].rpartition("}")[2] not in STAMPED_BY_WRITERS)
