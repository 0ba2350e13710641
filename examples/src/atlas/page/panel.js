// The panel: colours, legend, search; the tip, the card of a point and of a selection.

let colourColumn = columns[0], colours = [], isolated = new Set(), found = null, selection = [];

const hiddenCategory = (code) => isolated.size > 0 && colourColumn.kind === "category" && !isolated.has(code);
const say = (text) => { $("status").textContent = text; };

function recolour() {
  if (colourColumn.kind === "category") {
    colours = categoryColours(colourColumn);
    for (let i = 0; i < n; i++) rgb.set(colours[colourColumn.codes[i]], 4 * i);
  } else {
    const { values, low, high } = colourColumn, span = high - low || 1;
    for (let i = 0; i < n; i++) rgb.set(Number.isFinite(values[i]) ? rampColour((values[i] - low) / span) : [150, 152, 150], 4 * i);
  }
}

// What is dim, shown or marked follows from the legend, the search and the selection.
function remark() {
  const selected = selection.length ? new Set(selection) : null;
  for (let i = 0; i < n; i++) {
    let m = SHOWN;
    if (colourColumn.kind === "category" && hiddenCategory(colourColumn.codes[i])) m = DIM;
    if (m && found && !found.has(i)) m = DIM;
    if (m && found && found.size < 400) m = MARKED;
    if (selected) m = selected.has(i) ? (m === DIM ? SHOWN : m) : DIM;
    mode[i] = m;
  }
  sortByMode();
  renderer.update();
  redraw();
}

function setColour(column) {
  colourColumn = column;
  isolated.clear();
  recolour();
  makeLegend();
  makeLabels(column, colours);
  remark();
}

function makeLegend() {
  const list = $("legend"), ramp = $("ramp"), isNumber = colourColumn.kind === "number";
  list.replaceChildren();
  ramp.hidden = !isNumber;
  $("show-all").hidden = isolated.size === 0;
  if (isNumber) {
    $("legend-title").textContent = colourColumn.name;
    const canvas = ramp.querySelector("canvas"), context = canvas.getContext("2d");
    for (let x = 0; x < canvas.width; x++) { context.fillStyle = css(rampColour(x / canvas.width)); context.fillRect(x, 0, 1, canvas.height); }
    const [low, high] = ramp.querySelectorAll("span");
    low.textContent = +colourColumn.low.toPrecision(4);
    high.textContent = +colourColumn.high.toPrecision(4);
    return;
  }
  const order = legendOrder(colourColumn);
  $("legend-title").textContent = `${number.format(order.length)} groups, click to isolate`;
  for (const code of order.slice(0, 1500)) {
    const swatch = make("i");
    swatch.style.background = css(colours[code]);
    const button = make("button", { type: "button" }, swatch,
      make("span", { textContent: colourColumn.categories[code].replaceAll("_", " ") || "(none)" }),
      make("small", { textContent: number.format(colourColumn.counts[code]) }));
    button.dataset.code = code;
    button.addEventListener("click", (event) => isolate(code, event.shiftKey || event.ctrlKey || event.metaKey));
    list.append(make("li", {}, button));
  }
  showIsolation();
}

function isolate(code, add) {
  if (add) {
    if (!isolated.delete(code)) isolated.add(code);
  } else if (isolated.size === 1 && isolated.has(code)) {
    isolated.clear();
  } else {
    isolated = new Set([code]);
  }
  showIsolation();
  remark();
  say(isolated.size ? `${isolated.size} groups shown` : "all groups shown");
}

function showIsolation() {
  $("show-all").hidden = isolated.size === 0;
  for (const button of $("legend").querySelectorAll("button")) {
    const code = Number(button.dataset.code);
    button.classList.toggle("off", hiddenCategory(code));
    button.setAttribute("aria-pressed", String(isolated.has(code)));
  }
}

// Search over the names of every column.
const entries = columns.filter((c) => c.kind === "category").flatMap((column) =>
  column.categories.map((name, code) => ({ column, code, name, key: name.toLowerCase().replaceAll("_", " ") })).filter((e) => e.name !== "" && column.counts[e.code] > 0));

function matches(text) {
  const key = text.trim().toLowerCase().replaceAll("_", " ");
  if (!key) return [];
  const hits = [];
  for (const entry of entries) {
    const at = entry.key.indexOf(key);
    if (at < 0) continue;
    const unique = entry.column.counts[entry.code] === 1 ? 100 : 0;
    hits.push([unique + (at === 0 ? 0 : 10) + Math.min(9, entry.key.length - key.length), entry]);
  }
  return hits.sort((a, b) => a[0] - b[0]).slice(0, 12).map((h) => h[1]);
}

function pointsOf({ column, code }) {
  const points = [];
  for (let i = 0; i < n; i++) if (column.codes[i] === code) points.push(i);
  return points;
}

function find(entry) {
  const points = pointsOf(entry);
  hideTip();
  found = new Set(points);
  selection = [];
  isolated.clear();
  showIsolation();
  remark();
  fit(points);
  $("search").value = entry.name;
  closeResults();
  if (points.length === 1) pin(points[0]);
  else showSelection(points, `${entry.name.replaceAll("_", " ")}`);
  say(`${number.format(points.length)} crops of ${entry.name}`);
}

let choice = 0, hits = [];
function closeResults() {
  $("results").hidden = true;
  $("search").setAttribute("aria-expanded", "false");
  $("search").removeAttribute("aria-activedescendant");
}

function showResults() {
  const list = $("results");
  list.replaceChildren(...hits.map((entry, i) => {
    const item = make("li", { id: "hit-" + i }, make("span", { textContent: entry.name.replaceAll("_", " ") }),
      make("small", { textContent: `${entry.column.name} · ${number.format(entry.column.counts[entry.code])}` }));
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", String(i === choice));
    item.addEventListener("pointerdown", (event) => { event.preventDefault(); find(entry); });
    return item;
  }));
  if (!hits.length) list.replaceChildren(make("li", { textContent: "nothing of that name" }));
  list.hidden = false;
  $("search").setAttribute("aria-expanded", "true");
  if (hits.length) $("search").setAttribute("aria-activedescendant", "hit-" + choice);
}

function listenToSearch() {
  const box = $("search");
  box.addEventListener("input", () => {
    hits = matches(box.value);
    choice = 0;
    if (box.value.trim()) showResults();
    else { closeResults(); clearAll(); }
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && hits[choice]) { find(hits[choice]); event.preventDefault(); }
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      choice = (choice + (event.key === "ArrowDown" ? 1 : hits.length - 1)) % Math.max(1, hits.length);
      showResults();
      event.preventDefault();
    }
  });
  box.addEventListener("blur", closeResults);
}

// The tip beside the pointer.
const tipText = (i) => {
  const lines = meta.tip.map((name) => columnNamed(name)).filter(Boolean).map((c) => [c.name, cell(c, i)]).filter(([, v]) => v);
  return lines.map(([name, value], k) => make(k ? "small" : "b", { textContent: k ? `${name}: ${value}` : value }));
};

function hideTip() { $("tip").hidden = true; hovered = -1; }

function hover(i, at) {
  if (i !== hovered) {
    hovered = i;
    redraw();
    if (i >= 0) {
      const pictured = pictures && pictures.draw($("tip").querySelector("canvas"), i);
      $("tip").querySelector("canvas").hidden = !pictured;
      $("tip").querySelector("div").replaceChildren(...tipText(i));
    }
  }
  const tip = $("tip");
  tip.hidden = i < 0;
  if (i < 0 || !at) return;
  const x = at[0] + 18 + tip.offsetWidth > view.width ? at[0] - 18 - tip.offsetWidth : at[0] + 18;
  const y = Math.min(Math.max(8, at[1] - tip.offsetHeight / 2), view.height - tip.offsetHeight - 8);
  tip.style.transform = `translate(${Math.round(Math.max(4, x))}px, ${Math.round(y)}px)`;
}

function openCard(...content) {
  const close = make("button", { className: "close", type: "button", textContent: "×" });
  close.setAttribute("aria-label", "Close");
  close.addEventListener("click", clearAll);
  $("card").replaceChildren(close, ...content);
  $("card").hidden = false;
  $("card").scrollTop = 0;
}

function pin(i) {
  pinned = i;
  redraw();
  if (i < 0) {
    if (selection.length) showSelection(selection, "Selection");
    else if (!found) $("card").hidden = true;
    return;
  }
  const list = make("dl");
  for (const column of columns) {
    const value = cell(column, i);
    if (value !== "") list.append(make("dt", { textContent: column.name }), make("dd", { textContent: value }));
  }
  const canvas = make("canvas", { className: "crop", width: 256, height: 256 });
  const pictured = pictures && pictures.draw(canvas, i);
  const lead = tipText(i)[0];
  openCard(make("h2", { textContent: lead ? lead.textContent : `point ${i}` }),
    ...(pictured ? [canvas] : pictures ? [make("small", { textContent: "No picture of this crop is in the page." })] : []), list);
  say(columns.map((c) => `${c.name} ${cell(c, i)}`).slice(0, 4).join(", "));
}

function select(points) {
  selection = points;
  found = null;
  $("search").value = "";
  pinned = -1;
  remark();
  if (points.length) showSelection(points, "Selection");
  else $("card").hidden = true;
  say(`${number.format(points.length)} crops selected`);
}

function showSelection(points, title) {
  const parts = [];
  const shown = [columnNamed("protein"), colourColumn].filter((c, k, all) => c && c.kind === "category" && all.indexOf(c) === k);
  for (const column of shown) {
    const counts = new Map();
    for (const i of points) counts.set(column.codes[i], (counts.get(column.codes[i]) || 0) + 1);
    if (counts.size < 2 && shown.length > 1 && column !== colourColumn) continue;
    parts.push(make("small", { textContent: `${column.name}: ${number.format(counts.size)}` }));
    const paint = column === colourColumn ? colours : null;
    for (const [code, count] of [...counts].sort((a, b) => b[1] - a[1]).slice(0, 6)) {
      const fill = make("i");
      fill.style.width = `${(100 * count) / points.length}%`;
      fill.style.background = paint ? css(paint[code]) : "var(--soft)";
      parts.push(make("div", { className: "bar" }, make("span", { textContent: column.categories[code].replaceAll("_", " ") || "(none)" }),
        make("small", { textContent: number.format(count) }), make("div", {}, fill)));
    }
  }
  const gallery = make("div", { className: "gallery" });
  if (pictures) {
    const pictured = points.filter(pictures.has), stride = Math.max(1, pictured.length / 20);
    for (let k = 0; k < 20 && Math.floor(k * stride) < pictured.length; k++) {
      const i = pictured[Math.floor(k * stride)], canvas = make("canvas", { width: 96, height: 96 });
      pictures.draw(canvas, i);
      const button = make("button", { type: "button" }, canvas);
      button.setAttribute("aria-label", `crop ${i}: ${tipText(i).map((t) => t.textContent).join(", ")}`);
      button.addEventListener("click", () => pin(i));
      gallery.append(button);
    }
  }
  const save = make("button", { className: "action", type: "button", textContent: `Save ${number.format(points.length)} rows as CSV` });
  save.addEventListener("click", () => saveCsv(points));
  openCard(make("h2", { textContent: `${title}: ${number.format(points.length)} crops` }), gallery, save, ...parts);
}

function saveCsv(points) {
  const quote = (v) => (/[",\n\r]/.test(v) ? `"${v.replaceAll('"', '""')}"` : v);
  const lines = [[...columns.map((c) => c.name), "umap_x", "umap_y"].map(quote).join(",")];
  for (const i of points) lines.push([...columns.map((c) => cell(c, i)), xy[2 * i], xy[2 * i + 1]].map((v) => quote(String(v))).join(","));
  const link = make("a", { href: URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" })), download: "atlas-selection.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function clearAll() {
  hideTip();
  selection = [];
  found = null;
  pinned = -1;
  lasso = null;
  isolated.clear();
  showIsolation();
  $("card").hidden = true;
  remark();
}
