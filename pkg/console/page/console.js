// Live progress and keyboard shortcuts. Every page works without it.
"use strict";

const off = "mfaflow-keys-off";

// A part of the page that follows a replay, until it is over.
function follow(part) {
  const again = (ms) => setTimeout(look, ms);
  let last = "";
  async function look() {
    if (document.hidden) return again(1000);
    try {
      const answer = await fetch(part.dataset.follow, { credentials: "same-origin" });
      if (!answer.ok) return location.reload();
      const text = await answer.text();
      if (text !== last) {
        last = text;
        const held = document.activeElement && part.contains(document.activeElement) ? document.activeElement.id : "";
        part.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
        if (held) document.getElementById(held)?.focus();
      }
      const phase = part.querySelector("[data-phase]")?.dataset.phase;
      if (phase === "running") again(400);
      else if (phase === "paused") again(1500);
    } catch {
      again(3000);
    }
  }
  again(200);
}

// Rows are walked with j and k.
function walk(step) {
  const rows = [...document.querySelectorAll("tr[data-row] a.open")];
  if (!rows.length) return;
  const at = rows.findIndex((a) => a.closest("tr").contains(document.activeElement));
  rows[Math.min(Math.max(at + step, 0), rows.length - 1)].focus();
}

const pages = { o: "overview", d: "entries", q: "quarantine", h: "holds", f: "flags", r: "replays", p: "person", a: "audit" };
let going = false;

function onKey(e) {
  if (e.ctrlKey || e.metaKey || e.altKey || localStorage.getItem(off)) return;
  const t = e.target;
  if (t.isContentEditable || /^(TEXTAREA|SELECT)$/.test(t.tagName) || (t.tagName === "INPUT" && !/^(checkbox|radio)$/.test(t.type))) {
    if (e.key === "Escape") t.blur();
    return;
  }
  if (going) {
    going = false;
    const link = document.querySelector(`[data-go="${pages[e.key]}"]`);
    if (link) { e.preventDefault(); link.click(); }
    return;
  }
  const row = document.activeElement?.closest?.("tr[data-row]");
  switch (e.key) {
    case "g": going = true; setTimeout(() => { going = false; }, 1500); break;
    case "j": walk(1); break;
    case "k": walk(-1); break;
    case "x": row?.querySelector("input[type=checkbox]")?.click(); break;
    case "/": { const f = document.querySelector("[data-search]"); if (f) { e.preventDefault(); f.focus(); f.select(); } break; }
    default: document.querySelector(`[data-key="${CSS.escape(e.key)}"]`)?.click();
  }
}

document.addEventListener("keydown", onKey);
document.querySelectorAll("[data-follow]").forEach(follow);
document.querySelectorAll("[data-reload]").forEach((e) => setTimeout(() => location.reload(), Number(e.dataset.reload)));
// On a narrow screen a filter that filters nothing is folded away.
const narrow = matchMedia("(max-width: 56rem)");
const fold = () => document.querySelectorAll("[data-fold]").forEach((e) => { e.open = !narrow.matches || location.search.length > 1; });
narrow.addEventListener("change", fold);
fold();
document.querySelectorAll("[data-all]").forEach((all) => all.addEventListener("change", () => {
  all.form.querySelectorAll("td.tick input").forEach((one) => { one.checked = all.checked; });
}));
document.querySelectorAll("[data-keys-off]").forEach((box) => {
  box.checked = Boolean(localStorage.getItem(off));
  box.addEventListener("change", () => box.checked ? localStorage.setItem(off, "1") : localStorage.removeItem(off));
});
