/* The steps of verifying a proof bundle, in the order the offline verifier takes them, on top of proof.js.

   Meterproof.verifyBundle(bytes, trustFiles, step) resolves to {ok, exit, code, place, detail, notes, entries, ...} and calls
   step(name, state, words) as each of the steps file, checkpoint, witnesses, inclusion, chain, signatures, heads ends. */
(function () {
  "use strict";
  const M = window.Meterproof;
  const need = M.need, fail = M.fail;
  function count(n, one, many) { return n.toLocaleString("en-GB") + " " + (n === 1 ? one : many); }
  function short(hash) { return hash.slice(0, 8) + "…"; }
  function seqPlace(item) { return item.subject + " event " + item.seq; }
  function percent(value) {
    return Array.from(new TextEncoder().encode(value), function (byte) {
      const c = String.fromCharCode(byte);
      return /[A-Za-z0-9._~/+-]/.test(c) ? c : "%" + byte.toString(16).toUpperCase().padStart(2, "0");
    }).join("");
  }

  function readBundle(bytes, trust) {
    const b = M.readCanonical(bytes, M.MAX_BUNDLE_BYTES, "bundle");
    if (!M.isObject(b) || typeof b.format !== "string" || !b.format.startsWith("meterproof-bundle/")) { M.uncheckable("file.unknown", "file", "this is not a proof bundle"); }
    if (b.format !== "meterproof-bundle/1") { M.uncheckable("bundle.version", "bundle", "format " + b.format.slice(0, 40)); }
    M.members(b, "bundle.form", "bundle", ["format", "log", "created", "subjects", "checkpoint", "time_tokens", "entries", "batches", "heads"]);
    M.instant(b.created, "bundle");
    need(b.log === trust.origin, "bundle.log", "bundle", "of the log " + b.log + ", your trust file is of " + trust.origin);
    need(Array.isArray(b.subjects) && b.subjects.length >= 1 && b.subjects.length <= 1000, "bundle.form", "subjects", "1 to 1,000 subjects");
    b.subjects.forEach(function (subject, i) {
      need(M.isSubject(subject), "subject.form", "subjects", "not a subject");
      need(i === 0 || b.subjects[i - 1] < subject, "bundle.form", "subjects", "unsorted, or one twice");
    });
    need(typeof b.checkpoint === "string", "bundle.form", "checkpoint", "not text");
    need(Array.isArray(b.time_tokens), "bundle.form", "time_tokens", "not a list");
    b.time_tokens.forEach(function (token) { M.unbase64(token, "bundle.form", "time_tokens"); });
    need(Array.isArray(b.entries) && b.entries.length >= 1 && Array.isArray(b.batches) && b.batches.length >= 1, "bundle.form", "bundle", "no entries or no batches");
    b.entries.forEach(function (item, i) {
      const place = "entries/" + i;
      M.members(item, "bundle.form", place, M.isObject(item) && Object.hasOwn(item, "hash") ? ["leaf", "path", "hash"] : ["leaf", "path", "entry", "event_path"]);
      need(M.integer(item.leaf, 0, Number.MAX_SAFE_INTEGER), "bundle.form", place, "leaf");
      need(i === 0 || b.entries[i - 1].leaf < item.leaf, "bundle.form", place, "unsorted, or one leaf twice");
      ["path", "event_path"].forEach(function (name) {
        if (!Object.hasOwn(item, name)) { return; }
        need(Array.isArray(item[name]) && item[name].length <= 63 && item[name].every(function (h) { return M.text(h, M.HASH); }), "bundle.form", place, name);
      });
      if (Object.hasOwn(item, "hash")) { need(M.text(item.hash, M.HASH), "bundle.form", place, "hash"); }
    });
    return b;
  }

  /* Each leaf: strict bytes, entry and event members, path to the root. */
  async function readLeaves(b, head) {
    const leaves = [];
    for (const item of b.entries) {
      const place = "leaf " + item.leaf, leaf = { leaf: item.leaf, redacted: Object.hasOwn(item, "hash"), place: place };
      if (leaf.redacted) { leaf.hash = item.hash; } else {
        const bytes = M.unbase64(item.entry, "bundle.form", place);
        const value = M.readCanonical(bytes, M.MAX_ENTRY_BYTES, place);
        M.checkEntry(value, place);
        M.checkEvent(value.event, place);
        const event = M.canonicalBytes(value.event);
        need(event.length <= M.MAX_EVENT_BYTES, "json.size", place, "an event over 60,000 bytes");
        Object.assign(leaf, { value: value, event: value.event, subject: value.subject, seq: value.seq, prev: value.prev,
          recorded: M.instant(value.recorded_at, place), eventPath: item.event_path });
        leaf.eventHash = await M.leafHash(event);
        leaf.hash = M.hex(await M.leafHash(bytes));
      }
      const hash = Uint8Array.from(leaf.hash.match(/../g), function (pair) { return parseInt(pair, 16); });
      const root = await M.rootFrom(hash, BigInt(item.leaf), head.size, item.path);
      need(root !== null && M.same(root, head.root), "proof.inclusion", place, "its path does not lead to the checkpoint's root");
      leaves.push(leaf);
    }
    return leaves;
  }

  /* Without them nobody could tell who may sign what. */
  const NEVER_REDACTED = ["organisation", "signing_key", "log"];

  function explainRedactions(leaves) {
    const explained = new Map();
    leaves.forEach(function (leaf) {
      if (leaf.redacted || leaf.event.type !== "entry.redacted") { return; }
      const about = leaf.event.data.leaf;
      need(!explained.has(about) && about < leaf.leaf, "redaction.mismatch", leaf.place, "leaf " + about + " is named twice or comes later");
      explained.set(about, leaf);
    });
    leaves.filter(function (leaf) { return leaf.redacted; }).forEach(function (leaf) {
      const why = explained.get(leaf.leaf);
      need(why, "redaction.unexplained", leaf.place, "bytes gone without an entry that says why");
      need(!NEVER_REDACTED.includes(String(why.event.data.subject).split(":")[0]), "event.form", why.place, "such an entry is never redacted");
      need(why.event.data.hash === leaf.hash, "redaction.mismatch", leaf.place, "the redaction names another hash");
      leaf.subject = why.event.data.subject;
      leaf.seq = why.event.data.seq;
      leaf.why = why;
    });
  }

  function joined(leaf, names) {
    const data = leaf.event.data, kind = leaf.subject.split(":")[0];
    if (Array.isArray(data.identifiers)) {
      data.identifiers.forEach(function (one) {
        if (M.isObject(one) && typeof one.scheme === "string" && typeof one.value === "string") { names.add(kind + ":" + one.scheme + ":" + percent(one.value)); }
      });
    }
  }
  /* One chain, in leaf order: sequence, links, time, order within a batch, names, corrections. */
  function checkChain(chain, complete) {
    const names = new Set([chain[0].subject]), hashes = new Set(), lastIndex = new Map();
    let before = null, closedBy = null;
    chain.forEach(function (leaf) {
      const place = seqPlace(leaf);
      if (complete && (before ? leaf.seq !== before.seq + 1 : leaf.seq !== 0)) {
        fail(before && leaf.seq <= before.seq ? "chain.order" : "chain.gap", place, "expected event " + (before ? before.seq + 1 : 0));
      }
      need(!before || leaf.seq > before.seq, "chain.order", place, "log order is not chain order");
      if (!leaf.redacted) {
        if (before && leaf.seq === before.seq + 1) { need(leaf.prev === before.hash, "chain.prev", place, "prev is not the entry before"); }
        need(closedBy === null, "chain.closed", place, "an entry after the key's revocation");
        if (lastIndex.has(leaf.value.batch)) { need(leaf.value.index > lastIndex.get(leaf.value.batch), "chain.batch_order", place, "not in batch order"); }
        lastIndex.set(leaf.value.batch, leaf.value.index);
        if (complete) {
          need(names.has(leaf.event.subject), "subject.alias", place, "named " + leaf.event.subject + ", which no earlier entry joined");
          need(!Object.hasOwn(leaf.event, "corrects") || hashes.has(leaf.event.corrects), "chain.corrects", place, "corrects no earlier entry of this chain");
        }
        joined(leaf, names);
        if (leaf.event.type === "org.key_revoked") { closedBy = leaf; }
      }
      hashes.add(leaf.hash);
      before = leaf;
    });
    chain.filter(function (leaf) { return !leaf.redacted; }).reduce(function (earlier, leaf) {
      need(earlier === null || leaf.recorded >= earlier.recorded, "chain.time", seqPlace(leaf), "recorded_at goes back");
      return leaf;
    }, null);
    return names;
  }

  async function readBatches(b, leaves, trust) {
    const batches = new Map();
    let last = "";
    for (let i = 0; i < b.batches.length; i += 1) {
      const id = M.hex(await M.sha256(M.canonicalBytes(b.batches[i]))), place = "batch " + short(id);
      need(last < id, "bundle.form", "batches/" + i, "unsorted, or one batch twice");
      last = id;
      const envelope = M.readEnvelope(b.batches[i], M.BATCH, place), p = envelope.payload;
      M.members(p, "batch.form", place, ["v", "tree", "log", "issuer", "source", "sequence", "created", "count", "root"], ["on_behalf_of", "credential"]);
      need(p.v === 1 && p.tree === "rfc6962-sha256" && M.text(p.issuer, M.ORGANISATION) && M.text(p.root, M.HASH) && M.integer(p.count, 1, 100000)
        && (p.sequence === null || M.integer(p.sequence, 0, Number.MAX_SAFE_INTEGER)), "batch.form", place, "payload");
      M.instant(p.created, place);
      const vouched = Object.hasOwn(p, "on_behalf_of");
      need(vouched === Object.hasOwn(p, "credential") && (!vouched || p.issuer === "platform"), "batch.vouching", place, "only the platform vouches, with a credential");
      need(p.log === trust.origin, "batch.log", place, "meant for the log " + p.log);
      batches.set(id, { id: id, place: place, payload: p, envelope: envelope, vouched: vouched, author: vouched ? p.on_behalf_of : p.issuer, leaves: [] });
    }
    const positions = new Set(), ids = new Set();
    for (const leaf of leaves) {
      if (leaf.redacted) { continue; }
      const batch = batches.get(leaf.value.batch), position = leaf.value.batch + "/" + leaf.value.index;
      need(batch, "batch.missing", leaf.place, "its batch is not here");
      need(!positions.has(position), "batch.index_twice", leaf.place, "two entries for one position");
      positions.add(position);
      const id = batch.author + " " + leaf.event.id;
      need(!ids.has(id), "event.id_twice", leaf.place, "one author used the event id twice");
      ids.add(id);
      const root = await M.rootFrom(leaf.eventHash, BigInt(leaf.value.index), BigInt(batch.payload.count), leaf.eventPath);
      need(root !== null && M.hex(root) === batch.payload.root, "batch.path", leaf.place, "the event is not the one that was signed");
      leaf.batch = batch;
      batch.leaves.push(leaf);
    }
    batches.forEach(function (batch) { need(batch.leaves.length > 0, "bundle.unused", batch.place, "no entry names it"); });
    return batches;
  }

  /* Signing keys as their chains register and revoke them. */
  async function readKeys(chains) {
    const keys = new Map();
    for (const [subject, chain] of chains) {
      if (!subject.startsWith("signing_key:sha256:")) { continue; }
      const first = chain[0], place = seqPlace(first), keyid = subject.slice("signing_key:".length);
      if (first.seq !== 0 || first.redacted || first.event.type !== "org.key_registered") { fail("key.line", place, "a key's chain starts with its registration"); }
      const data = first.event.data;
      M.members(data, "event.data", place, ["organisation", "holder", "key", "valid_from", "valid_until"]);
      const key = await M.readKey(data.key, place);
      need(key.keyid === keyid, "key.form", place, "registered under another key id");
      const end = chain.find(function (leaf) { return !leaf.redacted && leaf.event.type === "org.key_revoked"; });
      keys.set(keyid, Object.assign(key, { organisation: data.organisation, registration: first, revocation: end || null,
        from: M.instant(data.valid_from, place), until: data.valid_until === null ? null : M.instant(data.valid_until, place),
        statedLoss: end ? M.instant(end.event.data.effective_at, place) : null, good: false, pinned: false }));
    }
    return keys;
  }
  function checkValid(key, leaf) {
    const at = leaf.recorded, place = leaf.place;
    need(at >= key.registration.recorded && at >= key.from, "key.not_valid", place, "signed by a key before its registration or validity");
    need(key.until === null || at < key.until, "key.not_valid", place, "signed by a key after its validity");
    need(key.revocation === null || leaf === key.revocation || at < key.revocation.recorded, "key.revoked", place, "signed by a revoked key");
  }
  async function checkSignatures(batches, keys, notes) {
    let signatures = 0;
    for (const batch of batches.values()) {
      batch.keys = [];
      for (const signature of batch.envelope.signatures) {
        const key = keys.get(signature.keyid);
        need(key, "bundle.incomplete", batch.place, "the chain of the key " + short(signature.keyid.slice(7)) + " is missing");
        need(await M.verifies(key, signature.sig, batch.envelope.message), "envelope.signature", batch.place, "a signature does not verify");
        batch.keys.push(key);
        signatures += 1;
      }
      need(batch.keys.some(function (key) { return key.organisation === batch.payload.issuer; }), "key.issuer", batch.place, "no signature of its issuer");
      batch.leaves.forEach(function (leaf) {
        batch.keys.forEach(function (key) {
          checkValid(key, leaf);
          if (key.statedLoss !== null && leaf !== key.revocation && leaf.recorded >= key.statedLoss) { notes.push("signed after the stated loss: " + leaf.place); }
        });
        checkAuthority(leaf, batch, keys);
      });
    }
    return signatures;
  }
  function checkAuthority(leaf, batch, keys) {
    const type = leaf.event.type;
    need(!M.PLATFORM_TYPE.test(type) || batch.author === "platform", "event.authority", leaf.place, type + " may not come from " + batch.author);
    if (type !== "org.key_registered" && type !== "org.key_revoked") { return; }
    const own = keys.get(leaf.subject.slice("signing_key:".length));
    if (!own) { return; }
    const byItself = batch.author === own.organisation;
    need(byItself || (type === "org.key_revoked" && batch.author === "platform"), "event.authority", leaf.place, type + " may not come from " + batch.author);
    if (type === "org.key_registered") { need(batch.keys.includes(own), "key.line", leaf.place, "registered without a signature of the new key"); }
  }
  /* A key is good if its registration leads, by keys of its organisation, to a first key; pinned if a pinned key lies on that way. */
  function followLines(keys, chains, trust) {
    const first = new Set();
    chains.forEach(function (chain, subject) {
      if (!subject.startsWith("organisation:org:")) { return; }
      chain.forEach(function (leaf) {
        if (!leaf.redacted && leaf.event.type === "org.registered") { first.add(subject.slice("organisation:org:".length) + " " + leaf.event.data.first_key); }
      });
    });
    let moved = true;
    while (moved) {
      moved = false;
      keys.forEach(function (key) {
        const pins = trust.pins.get(key.organisation) || new Set();
        const bringers = key.registration.batch.keys.filter(function (other) { return other !== key && other.organisation === key.organisation && other.good; });
        const good = key.good || first.has(key.organisation + " " + key.keyid) || bringers.length > 0;
        const pinned = key.pinned || (good && (pins.has(key.keyid) || bringers.some(function (other) { return other.pinned; })));
        if (good !== key.good || pinned !== key.pinned) { key.good = good; key.pinned = pinned; moved = true; }
      });
    }
    keys.forEach(function (key) {
      need(key.good, "key.line", "signing_key:" + key.keyid, "no way to the first key of " + key.organisation);
      need(key.pinned || !trust.pins.has(key.organisation), "key.pin", "signing_key:" + key.keyid, "your trust file pins other keys of " + key.organisation);
    });
  }

  function checkLinks(b, chains, names) {
    const causes = new Set();
    b.subjects.forEach(function (subject) {
      chains.get(subject).forEach(function (leaf) {
        if (leaf.redacted || leaf.event.type !== "custody.linked") { return; }
        const place = seqPlace(leaf), data = leaf.event.data;
        M.members(data, "event.data", place, ["cause", "effect"]);
        M.members(data.cause, "event.data", place, ["subject", "seq", "hash"]);
        const cause = (chains.get(data.cause.subject) || []).find(function (other) { return other.seq === data.cause.seq; });
        need(cause && cause.hash === data.cause.hash, "link.cause", place, "the cause is missing or another");
        causes.add(cause);
        if (cause.redacted) { return; }
        need(cause.event.type === data.effect, "link.effect", place, "says " + data.effect + ", the cause is " + cause.event.type);
        const children = cause.event.data.children;
        if (data.effect === "delivery.packed") {
          need(Array.isArray(children) && children.some(function (child) { return names.get(subject).has(child); }), "link.member", place, "the packed unit does not list this meter");
        }
      });
    });
    return causes;
  }

  async function checkHeads(b, complete, chains, trust, head, notes) {
    const envelope = M.readEnvelope(b.heads, M.HEADS, "heads"), p = envelope.payload;
    M.members(p, "heads.form", "heads", ["v", "log", "size", "root", "issued_at", "heads"]);
    M.instant(p.issued_at, "heads");
    need(p.v === 1 && Array.isArray(p.heads) && p.heads.length >= 1, "heads.form", "heads", "members");
    need(envelope.signatures.length === 1, "receipt.key", "heads", "not one signature");
    const key = trust.receiptKeys.get(envelope.signatures[0].keyid);
    need(key && await M.verifies(key, envelope.signatures[0].sig, envelope.message), "receipt.key", "heads", "not signed by the receipt key you trust");
    const end = trust.revoked.get("receipt " + key.keyid);
    if (end) {
      need(M.instant(p.issued_at, "heads") < end.at, "key.revoked", "heads", "issued at " + p.issued_at + "; " + key.keyid + " was revoked from " + end.stated + " on");
      notes.push("its key was revoked from " + end.stated + " on (" + end.reason + "), and only itself says that it is older");
    }
    need(p.log === trust.origin, "receipt.log", "heads", "of another log");
    need(M.integer(p.size, 1, Number.MAX_SAFE_INTEGER) && BigInt(p.size) === head.size && p.root === M.hex(head.root), "heads.checkpoint", "heads", "of another tree");
    p.heads.forEach(function (one, i) {
      M.members(one, "heads.form", "heads", ["subject", "seq", "hash"]);
      need(i === 0 || p.heads[i - 1].subject < one.subject, "heads.form", "heads", "unsorted, or one chain twice");
    });
    const stated = p.heads.map(function (one) { return one.subject; });
    need(stated.length === complete.size && stated.every(function (subject) { return complete.has(subject); }), "heads.subjects", "heads", "not exactly the complete chains");
    p.heads.forEach(function (one) {
      const last = chains.get(one.subject).at(-1);
      need(last.seq >= one.seq, "bundle.incomplete", one.subject, "ends at event " + last.seq + ", its signed head is event " + one.seq);
      need(last.seq === one.seq && last.hash === one.hash, "heads.subjects", one.subject, "its last entry is not the signed head");
    });
    return p;
  }

  /* Which keys of the log were revoked, as log-keys.proof shows; none without that file. It must be under a checkpoint that
     the key of log.vkey signed, and that did not revoke it: a thief of an older key cannot take its revocation back. */
  const HARMLESS = /^(?:superseded|ceased)/; // nobody else had the key: what it signed and nothing dates still counts
  async function readRevocations(files, origin) {
    const revoked = new Map(), place = "log-keys.proof";
    if (!files.keyProof) { return revoked; }
    if (!files.vkey) { M.uncheckable("trust.form", place, "log.vkey is needed beside it"); }
    const trust = await M.readTrust({ trust: files.trust, vkey: files.vkey }), subject = "log:origin:" + percent(origin), inner = { notes: [] };
    try {
      await check(new TextEncoder().encode(files.keyProof), trust, function () { return undefined; }, inner);
      need(inner.subjects.includes(subject), "bundle.incomplete", place, "it does not show the log's own chain");
      inner.chains.get(subject).forEach(function (leaf) {
        if (leaf.event.type !== "log.key_revoked") { return; }
        const data = leaf.event.data, key = data.use + " " + data.keyid;
        if (!revoked.has(key)) { revoked.set(key, { at: M.instant(data.effective_at, place), stated: data.effective_at, reason: data.reason, harmless: HARMLESS.test(data.reason) }); }
      });
    } catch (error) {
      if (!(error instanceof M.Failure)) { throw error; }
      M.uncheckable("trust.form", place, error.message + " (" + error.code + ", " + error.place + ")");
    }
    if (revoked.has("log " + M.hex(trust.logs[0].id))) { M.uncheckable("trust.form", place, "the key of log.vkey was revoked: get a newer trust folder"); }
    return revoked;
  }
  /* A line of a revoked key counts if nothing dates the checkpoint and nobody else had the key. Time stamps, which may show
     that it is older, are not checked here. */
  function requireStandingKey(signedBy, timeTokens, trust, notes) {
    const ends = signedBy.map(function (id) { return trust.revoked.get("log " + id); });
    if (!ends.length || !ends.every(Boolean)) { return ""; }
    const end = ends.reduce(function (last, other) { return other.at > last.at ? other : last; });
    const words = signedBy[0] + " was revoked from " + end.stated + " on";
    if (!end.harmless && timeTokens) { M.uncheckable("key.revoked", "checkpoint", words + "; whether its time stamps are older is not checked here"); }
    need(end.harmless, "key.revoked", "checkpoint", words + ", nothing dates the checkpoint before that");
    const note = "nothing dates this checkpoint; its key was given up, not lost, says the log";
    notes.push(note);
    return " Note: " + words + "; " + note + ".";
  }

  async function run(bytes, files, step, result) {
    if (!window.isSecureContext || !crypto.subtle) { M.uncheckable("keys.missing", "browser", "this page was not loaded over HTTPS or from this computer, so the browser gives no cryptography"); }
    const trust = await M.readTrust(files);
    trust.revoked = await readRevocations(files, trust.origin);
    await check(bytes, trust, step, result);
  }
  async function check(bytes, trust, step, result) {
    const b = readBundle(bytes, trust);
    step("file", "ok", count(b.entries.length, "entry", "entries") + " in " + count(b.batches.length, "batch", "batches") + ", canonical, of the log " + b.log + ".");
    result.step = "checkpoint";
    const head = await M.checkCheckpoint(b, trust);
    result.size = head.size;
    const standing = requireStandingKey(head.signedBy, b.time_tokens.length, trust, result.notes);
    step("checkpoint", "ok", "Ed25519 signature by " + trust.origin + " over size " + head.size.toLocaleString("en-GB") + "." + standing);
    result.step = "witnesses";
    const agreed = await M.checkWitnesses(head.note, trust);
    step("witnesses", "ok", trust.quorum === "none" ? "The policy asks for no witness, so only the operator's key speaks for this checkpoint." : agreed + " of " + trust.witnesses.size + " cosignatures valid, as many as the policy asks for.");
    result.step = "inclusion";
    const leaves = await readLeaves(b, head);
    step("inclusion", "ok", count(leaves.length, "proof path leads", "proof paths lead") + " to the checkpoint root " + short(M.hex(head.root)));
    result.step = "chain";
    explainRedactions(leaves);
    const chains = new Map();
    leaves.forEach(function (leaf) { if (!chains.has(leaf.subject)) { chains.set(leaf.subject, []); } chains.get(leaf.subject).push(leaf); });
    need(leaves[0].leaf === 0 && !leaves[0].redacted && leaves[0].event.type === "log.created" && leaves[0].event.data.origin === trust.origin, "log.first", "leaf 0", "leaf 0 is not the creation of this log");
    const batches = await readBatches(b, leaves, trust);
    const complete = new Set(b.subjects);
    batches.forEach(function (batch) {
      complete.add("organisation:org:" + batch.payload.issuer);
      complete.add("organisation:org:" + batch.author);
      batch.envelope.signatures.forEach(function (one) { complete.add("signing_key:" + one.keyid); });
    });
    const keys = await readKeys(chains);
    keys.forEach(function (key) { complete.add("organisation:org:" + key.organisation); });
    complete.forEach(function (subject) { need(chains.has(subject), "bundle.incomplete", subject, "its chain is missing"); });
    const names = new Map();
    chains.forEach(function (chain, subject) { names.set(subject, checkChain(chain, complete.has(subject))); });
    const about = leaves.filter(function (leaf) { return b.subjects.includes(leaf.subject); });
    const redacted = leaves.filter(function (leaf) { return leaf.redacted; });
    step("chain", "ok", count(about.length, "event", "events") + " of " + count(b.subjects.length, "history", "histories") + " recomputed and linked" + (redacted.length ? ", " + redacted.length + " redacted" : "") + ". Head " + short(chains.get(b.subjects[0]).at(-1).hash));
    result.step = "signatures";
    const late = [], signatures = await checkSignatures(batches, keys, late);
    result.notes.push(...late);
    followLines(keys, chains, trust);
    const causes = checkLinks(b, chains, names);
    const needed = new Set([leaves[0]].concat(Array.from(causes), redacted.map(function (leaf) { return leaf.why; })));
    leaves.forEach(function (leaf) { need(complete.has(leaf.subject) || needed.has(leaf), "bundle.unused", leaf.place, "nobody asked for it"); });
    const issuers = new Set(about.filter(function (leaf) { return leaf.batch; }).map(function (leaf) { return leaf.batch.vouched ? "" : leaf.batch.payload.issuer; }));
    const vouched = issuers.delete(""), pinned = Array.from(issuers).filter(function (id) { return trust.pins.has(id); });
    step("signatures", "ok", count(signatures, "signature", "signatures") + " valid. Keys pinned by the trust file: " + (pinned.sort().join(", ") || "none") + ". Vouched for by the operator's log only: "
      + (Array.from(issuers).filter(function (id) { return !trust.pins.has(id); }).sort().join(", ") || "none") + "." + (vouched ? " Some events are vouched for by the platform." : "")
      + (late.length ? " " + count(late.length, "entry was", "entries were") + " signed after a key's stated loss." : ""));
    result.step = "heads";
    const heads = await checkHeads(b, complete, chains, trust, head, result.notes);
    step("heads", "ok", "Complete up to event " + chains.get(b.subjects[0]).at(-1).seq + " under this checkpoint, by the operator's signed word the last (" + heads.issued_at.slice(0, 16).replace("T", " ") + " UTC).");
    result.subjects = b.subjects;
    result.chains = chains;
    result.timeTokens = b.time_tokens.length;
    result.redacted = redacted.map(function (leaf) { return leaf.leaf; });
    result.entries = about.map(function (leaf) { return { subject: leaf.subject, seq: leaf.seq, hash: leaf.hash, leaf: leaf.leaf, type: leaf.redacted ? null : leaf.event.type }; });
  }

  M.verifyBundle = async function (bytes, files, step) {
    const result = { ok: false, exit: 0, code: "ok", place: "", detail: "", step: "file", notes: [], entries: [], redacted: [], subjects: [] };
    try {
      await run(bytes, files, step, result);
      result.ok = true;
    } catch (error) {
      if (!(error instanceof M.Failure)) { throw error; }
      Object.assign(result, { exit: error.exit, code: error.code, place: error.place, detail: error.message });
      step(result.step, "bad", (error.exit === 2 ? "Could not be checked: " : "Does not verify: ") + error.message + " (" + error.code + ", " + error.place + ").");
    }
    return result;
  };
}());
