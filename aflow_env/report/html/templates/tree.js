"use strict";
// SPDX-License-Identifier: Apache-2.0
// The search tree on a canvas. Positions are in [0, 1]; `view` maps them to pixels. Only what is visible is drawn.
const $ = (id) => document.getElementById(id);
const D = JSON.parse($("nodes").textContent);
const COUNT = D.round.length;
const canvas = $("canvas"), pen = canvas.getContext("2d");
const children = Array.from({ length: COUNT }, () => []);
for (let i = 0; i < COUNT; i++) if (D.parent[i] >= 0) children[D.parent[i]].push(i);
const depth = new Int32Array(COUNT);
for (let i = 0; i < COUNT; i++) if (D.parent[i] >= 0) depth[i] = depth[D.parent[i]] + 1;  // a parent comes before its children

const X = new Float64Array(COUNT), Y = new Float64Array(COUNT);
const shown = new Uint8Array(COUNT);   // 1: in the session, 2: also matches the filter
let members = [], rowsOfTree = 1, onPath = new Set(), chosen = -1, details = null, waiting = false;
let view = { zoom: 1, x: 0, y: 0 };
const width = () => canvas.clientWidth, height = () => canvas.clientHeight, EDGE = 28;
const sx = (i) => view.x + EDGE + X[i] * (width() - 2 * EDGE) * view.zoom;
const sy = (i) => view.y + EDGE + Y[i] * (height() - 2 * EDGE - 18) * view.zoom;

function layOut() {
  if ($("layout").value === "time") {
    let last = 1;
    rowsOfTree = Math.sqrt(members.length) * 2;
    for (const i of members) last = Math.max(last, D.round[i]);
    for (const i of members) {
      const score = D.score[i] ?? (D.parent[i] >= 0 ? D.score[D.parent[i]] : 0) ?? 0;
      X[i] = last > 1 ? (D.round[i] - 1) / (last - 1) : 0.5;
      Y[i] = 1 - score;
    }
    return;
  }
  let leaf = 0, deepest = 1;
  const stack = members.filter((i) => D.parent[i] < 0).reverse().map((i) => [i, false]);
  while (stack.length) {           // children first, then the parent in their middle
    const [i, done] = stack.pop(), below = children[i];
    deepest = Math.max(deepest, depth[i]);
    if (!below.length) Y[i] = leaf++;
    else if (done) Y[i] = (Y[below[0]] + Y[below[below.length - 1]]) / 2;
    else {
      stack.push([i, true]);
      for (let k = below.length - 1; k >= 0; k--) stack.push([below[k], false]);
    }
  }
  rowsOfTree = leaf;
  for (const i of members) { X[i] = depth[i] / deepest; Y[i] = leaf > 1 ? Y[i] / (leaf - 1) : 0.5; }
}

const STOPS = [[49, 53, 143], [42, 127, 158], [63, 181, 107], [232, 210, 47]];
const COLOURS = Array.from({ length: 101 }, (_, k) => {
  const at = (k / 100) * 3, low = Math.min(2, Math.floor(at)), part = at - low;
  return `rgb(${STOPS[low].map((c, j) => Math.round(c + (STOPS[low + 1][j] - c) * part)).join(",")})`;
});
const colour = (score) => COLOURS[Math.round(Math.max(0, Math.min(1, score)) * 100)];

function draw() {
  waiting = false;
  const w = width(), h = height(), ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
    canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio);
  }
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, w, h);
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink"), quiet = style.getPropertyValue("--quiet"), strong = style.getPropertyValue("--s1");
  const ground = style.getPropertyValue("--ground");
  const room = (h * view.zoom) / Math.max(1, rowsOfTree);        // pixels from one row to the next
  const r = Math.max(2.5, Math.min(9, room * 0.4));
  const showPath = $("path").checked;
  const lines = (wanted, stroke, thick) => {
    pen.strokeStyle = stroke; pen.lineWidth = thick; pen.beginPath();
    for (const i of members) {
      const p = D.parent[i];
      if (p < 0 || !wanted(i)) continue;
      const ax = sx(p), ay = sy(p), bx = sx(i), by = sy(i);
      if (Math.max(ax, bx) < 0 || Math.min(ax, bx) > w || Math.max(ay, by) < 0 || Math.min(ay, by) > h) continue;
      pen.moveTo(ax, ay);
      if (members.length > 3000) pen.lineTo(bx, by);
      else { const mid = (ax + bx) / 2; pen.bezierCurveTo(mid, ay, mid, by, bx, by); }
    }
    pen.stroke();
  };
  pen.globalAlpha = members.length > 3000 ? 0.35 : 0.6;
  lines((i) => shown[i] === 2, quiet, 1);
  pen.globalAlpha = 1;
  if (showPath) lines((i) => onPath.has(i), strong, 3);
  pen.font = "11px system-ui, sans-serif"; pen.textAlign = "center";
  for (const i of members) {
    const x = sx(i), y = sy(i);
    if (x < -r || x > w + r || y < -r || y > h + r) continue;
    const special = i === chosen || i === D.best || (showPath && onPath.has(i));
    if (shown[i] !== 2 && !special) continue;
    pen.beginPath(); pen.arc(x, y, special ? r + 2 : r, 0, 7);
    if (D.score[i] === null) { pen.fillStyle = ground; pen.fill(); pen.strokeStyle = quiet; pen.lineWidth = 1.2; pen.stroke(); }
    else { pen.fillStyle = colour(D.score[i]); pen.fill(); }
    if (D.front[i]) { pen.strokeStyle = ink; pen.lineWidth = 1.2; pen.setLineDash([2, 2]); pen.beginPath(); pen.arc(x, y, r + 2.5, 0, 7); pen.stroke(); pen.setLineDash([]); }
    if (i === D.best) { pen.strokeStyle = strong; pen.lineWidth = 2.5; pen.beginPath(); pen.arc(x, y, r + 5, 0, 7); pen.stroke(); }
    if (i === chosen) { pen.strokeStyle = ink; pen.lineWidth = 2; pen.beginPath(); pen.arc(x, y, r + 4, 0, 7); pen.stroke(); }
    if (room > 36 && D.score[i] !== null) { pen.fillStyle = ink; pen.fillText(D.score[i].toFixed(2), x, y + r + 15); }
  }
}
function ask() { if (!waiting) { waiting = true; requestAnimationFrame(draw); } }

function select() {
  const session = $("session").value === "all" ? -1 : Number($("session").value);
  members = [];
  for (let i = 0; i < COUNT; i++) if (session < 0 || D.session[i] === session) members.push(i);
  shown.fill(0);
  onPath = new Set();
  let top = -1;
  for (const i of members) if (D.score[i] !== null && (top < 0 || D.score[i] > D.score[top])) top = i;
  if (session < 0 || (D.best >= 0 && D.session[D.best] === session)) top = D.best;
  for (let i = top; i >= 0; i = D.parent[i]) onPath.add(i);
  layOut(); match(); fit();
}

function match() {
  const text = $("search").value.trim().toLowerCase(), kind = $("filter").value, least = Number($("least").value);
  $("least-said").textContent = least.toFixed(2);
  let found = [];
  for (const i of members) {
    const score = D.score[i];
    let ok = kind === "all" || (kind === "rejected" ? score === null : score !== null);
    if (ok && kind === "better") ok = D.parent[i] >= 0 && score > D.score[D.parent[i]];
    if (ok && least > 0) ok = score !== null && score >= least;
    if (ok && text) ok = String(D.round[i]) === text || (D.digest[i] || "").startsWith(text) || D.text[i].toLowerCase().includes(text) || D.reason[i].toLowerCase().includes(text);
    shown[i] = ok ? 2 : 1;
    if (ok) found.push(i);
  }
  $("matches").textContent = `(${found.length} of ${members.length})`;
  found.sort((a, b) => (D.score[b] ?? -1) - (D.score[a] ?? -1) || a - b);
  $("rows").replaceChildren(...found.slice(0, 100).map((i) => element("li", {}, link(i))));
  ask();
}

function fit() { view = { zoom: 1, x: 0, y: 0 }; ask(); }
function zoomAt(factor, px, py) {
  const zoom = Math.max(0.5, Math.min(400, view.zoom * factor)), f = zoom / view.zoom;
  view = { zoom, x: px - EDGE - (px - EDGE - view.x) * f, y: py - EDGE - (py - EDGE - view.y) * f };
  ask();
}
function at(px, py) {
  let best = -1, nearest = 14 * 14;
  for (const i of members) {
    if (shown[i] !== 2 && !(onPath.has(i) && $("path").checked)) continue;
    const dx = sx(i) - px, dy = sy(i) - py, d = dx * dx + dy * dy;
    if (d < nearest) { nearest = d; best = i; }
  }
  return best;
}

function element(name, attributes, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}
const figure = (i) => (D.score[i] === null ? "rejected" : `${D.score[i].toFixed(3)} [${D.low[i].toFixed(2)}, ${D.high[i].toFixed(2)}], n=${D.n[i]}`);
const price = (i) => (!D.unpriced[i] ? `${D.cost[i].toFixed(4)} USD` + (D.usd[i] === null ? "" : `, ${D.usd[i].toFixed(6)} a problem`) : D.unpriced[i] === D.calls[i] ? "USD unknown" : `at least ${D.cost[i].toFixed(4)} USD`);
function link(i) {
  const made = element("button", { type: "button", class: "link" }, `round ${D.round[i]}: ${figure(i)} · ${D.text[i]}`);
  made.addEventListener("click", () => choose(i, true));
  return made;
}

async function open() {
  if (!details) {
    const bytes = Uint8Array.from(atob($("details").textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    details = JSON.parse(await new Response(stream).text());
  }
  return details;
}

async function choose(i, centre) {
  if (i < 0) return;
  chosen = i;
  if (D.session[i] !== Number($("session").value) && $("session").value !== "all") { $("session").value = String(D.session[i]); select(); }
  if (centre) {
    const x = sx(i), y = sy(i);
    if (x < 0 || x > width() || y < 0 || y > height()) { view.x += width() / 2 - x; view.y += height() / 2 - y; }
  }
  ask();
  const known = await open();
  if (chosen !== i) return;                                     // another click was quicker
  const panel = $("panel"), p = D.parent[i], program = known.programs[D.program[i]];
  const parts = [element("h2", {}, `Round ${D.round[i]}: ${figure(i)}`)];
  if (D.digest[i]) parts.push(element("p", { class: "quiet" }, `workflow ${D.digest[i]} · ${price(i)}, ${D.calls[i]} calls`));
  if (D.front[i]) parts.push(element("p", {}, "On the front: no workflow of the run beats it in score and cost."));
  parts.push(element("p", {}, D.text[i]));
  if (D.reason[i]) parts.push(element("p", {}, element("b", {}, "Not run: "), D.reason[i]));
  if (D.q[i] !== null) parts.push(element("p", {}, `Predicted before it was run: Q = ${D.q[i].toFixed(3)}.`));
  if (p >= 0) parts.push(element("h3", {}, "Parent"), link(p));
  const outcomes = Object.entries(D.outcomes[i]);
  if (D.truncated[i]) outcomes.push(["truncated replies", D.truncated[i]]);
  if (outcomes.length) parts.push(element("h3", {}, "Outcomes"), element("p", {}, outcomes.map(([name, n]) => `${name} ${n}`).join(", ")));
  const failed = (D.digest[i] && known.failed[D.digest[i]]) || [];
  if (failed.length) parts.push(element("h3", {}, "Failed cases, the first of them"), element("ul", {}, ...failed.map(failedCase)));
  if (children[i].length) {
    const tried = children[i].slice().sort((a, b) => (D.score[b] ?? -1) - (D.score[a] ?? -1));
    const word = (c) => (D.score[c] === null ? "rejected" : D.score[c] > D.score[i] ? "helped" : D.score[c] === D.score[i] ? "did not help" : "hurt");
    parts.push(element("h3", {}, `Experience: ${tried.length} changes were tried from here`), element("ul", {}, ...tried.slice(0, 40).map((c) => element("li", {}, `${word(c)}: `, link(c)))));
  }
  if (program && p >= 0) parts.push(element("h3", {}, "Difference to the parent"), difference(known.programs[D.program[p]], program));
  if (program) parts.push(element("h3", {}, "graph.py"), element("pre", { tabindex: "0" }, program[0]), element("h3", {}, "prompt.py"), element("pre", { tabindex: "0" }, program[1] || "(no prompts)"));
  if (known.edits[i]) parts.push(element("h3", {}, "What the proposer wrote"), element("pre", { tabindex: "0" }, known.edits[i]));
  panel.replaceChildren(...parts);
  panel.scrollTop = 0;
}

function failedCase([id, how, said, feedback, steps]) {
  const made = element("li", {}, `${id}, ${how}: ${said}`);
  if (feedback) made.append(element("p", {}, element("b", {}, "Feedback: "), feedback));
  if (steps) made.append(element("pre", { tabindex: "0" }, steps));
  return made;
}

function difference(before, after) {
  const a = `${before[0]}\n${before[1]}`.split("\n"), b = `${after[0]}\n${after[1]}`.split("\n");
  const n = a.length, m = b.length, table = Array.from({ length: n + 1 }, () => new Uint16Array(m + 1));
  for (let i = n - 1; i >= 0; i--) for (let j = m - 1; j >= 0; j--) table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const out = element("pre", { tabindex: "0", id: "difference" });
  const say = (mark, text, kind) => out.append(element("span", kind ? { class: kind } : {}, `${mark} ${text}\n`));
  let i = 0, j = 0, changes = 0;
  while (i < n || j < m) {
    if (i < n && j < m && a[i] === b[j]) { i++; j++; }
    else if (i < n && (j >= m || table[i + 1][j] >= table[i][j + 1])) { say("-", a[i++], "minus"); changes++; }
    else { say("+", b[j++], "plus"); changes++; }
  }
  if (!changes) out.append("(the same text)");
  return out;
}

function walk(key) {
  if (chosen < 0) return choose(members[0], true);
  const p = D.parent[chosen], family = p >= 0 ? children[p] : members.filter((i) => D.parent[i] < 0), place = family.indexOf(chosen);
  const next = { ArrowLeft: p, ArrowRight: children[chosen][0] ?? -1, ArrowUp: family[place - 1] ?? -1, ArrowDown: family[place + 1] ?? -1 }[key];
  if (next >= 0) choose(next, true);
}

canvas.addEventListener("keydown", (event) => {
  if (event.key.startsWith("Arrow")) walk(event.key);
  else if (event.key === "+" || event.key === "=") zoomAt(1.4, width() / 2, height() / 2);
  else if (event.key === "-") zoomAt(1 / 1.4, width() / 2, height() / 2);
  else if (event.key === "0") fit();
  else return;
  event.preventDefault();
});
canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoomAt(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY); }, { passive: false });
const fingers = new Map();
let moved = 0;
canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); fingers.set(event.pointerId, [event.offsetX, event.offsetY]); moved = 0; });
canvas.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const now = [event.offsetX, event.offsetY];
  const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
  if (other) {
    const spread = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]);
    zoomAt(spread(now) / Math.max(1, spread(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  } else { view.x += now[0] - before[0]; view.y += now[1] - before[1]; ask(); }
  moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
  fingers.set(event.pointerId, now);
});
canvas.addEventListener("pointerup", (event) => { fingers.delete(event.pointerId); if (moved < 5) choose(at(event.offsetX, event.offsetY), false); });
canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
for (const id of ["search", "filter", "least"]) $(id).addEventListener("input", match);
$("session").addEventListener("input", select);
$("layout").addEventListener("input", () => { layOut(); fit(); });
$("path").addEventListener("input", ask);
$("best").addEventListener("click", () => choose(D.best, true));
$("fit").addEventListener("click", fit);
$("closer").addEventListener("click", () => zoomAt(1.4, width() / 2, height() / 2));
$("away").addEventListener("click", () => zoomAt(1 / 1.4, width() / 2, height() / 2));
$("tools").addEventListener("submit", (event) => event.preventDefault());
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", ask);
new ResizeObserver(ask).observe(canvas);

const session = $("session");
session.append(...D.sessions.map((name, i) => element("option", { value: String(i) }, name)), element("option", { value: "all" }, "all sessions"));
session.value = String(D.best >= 0 ? D.session[D.best] : 0);
$("session-label").hidden = D.sessions.length < 2;
$("session-label").style.display = D.sessions.length < 2 ? "none" : "";
const rejected = D.score.filter((score) => score === null).length;
$("facts").textContent = `evaluated: ${COUNT - rejected}, rejected proposals: ${rejected}` + (D.best >= 0 ? `; best: round ${D.round[D.best]}, ${figure(D.best)}` : "");
select();
requestAnimationFrame(() => { performance.mark("first-paint-of-tree"); choose(D.best, false); });
