/* Progressive enhancement only. Every page works without this file. */
(function () {
  "use strict";
  const doc = document, root = doc.documentElement;
  function $(selector, within) { return (within || doc).querySelector(selector); }
  function $$(selector, within) { return Array.from((within || doc).querySelectorAll(selector)); }
  function say(words) { const live = $("#live"); if (live) { live.textContent = words; } }
  function load(key) { try { return localStorage.getItem(key); } catch (e) { return null; } }
  function save(key, value) { try { localStorage.setItem(key, value); } catch (e) { /* private mode */ } }

  /* theme and density, remembered on this device */
  const themes = ["system", "light", "dark"];
  let theme = load("mp-theme"), density = load("mp-density") === "comfortable" ? "comfortable" : "compact";
  if (!themes.includes(theme)) { theme = "system"; }
  function applyTheme() {
    if (theme === "system") { root.removeAttribute("data-theme"); } else { root.setAttribute("data-theme", theme); }
    $$("[data-theme-toggle]").forEach(function (button) { button.hidden = false; button.textContent = "Theme: " + theme; });
  }
  function applyDensity() {
    root.setAttribute("data-density", density);
    $$("button[data-density]").forEach(function (button) { button.hidden = false; button.textContent = "Density: " + density; });
  }
  applyTheme();
  applyDensity();
  $$("[data-theme-toggle]").forEach(function (button) {
    button.addEventListener("click", function () { theme = themes[(themes.indexOf(theme) + 1) % 3]; save("mp-theme", theme); applyTheme(); say("Theme " + theme); });
  });
  $$("button[data-density]").forEach(function (button) {
    button.addEventListener("click", function () { density = density === "compact" ? "comfortable" : "compact"; save("mp-density", density); applyDensity(); say("Density " + density); });
  });

  /* dialogs and the menu of narrow screens */
  const find = $("#cmd"), help = $("#help");
  function openFind() { if (find && !find.open) { find.showModal(); $("#cmdq").select(); } }
  $$("[data-find]").forEach(function (link) { link.addEventListener("click", function (e) { if (find) { e.preventDefault(); openFind(); } }); });
  $$("[data-help]").forEach(function (button) { button.hidden = false; button.addEventListener("click", function () { help.showModal(); }); });
  $$("[data-menu]").forEach(function (button) {
    function toggle(e) {
      const open = $("#rail").toggleAttribute("data-open");
      e.preventDefault();
      button.setAttribute("aria-expanded", String(open));
    }
    button.addEventListener("click", toggle);
    button.addEventListener("keydown", function (e) { if (e.key === " ") { toggle(e); } });
  });
  $$("dialog").forEach(function (dialog) { dialog.addEventListener("click", function (e) { if (e.target === dialog) { dialog.close(); } }); });
  if (find) {
    find.addEventListener("keydown", function (e) {
      if (e.key !== "ArrowDown" && e.key !== "ArrowUp") { return; }
      const links = $$("a", find), next = links.indexOf(doc.activeElement) + (e.key === "ArrowDown" ? 1 : -1);
      e.preventDefault();
      if (next < 0) { $("#cmdq").focus(); } else if (links[next]) { links[next].focus(); }
    });
  }
  if (matchMedia("(max-width:820px)").matches) { $$(".facetbox").forEach(function (box) { box.removeAttribute("open"); }); }

  /* an error summary takes the focus, so that it is read first */
  const summary = $(".errsum");
  if (summary) { summary.focus(); }

  /* single keys: j and k over [data-rows] > *, x selects, g then a letter goes; they can be switched off */
  let at = -1, pendingG = 0;
  const keys = $("[data-keys]");
  if (keys) {
    keys.checked = load("mp-keys") !== "off";
    keys.addEventListener("change", function () { save("mp-keys", keys.checked ? "on" : "off"); });
  }
  function rows() { return $$("[data-rows] > *"); }
  function move(step) {
    const all = rows();
    if (!all.length) { return; }
    if (all[at]) { all[at].classList.remove("at"); }
    at = Math.max(0, Math.min(all.length - 1, at + step));
    all[at].classList.add("at");
    all[at].scrollIntoView({ block: "nearest" });
    const link = $("a, summary", all[at]);
    if (link) { link.focus({ preventScroll: true }); }
  }
  doc.addEventListener("keydown", function (e) {
    if ((e.metaKey || e.ctrlKey) && e.key.toLowerCase() === "k") { e.preventDefault(); openFind(); return; }
    if (e.metaKey || e.ctrlKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName) || $("dialog[open]") || (keys && !keys.checked)) { return; }
    const target = pendingG && Date.now() - pendingG < 1200 ? $$("[data-go]").find(function (link) { return link.dataset.go === e.key; }) : null;
    pendingG = 0;
    if (target) { location.href = target.href; return; }
    if (e.key === "j") { move(1); } else if (e.key === "k") { move(-1); }
    else if (e.key === "g") { pendingG = Date.now(); }
    else if (e.key === "?" && help) { help.showModal(); }
    else if (e.key === "/") { const filter = $("[data-filter]"); if (filter) { e.preventDefault(); filter.focus(); } }
    else if (e.key === "x") { const box = rows()[at] && $("input[type=checkbox]", rows()[at]); if (box) { box.click(); } }
    else if (e.key === "v") { const verify = $("[data-verify]"); if (verify) { verify.click(); } }
  });

  /* row selection */
  const counter = $("[data-selcount]"), boxes = $$("[data-rows] input[type=checkbox]"), all = $("[data-selall]");
  function sync() {
    const chosen = boxes.filter(function (box) { return box.checked; }).length;
    boxes.forEach(function (box) { box.closest("tr").setAttribute("aria-selected", String(box.checked)); });
    counter.textContent = chosen + " selected";
    counter.closest(".bulk").hidden = chosen === 0;
    if (all) { all.checked = chosen > 0 && chosen === boxes.length; }
  }
  if (counter) {
    boxes.forEach(function (box) { box.addEventListener("change", sync); });
    if (all) { all.hidden = false; all.addEventListener("change", function () { boxes.forEach(function (box) { box.checked = all.checked; }); sync(); }); }
    sync();
  }

  /* copy, and print */
  $$("[data-copy]").forEach(function (button) {
    if (!navigator.clipboard) { return; }
    button.hidden = false;
    button.addEventListener("click", function () {
      navigator.clipboard.writeText(button.getAttribute("data-copy")).then(function () { say("Copied"); button.textContent = "Copied"; });
    });
  });

  /* a page that waits for a job asks how far it is; without script the page refreshes itself */
  const waiting = $("[data-poll]");
  async function ask() {
    if (doc.hidden || !waiting) { return; }
    const answer = await fetch(waiting.dataset.poll, { headers: { Accept: "application/json" } });
    if (!answer.ok) { return; }
    const job = await answer.json();
    if (job.over) { location.reload(); return; }
    $$("[data-job]").forEach(function (place) { place.textContent = job[place.dataset.job]; });
    $$("progress").forEach(function (bar) { bar.value = job.percent; });
  }
  if (waiting) { setInterval(function () { ask().catch(function () { /* the next round asks again */ }); }, 3000); }
}());
