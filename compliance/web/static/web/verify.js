/* The verification panel: gets a proof bundle, runs bundle.js over it on this device, shows each step. Nothing is sent.

   The trust data is the page's own (#trust) until the reader chooses files: log.vkey or policy, trust.json, log-keys.proof. */
(function () {
  "use strict";
  const panel = document.querySelector(".verify");
  if (!panel) { return; }
  const SHAPES = { ok: "M8 1.7a6.3 6.3 0 1 0 .001 0zM5 8.2l2.1 2.1L11 6.2", bad: "M3 3l10 10M13 3L3 13", wait: "M8 2.5a5.5 5.5 0 1 0 .001 0" };
  const out = panel.querySelector("[data-out]"), live = document.getElementById("live"), pageTrust = document.getElementById("trust");
  let ownTrust = null, bundle = null, running = false;

  function show(name, state, words) {
    const line = panel.querySelector('[data-step="' + name + '"]');
    if (!line) { return; }
    line.setAttribute("data-state", state);
    line.querySelector(".d").textContent = words;
    line.querySelector("path").setAttribute("d", SHAPES[state]);
    line.querySelector("[data-said]").textContent = state === "ok" ? "Passed: " : "Failed: ";
  }
  function reset() {
    panel.querySelectorAll("li[data-step]").forEach(function (line) {
      line.removeAttribute("data-state");
      line.querySelector(".d").textContent = line.dataset.plan;
      line.querySelector("path").setAttribute("d", SHAPES.wait);
      line.querySelector("[data-said]").textContent = "";
    });
    document.querySelectorAll("[data-verdict]").forEach(function (verdict) { verdict.hidden = true; });
  }
  function conclude(kind, words) {
    out.hidden = false;
    out.className = "note note-" + kind;
    out.textContent = words;
    if (live) { live.textContent = words; }
    const verdict = document.querySelector('[data-verdict="' + kind + '"]');
    if (verdict) {
      verdict.hidden = false;
      verdict.querySelector("[data-words]").textContent = words;
    }
  }
  /* The proof speaks of the bundle; the reader looks at the page. Say so if the page shows anything else. */
  function differsFromPage(result) {
    const proven = new Map(result.entries.map(function (entry) { return [entry.subject + " " + entry.seq, entry.hash]; }));
    return Array.from(document.querySelectorAll(".ev[data-hash]")).find(function (event) {
      return proven.get(event.dataset.subject + " " + event.dataset.seq) !== event.dataset.hash;
    });
  }
  async function run(bytes, name) {
    if (running) { return; }
    running = true;
    reset();
    const began = performance.now();
    try {
      const result = await window.Meterproof.verifyBundle(bytes, ownTrust || JSON.parse(pageTrust.textContent), show);
      const spent = Math.round(performance.now() - began) + " ms";
      const other = result.ok && !panel.hasAttribute("data-any") ? differsFromPage(result) : null;
      if (other) {
        conclude("bad", "The proof holds, but event " + other.dataset.seq + " on this page is not the one it proves. Do not rely on this page.");
      } else if (result.ok) {
        conclude("ok", "Verified in this browser in " + spent + (name ? ": " + name : "") + ". Nothing was sent. Keys: " + (ownTrust ? "your own trust files." : "those of this page.")
          + (result.timeTokens ? " Time tokens are not checked here; the command-line verifier does." : ""));
      } else if (result.exit === 2) {
        conclude("warn", "Could not be checked here: " + result.detail + ". The command-line verifier may be able to.");
      } else {
        conclude("bad", "Does not verify: " + result.detail + " (" + result.code + ", " + result.place + "). Do not rely on this history; report the failed step.");
      }
    } catch (error) {
      conclude("warn", "Could not be checked here (" + error.name + "). Use the command-line verifier.");
    } finally { running = false; }
  }
  async function download() {
    if (bundle) { return bundle; }
    const answer = await fetch(panel.dataset.bundle, { credentials: "same-origin" });
    if (!answer.ok) {
      conclude("warn", answer.status === 409 ? "The last events are recorded but not under a checkpoint yet. Try again in a minute." : "The server gave no proof bundle (status " + answer.status + ").");
      return null;
    }
    bundle = new Uint8Array(await answer.arrayBuffer());
    return bundle;
  }
  /* One second of one event changed, everything else left as it is. */
  function altered(bytes) {
    const value = JSON.parse(new TextDecoder().decode(bytes)), subject = value.subjects[0];
    const own = value.entries.filter(function (item) { return item.entry && JSON.parse(decode(item.entry)).subject === subject; });
    const victim = own[Math.floor(own.length / 2)];
    victim.entry = encode(decode(victim.entry).replace(/("occurred_at":"[^"]*:\d)(\d)/, function (all, before, digit) { return before + (Number(digit) + 1) % 10; }));
    return new TextEncoder().encode(JSON.stringify(value));
  }
  function decode(base64) { return new TextDecoder().decode(Uint8Array.from(atob(base64), function (c) { return c.charCodeAt(0); })); }
  function encode(text) { return btoa(Array.from(new TextEncoder().encode(text), function (byte) { return String.fromCharCode(byte); }).join("")); }

  panel.querySelectorAll("[data-verify]").forEach(function (button) {
    button.hidden = false;
    button.addEventListener("click", async function () { const bytes = await download(); if (bytes) { run(bytes, ""); } });
  });
  panel.querySelectorAll("[data-tamper]").forEach(function (button) {
    button.hidden = false;
    button.addEventListener("click", async function () { const bytes = await download(); if (bytes) { run(altered(bytes), ""); } });
  });

  const own = document.querySelector("[data-trust]");
  if (own) {
    own.addEventListener("change", async function () {
      const said = document.querySelector("[data-trust-said]"), files = {};
      for (const file of own.files) {
        const text = await file.text();
        if (file.name.endsWith(".vkey")) { files.vkey = text; } else if (file.name.endsWith(".json")) { files.trust = text; }
        else if (file.name.endsWith(".proof")) { files.keyProof = text; } else { files.policy = text; }
      }
      const enough = files.trust && (files.vkey || files.policy);
      ownTrust = enough ? files : null;
      said.textContent = enough ? "Using your own trust files." : "Choose trust.json together with policy or log.vkey. Still using the keys of this page.";
    });
  }

  const drop = document.querySelector("[data-drop]");
  async function take(file) {
    const said = document.querySelector("[data-picked]");
    if (!file) { return; }
    said.textContent = file.name;
    if (file.size > window.Meterproof.MAX_BUNDLE_BYTES) { conclude("warn", "Could not be checked here: a bundle has at most 64 MiB."); return; }
    bundle = new Uint8Array(await file.arrayBuffer());
    if (String.fromCharCode.apply(null, bundle.slice(0, 5)) === "%PDF-") {
      reset();
      conclude("warn", "Could not be checked here: PDF reports need the command-line verifier. The proof bundle attached to the report can be checked here.");
      return;
    }
    run(bundle, file.name);
  }
  if (drop) {
    const input = drop.querySelector("input[type=file]");
    input.addEventListener("change", function () { take(input.files[0]); });
    ["dragover", "dragleave", "drop"].forEach(function (name) {
      drop.addEventListener(name, function (e) {
        e.preventDefault();
        drop.classList.toggle("over", name === "dragover");
        if (name === "drop") { take(e.dataTransfer.files[0]); }
      });
    });
  }
}());
