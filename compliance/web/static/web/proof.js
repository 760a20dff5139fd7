/* Verifies a proof bundle (meterproof-bundle/1) on the reader's own device, with WebCrypto and nothing else.

   Follows the steps and reason codes that docs/formats describes and `python -m compliance.proof` takes. Keys come from the
   trust data handed in, never from the bundle. It knows no event vocabulary: missing second signatures are not looked for.
   Sources: RFC 9162 2.1.3.2 (inclusion), C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-policy, DSSE 1.0. */
(function () {
  "use strict";

  const MAX_BUNDLE_BYTES = 64 * 1024 * 1024;
  const MAX_ENTRY_BYTES = 65535; // what a C2SP entry bundle can hold
  const MAX_ENVELOPE_BYTES = 16 * 1024;
  const MAX_EVENT_BYTES = 60000;
  const MAX_STRING_BYTES = 8192;
  const MAX_DEPTH = 16;
  const BATCH = "application/vnd.meterproof.batch+json";
  const HEADS = "application/vnd.meterproof.heads+json";
  const KINDS = "meter|meter_type|firmware|component_lot|cell_session|key_bundle|logistic_unit|shipment|evidence|organisation|signing_key|person_role|engagement|finding|report|log";
  const SUBJECT = new RegExp("^(?:" + KINDS + "):[a-z][a-z0-9_]{0,31}:(?:[A-Za-z0-9._~/+-]|%[0-9A-F]{2}){1,128}$");
  const NAME = /^[a-z][a-z0-9_]{0,63}$/;
  const HASH = /^[0-9a-f]{64}$/;
  const KEYID = /^sha256:[0-9a-f]{64}$/;
  const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
  const EVENT_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/;
  const ORGANISATION = /^[a-z][a-z0-9_]{1,30}$/;
  const TIME = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?Z$/;
  const RECORDED = /\.\d{6}Z$/;
  const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
  const PLATFORM_TYPE = /^(?:log|role|evidence|check|report|engagement|finding|audit)\.|^(?:org\.registered|custody\.linked|entry\.redacted)$/;
  const ED25519_DER = "302a300506032b6570032100";
  const P256_DER = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
  const encoder = new TextEncoder();

  /* A failed check: reason code, where, and one sentence. `exit` as on the command line: 1 does not verify, 2 not checkable. */
  class Failure extends Error {
    constructor(code, place, detail, exit) {
      super(detail);
      this.code = code;
      this.place = place;
      this.exit = exit || 1;
    }
  }
  function fail(code, place, detail) { throw new Failure(code, place, detail); }
  function uncheckable(code, place, detail) { throw new Failure(code, place, detail, 2); }

  /* ---- bytes ---- */
  function hex(bytes) { return Array.from(bytes, function (byte) { return byte.toString(16).padStart(2, "0"); }).join(""); }
  function unhex(text) { return Uint8Array.from(text.match(/../g) || [], function (pair) { return parseInt(pair, 16); }); }
  function unbase64(text, code, place) {
    if (typeof text !== "string" || !BASE64.test(text)) { fail(code, place, "not base64"); }
    const raw = atob(text);
    if (btoa(raw) !== text) { fail(code, place, "base64 with stray bits"); }
    return Uint8Array.from(raw, function (c) { return c.charCodeAt(0); });
  }
  function concat() {
    const parts = Array.from(arguments), out = new Uint8Array(parts.reduce(function (n, p) { return n + p.length; }, 0));
    let at = 0;
    parts.forEach(function (part) { out.set(part, at); at += part.length; });
    return out;
  }
  function same(a, b) { return a.length === b.length && a.every(function (byte, i) { return byte === b[i]; }); }
  async function sha256(bytes) { return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)); }
  function leafHash(bytes) { return sha256(concat(Uint8Array.of(0), bytes)); }

  /* ---- strict canonical JSON ---- */
  function canonicalText(value) {
    if (Array.isArray(value)) { return "[" + value.map(canonicalText).join(",") + "]"; }
    if (value !== null && typeof value === "object") {
      return "{" + Object.keys(value).sort().map(function (name) { return JSON.stringify(name) + ":" + canonicalText(value[name]); }).join(",") + "}";
    }
    return JSON.stringify(value);
  }
  function canonicalBytes(value) { return encoder.encode(canonicalText(value)); }
  function walk(value, place, depth) {
    if (typeof value === "string") {
      if (!value.isWellFormed()) { fail("json.surrogate", place, "a lone surrogate"); }
      if (value.includes("\u0000")) { fail("json.nul", place, "a NUL character"); }
    } else if (typeof value === "number") {
      if (!Number.isSafeInteger(value)) { fail("json.number", place, "only integers up to 2^53-1 are allowed"); }
    } else if (value !== null && typeof value === "object") {
      if (depth > MAX_DEPTH) { fail("json.depth", place, "nested deeper than " + MAX_DEPTH); }
      if (Array.isArray(value)) { value.forEach(function (item) { walk(item, place, depth + 1); }); return; }
      Object.keys(value).forEach(function (name) {
        if (!NAME.test(name) && name !== "payloadType") { fail("json.name", place, "member name " + JSON.stringify(name.slice(0, 80))); }
        walk(value[name], place, depth + 1);
      });
    }
  }
  /* Parse `bytes`, which must be their own canonical form. Duplicate names and odd spellings do not survive the comparison. */
  function readCanonical(bytes, maxBytes, place) {
    if (bytes.length > maxBytes) { fail("json.size", place, bytes.length + " bytes, at most " + maxBytes); }
    let text, value;
    try { text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes); } catch (e) { fail("json.utf8", place, "not UTF-8"); }
    try { value = JSON.parse(text); } catch (e) { fail("json.syntax", place, "not JSON"); }
    walk(value, place, 1);
    if (canonicalText(value) !== text) { fail("json.not_canonical", place, "the bytes are not their canonical form"); }
    return value;
  }

  /* ---- forms ---- */
  function isObject(value) { return value !== null && typeof value === "object" && !Array.isArray(value); }
  function members(value, code, place, required, optional) {
    if (!isObject(value)) { fail(code, place, "not an object"); }
    required.forEach(function (name) { if (!Object.hasOwn(value, name)) { fail(code, place, "member " + name + " is missing"); } });
    Object.keys(value).forEach(function (name) {
      if (!required.includes(name) && !(optional || []).includes(name)) { fail(code, place, "unknown member " + name); }
    });
  }
  function need(condition, code, place, detail) { if (!condition) { fail(code, place, detail); } }
  function text(value, pattern) { return typeof value === "string" && pattern.test(value); }
  function integer(value, low, high) { return Number.isSafeInteger(value) && value >= low && value <= high; }
  function isSubject(value) { return text(value, SUBJECT) && value.length <= 180; }
  /* An instant in microseconds, as BigInt. */
  function instant(value, place) {
    const part = typeof value === "string" ? TIME.exec(value) : null;
    if (!part) { fail("time.form", place, "not a UTC time"); }
    const milliseconds = Date.parse(value.slice(0, 19) + "Z"), year = Number(part[1]);
    if (year < 1970 || Number.isNaN(milliseconds) || new Date(milliseconds).toISOString().slice(0, 19) !== value.slice(0, 19)) {
      fail("time.form", place, "no real date: " + value);
    }
    return BigInt(milliseconds) * 1000n + BigInt((part[7] || "").padEnd(6, "0"));
  }
  function checkEvent(event, place) {
    members(event, "event.member", place, ["v", "id", "type", "schema", "subject", "occurred_at", "actor", "data"],
      ["occurred_offset", "second_actor", "device", "location", "evidence", "corrects", "prev_hint"]);
    need(event.v === 1, "event.value", place, "v is not 1");
    need(text(event.id, EVENT_ID), "event.value", place, "id");
    need(typeof event.type === "string" && event.type.length >= 1 && event.type.length <= 64, "event.value", place, "type");
    need(integer(event.schema, 1, 999), "event.value", place, "schema");
    need(isSubject(event.subject), "subject.form", place, "subject");
    need(isObject(event.data), "event.value", place, "data is not an object");
    instant(event.occurred_at, place);
    ["actor", "second_actor"].forEach(function (role) {
      if (role === "second_actor" && !Object.hasOwn(event, role)) { return; }
      const who = event[role], kinds = isObject(who) ? Object.keys(who) : [];
      need(kinds.length === 1 && ["person", "station", "service"].includes(kinds[0]) && text(who[kinds[0]], ID), "event.value", place, role);
    });
    if (Object.hasOwn(event, "corrects")) { need(text(event.corrects, HASH), "event.value", place, "corrects"); }
    if (Object.hasOwn(event, "prev_hint")) { need(event.prev_hint === null || text(event.prev_hint, HASH), "event.value", place, "prev_hint"); }
    if (Object.hasOwn(event, "evidence")) {
      need(Array.isArray(event.evidence) && event.evidence.length >= 1 && event.evidence.length <= 50, "event.value", place, "evidence");
      event.evidence.forEach(function (file) {
        members(file, "event.value", place, ["sha256", "size", "media_type", "name"]);
        need(text(file.sha256, HASH) && integer(file.size, 0, Number.MAX_SAFE_INTEGER), "event.value", place, "evidence");
      });
    }
    (function strings(value) {
      if (typeof value === "string") { need(encoder.encode(value).length <= MAX_STRING_BYTES, "json.string_size", place, "a string over 8,192 bytes"); }
      else if (value !== null && typeof value === "object") { Object.values(value).forEach(strings); }
    }(event));
  }
  function checkEntry(entry, place) {
    members(entry, "entry.form", place, ["batch", "event", "index", "prev", "recorded_at", "salt", "seq", "subject", "v"]);
    need(entry.v === 1, "entry.form", place, "v is not 1");
    need(text(entry.batch, HASH), "entry.form", place, "batch");
    need(integer(entry.index, 0, 99999), "entry.form", place, "index");
    need(text(entry.salt, /^[0-9a-f]{32}$/), "entry.form", place, "salt");
    need(integer(entry.seq, 0, Number.MAX_SAFE_INTEGER), "entry.form", place, "seq");
    need(isSubject(entry.subject), "subject.form", place, "subject");
    need(entry.seq === 0 ? entry.prev === null : text(entry.prev, HASH), "entry.form", place, "prev");
    need(text(entry.recorded_at, RECORDED), "time.form", place, "recorded_at without six digits");
  }

  /* ---- keys, DSSE, notes ---- */
  async function readKey(object, place) {
    members(object, "key.form", place, ["algorithm", "keyid", "public_key"]);
    const der = unbase64(object.public_key, "key.form", place), shape = hex(der);
    need(object.keyid === "sha256:" + hex(await sha256(der)), "key.form", place, "the key id is not that of the key");
    if (object.algorithm === "ed25519") {
      need(shape.startsWith(ED25519_DER) && der.length === 44, "key.form", place, "not an Ed25519 key");
      return { keyid: object.keyid, algorithm: { name: "Ed25519" }, key: await importKey("spki", der, { name: "Ed25519" }, place) };
    }
    need(object.algorithm === "ecdsa_p256_sha256", "key.form", place, "unknown algorithm");
    need(shape.startsWith(P256_DER) && der.length === 91, "key.form", place, "not a P-256 key");
    return { keyid: object.keyid, algorithm: { name: "ECDSA", hash: "SHA-256" }, key: await importKey("spki", der, { name: "ECDSA", namedCurve: "P-256" }, place) };
  }
  async function importKey(format, bytes, algorithm, place) {
    try { return await crypto.subtle.importKey(format, bytes, algorithm, false, ["verify"]); } catch (e) {
      if (e.name === "NotSupportedError") { uncheckable("keys.missing", place, "this browser cannot check " + algorithm.name + " signatures"); }
      return fail("key.form", place, "not a usable " + algorithm.name + " key");
    }
  }
  function verifies(key, signature, message) {
    return signature.length === 64 ? crypto.subtle.verify(key.algorithm, key.key, signature, message) : Promise.resolve(false);
  }
  function preAuthentication(type, body) {
    return concat(encoder.encode("DSSEv1 " + type.length + " " + type + " " + body.length + " "), body);
  }
  function readEnvelope(envelope, type, place) {
    members(envelope, "envelope.form", place, ["payload", "payloadType", "signatures"]);
    need(canonicalBytes(envelope).length <= MAX_ENVELOPE_BYTES || type !== BATCH, "envelope.size", place, "over 16 KiB");
    need(envelope.payloadType === type, "envelope.payload_type", place, "not " + type);
    need(Array.isArray(envelope.signatures) && envelope.signatures.length >= 1 && envelope.signatures.length <= 8, "envelope.signatures", place, "one to eight signatures");
    const payload = unbase64(envelope.payload, "envelope.form", place);
    const signatures = envelope.signatures.map(function (item, i) {
      members(item, "envelope.form", place, ["keyid", "sig"]);
      need(text(item.keyid, KEYID), "envelope.form", place, "keyid");
      need(i === 0 || envelope.signatures[i - 1].keyid < item.keyid, "envelope.signatures", place, "unsorted, or one key twice");
      return { keyid: item.keyid, sig: unbase64(item.sig, "envelope.form", place) };
    });
    return { message: preAuthentication(type, payload), payload: readCanonical(payload, MAX_BUNDLE_BYTES, place), signatures: signatures };
  }
  async function readVkey(line, place) {
    const parts = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(line);
    if (!parts) { uncheckable("trust.form", place, "not a verifier key line"); }
    let raw;
    try { raw = unbase64(parts[3], "trust.form", place); } catch (e) { uncheckable("trust.form", place, "not a verifier key line"); }
    const id = (await sha256(concat(encoder.encode(parts[1] + "\n"), raw))).slice(0, 4);
    if (hex(id) !== parts[2]) { uncheckable("trust.form", place, "the key id does not belong to the key"); }
    const known = raw.length === 33 && (raw[0] === 1 || raw[0] === 4);
    return { name: parts[1], id: id, type: raw[0], algorithm: { name: "Ed25519" }, key: known ? await importKey("raw", raw.slice(1), { name: "Ed25519" }, place) : null };
  }
  function readNote(note, place) {
    const cut = note.lastIndexOf("\n\n");
    if (cut < 0 || !note.endsWith("\n") || /[\u0000-\u0009\u000b-\u001f]/.test(note)) { fail("note.form", place, "not a signed note"); }
    const lines = note.slice(cut + 2).split("\n").slice(0, -1).map(function (line) {
      const parts = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/=]+)$/u.exec(line);
      if (!parts) { fail("note.form", place, "not a signature line"); }
      const raw = unbase64(parts[2], "note.form", place);
      need(raw.length >= 5, "note.form", place, "a signature line is too short");
      return { name: parts[1], id: raw.slice(0, 4), sig: raw.slice(4) };
    });
    need(lines.length >= 1, "note.form", place, "no signature line");
    return { text: note.slice(0, cut + 1), lines: lines };
  }

  /* ---- trust: what the reader brings ---- */
  async function readTrust(files) {
    const trust = { logs: [], witnesses: new Map(), groups: new Map(), quorum: "none", pins: new Map(), receiptKeys: new Map(), revoked: new Map(), origin: "" };
    if (!files || !files.trust || !(files.policy || files.vkey)) { uncheckable("trust.missing", "trust", "trust.json and the log's key are needed"); }
    const newest = files.vkey ? "log " + files.vkey.trim() + "\nquorum none\n" : "";
    const policy = files.policy || newest;
    for (const raw of policy.split("\n")) {
      const words = raw.replace(/#.*/, "").trim().split(/\s+/);
      if (words[0] === "log") { trust.logs.push(await readVkey(words[1] || "", "policy")); }
      else if (words[0] === "witness") { trust.witnesses.set(words[1], await readVkey(words[2] || "", "policy")); }
      else if (words[0] === "group") { trust.groups.set(words[1], { rule: words[2], members: words.slice(3) }); }
      else if (words[0] === "quorum") { trust.quorum = words[1]; }
      else if (words[0]) { uncheckable("trust.form", "policy", "unknown line " + words[0]); }
    }
    if (!trust.logs.length) { uncheckable("trust.form", "policy", "no log line"); }
    let object;
    try { object = typeof files.trust === "string" ? JSON.parse(files.trust) : files.trust; } catch (e) { uncheckable("trust.form", "trust.json", "not JSON"); }
    if (!isObject(object) || object.format !== "meterproof-trust/1" || !Array.isArray(object.receipt_keys) || !Array.isArray(object.organisations)) {
      uncheckable("trust.form", "trust.json", "not a trust file");
    }
    trust.origin = object.log;
    if (!trust.logs.every(function (log) { return log.name === object.log; })) { uncheckable("trust.form", "trust.json", "the files are of two different logs"); }
    try {
      for (const key of object.receipt_keys) { trust.receiptKeys.set(key.keyid, await readKey(key, "trust.json")); }
    } catch (e) { uncheckable("trust.form", "trust.json", e.message); }
    object.organisations.forEach(function (pin) { trust.pins.set(pin.organisation, new Set(pin.keys)); });
    return trust;
  }

  async function checkCheckpoint(bundle, trust) {
    const note = readNote(bundle.checkpoint, "checkpoint"), signed = encoder.encode(note.text);
    const lines = note.text.split("\n");
    need(lines.length === 4 && lines[3] === "" && lines[0] !== "" && /^(?:0|[1-9]\d*)$/.test(lines[1]), "checkpoint.form", "checkpoint", "not three lines");
    const root = unbase64(lines[2], "checkpoint.form", "checkpoint");
    need(root.length === 32, "checkpoint.form", "checkpoint", "the root is not 32 bytes");
    const signedBy = [];
    for (const line of note.lines) {
      for (const log of trust.logs) {
        if (line.name !== log.name || !same(line.id, log.id) || !log.key) { continue; }
        need(await verifies(log, line.sig, signed), "note.signature", "checkpoint", "the signature of " + log.name + " does not verify");
        signedBy.push(hex(log.id));
      }
    }
    need(signedBy.length, "note.unknown_key", "checkpoint", "no signature of the log key you trust");
    need(lines[0] === trust.origin && bundle.log === trust.origin, "checkpoint.origin", "checkpoint", "another log: " + lines[0]);
    return { size: BigInt(lines[1]), root: root, note: note, signedBy: signedBy };
  }
  async function checkWitnesses(note, trust) {
    const agreed = new Set();
    for (const [name, witness] of trust.witnesses) {
      for (const line of note.lines) {
        if (line.name !== witness.name || !same(line.id, witness.id) || witness.type !== 4 || !witness.key) { continue; }
        need(line.sig.length === 72, "note.signature", "checkpoint", "the cosignature of " + name + " has a wrong length");
        const time = new DataView(line.sig.buffer, line.sig.byteOffset, 8).getBigUint64(0);
        const message = encoder.encode("cosignature/v1\ntime " + time + "\n" + note.text);
        need(await verifies(witness, line.sig.slice(8), message), "note.signature", "checkpoint", "the cosignature of " + name + " does not verify");
        agreed.add(name);
      }
    }
    function reached(name, depth) {
      if (name === "none") { return true; }
      if (trust.witnesses.has(name)) { return agreed.has(name); }
      const group = trust.groups.get(name);
      if (!group || depth > 16) { uncheckable("trust.form", "policy", "unknown witness or group " + name); }
      const yes = group.members.filter(function (member) { return reached(member, depth + 1); }).length;
      return yes >= (group.rule === "all" ? group.members.length : group.rule === "any" ? 1 : Number(group.rule));
    }
    const unchecked = Array.from(trust.witnesses.values()).some(function (witness) {
      return !witness.key && note.lines.some(function (line) { return line.name === witness.name && same(line.id, witness.id); });
    });
    if (unchecked && !reached(trust.quorum, 0)) {
      uncheckable("policy.quorum", "checkpoint", "a line of a witness is of a kind that browsers cannot check; use the verifier");
    }
    need(reached(trust.quorum, 0), "policy.quorum", "checkpoint", agreed.size + " of " + trust.witnesses.size + " witnesses cosigned, which is below the policy's quorum");
    return agreed.size;
  }

  /* RFC 9162 2.1.3.2. Index and size are BigInt: a log may outgrow 32 bits. */
  async function rootFrom(leaf, index, size, path) {
    if (index >= size) { return null; }
    let first = index, last = size - 1n, running = leaf;
    for (const sibling of path) {
      if (last === 0n) { return null; }
      const other = unhex(sibling);
      if (first % 2n === 1n || first === last) {
        running = await sha256(concat(Uint8Array.of(1), other, running));
        while (first % 2n === 0n && first !== 0n) { first /= 2n; last /= 2n; }
      } else { running = await sha256(concat(Uint8Array.of(1), running, other)); }
      first /= 2n; last /= 2n;
    }
    return last === 0n ? running : null;
  }

  window.Meterproof = {
    BATCH: BATCH, HEADS: HEADS, KEYID: KEYID, HASH: HASH, ORGANISATION: ORGANISATION, PLATFORM_TYPE: PLATFORM_TYPE,
    MAX_BUNDLE_BYTES: MAX_BUNDLE_BYTES, MAX_ENTRY_BYTES: MAX_ENTRY_BYTES, MAX_EVENT_BYTES: MAX_EVENT_BYTES,
    Failure: Failure, fail: fail, need: need, uncheckable: uncheckable, members: members, text: text, integer: integer,
    isObject: isObject, isSubject: isSubject, instant: instant, hex: hex, unbase64: unbase64, same: same, sha256: sha256,
    leafHash: leafHash, canonicalBytes: canonicalBytes, readCanonical: readCanonical, checkEvent: checkEvent,
    checkEntry: checkEntry, readKey: readKey, readEnvelope: readEnvelope, verifies: verifies, readTrust: readTrust,
    checkCheckpoint: checkCheckpoint, checkWitnesses: checkWitnesses, rootFrom: rootFrom
  };
}());
