"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const size = 200, body = document.querySelector("#table tbody");
  const find = document.getElementById("find"), verdict = document.getElementById("verdict"), mark = document.getElementById("mark");
  // A row is [verdict, at best, name, principal, department, [marks], [sentences]], all but the names as places in lists.
  const marks = r => r[5].map(i => data.marks[i]).join(", ");
  const reasons = r => r[6].map(i => data.sentences[i]).join("; ");
  const text = [r => data.verdicts[r[0]], r => data.verdicts[r[1]], r => r[2], r => r[3], r => data.departments[r[4]], marks, reasons];
  const order = new Intl.Collator(undefined, {sensitivity: "base", numeric: true});
  let rows = data.rows, start = 0, sorted = -1, down = false;
  const compare = c => c < 2 ? (a, b) => a[c] - b[c] : (a, b) => order.compare(text[c](a), text[c](b));
  const cell = (tr, value, isolate) => {
    const td = tr.insertCell();
    if (isolate) td.appendChild(document.createElement("bdi")).textContent = value; else td.textContent = value;
    return td;
  };
  const show = () => {
    const page = rows.slice(start, start + size), part = document.createDocumentFragment();
    for (const r of page) {
      const tr = part.appendChild(document.createElement("tr"));
      text.forEach((t, c) => { const td = cell(tr, t(r), c > 1 && c < 5); if (c === 0) td.className = t(r); });
    }
    body.replaceChildren(part);
    document.getElementById("shown").textContent = rows.length ? (start + 1) + "–" + (start + page.length) + " of " + rows.length : "nobody";
    document.getElementById("before").disabled = start === 0;
    document.getElementById("after").disabled = start + size >= rows.length;
  };
  const choose = () => {
    const wanted = find.value.trim().toLowerCase(), v = data.verdicts.indexOf(verdict.value), m = data.marks.indexOf(mark.value);
    rows = data.rows.filter(r => (v < 0 || r[0] === v) && (m < 0 || r[5].includes(m)) &&
      (!wanted || (r[2] + " " + r[3] + " " + data.departments[r[4]]).toLowerCase().includes(wanted)));
    if (sorted >= 0) { rows.sort(compare(sorted)); if (down) rows.reverse(); }
    start = 0;
    show();
  };
  document.querySelectorAll("#table th").forEach((th, c) => {
    const b = document.createElement("button");
    b.type = "button";
    b.textContent = th.textContent;
    b.addEventListener("click", () => {
      down = sorted === c && !down;
      sorted = c;
      document.querySelectorAll("#table th").forEach(o => o.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      choose();
    });
    th.replaceChildren(b);
  });
  let waiting = 0;
  find.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(choose, 150); });
  verdict.addEventListener("change", choose);
  mark.addEventListener("change", choose);
  document.getElementById("before").addEventListener("click", () => { start = Math.max(0, start - size); show(); });
  document.getElementById("after").addEventListener("click", () => { start += size; show(); });
  document.getElementById("controls").addEventListener("submit", e => e.preventDefault());
  document.getElementById("controls").hidden = false;
  choose();
})();
