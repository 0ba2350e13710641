// Start: fill the panel, listen to buttons and keys.

const root = document.documentElement;

function setTheme(theme) {
  root.dataset.theme = theme;
  makeLabels(colourColumn, colours);
  redraw();
}

function setLasso(on) {
  lassoTool = on;
  $("points").classList.toggle("lasso", on);
  document.querySelector('[data-do="lasso"]').setAttribute("aria-pressed", String(on));
}

const step = (direction) => {
  const shown = [];
  for (let i = 0; i < n; i++) if (mode[i] !== DIM) shown.push(i);
  if (!shown.length) return;
  const at = shown.findIndex((i) => i >= pinned);
  const next = pinned < 0 ? 0 : (((at < 0 ? shown.length : at) + direction + (direction > 0 && shown[at] !== pinned ? -1 : 0)) + shown.length) % shown.length;
  pin(shown[next]);
  const [px, py] = toScreen(xy[2 * pinned], xy[2 * pinned + 1]);
  if (px < 40 || py < 40 || px > view.width - 40 || py > view.height - 40) flyTo(xy[2 * pinned], xy[2 * pinned + 1], view.scale);
};

const actions = {
  in: () => zoomAt(view.width / 2, view.height / 2, 1.5),
  out: () => zoomAt(view.width / 2, view.height / 2, 1 / 1.5),
  fit: () => fit(),
  lasso: () => setLasso(!lassoTool),
  names: () => {
    labelsWanted = !labelsWanted;
    document.querySelector('[data-do="names"]').setAttribute("aria-pressed", String(labelsWanted));
    redraw();
  },
  theme: () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"),
  help: () => $("help").showModal(),
  panel: () => $("panel").classList.toggle("open"),
};

function listenToKeys() {
  const keys = { "+": "in", "=": "in", "-": "out", 0: "fit", l: "lasso", n: "names", d: "theme", "?": "help" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "Escape") {
      if ($("help").open) return;
      setLasso(false);
      $("search").value = "";
      closeResults();
      $("panel").classList.remove("open");
      clearAll();
    } else if (typing) {
      return;
    } else if (event.key === "/") {
      $("panel").classList.add("open");
      $("search").focus();
    } else if (event.key === "[" || event.key === "]") {
      step(event.key === "]" ? 1 : -1);
    } else if (event.key.startsWith("Arrow") && document.activeElement === $("points")) {
      const by = 60 / view.scale;
      view.x += event.key === "ArrowRight" ? by : event.key === "ArrowLeft" ? -by : 0;
      view.y += event.key === "ArrowUp" ? by : event.key === "ArrowDown" ? -by : 0;
      redraw();
    } else if (keys[event.key]) {
      actions[keys[event.key]]();
    } else {
      return;
    }
    event.preventDefault();
  });
}

function start() {
  const proteins = columnNamed("protein");
  $("summary").textContent = `${number.format(n)} crops` + (proteins ? ` of ${number.format(proteins.categories.length)} proteins` : "");
  $("made").textContent = meta.made;
  root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const offered = columns.filter((c) => c.kind === "number" || c.categories.length <= Math.max(1500, n / 4));
  for (const column of offered) $("colour").append(make("option", { value: column.name, textContent: column.name.replaceAll("_", " ") }));
  const first = columnNamed(meta.colourBy) || offered[0];
  $("colour").value = first ? first.name : "";
  $("colour").addEventListener("change", () => setColour(columnNamed($("colour").value)));
  $("show-all").addEventListener("click", () => { isolated.clear(); showIsolation(); remark(); });
  for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => actions[button.dataset.do]());
  listenToPointers();
  listenToSearch();
  listenToKeys();
  const [x0, y0, x1, y1] = grid.box;
  view.x = (x0 + x1) / 2;
  view.y = (y0 + y1) / 2;
  resize();
  view.scale = view.fitScale;
  if (first) setColour(first);
  new ResizeObserver(resize).observe(document.querySelector("main"));
  // The narrow layout covers the map with the panel; a tap on the map closes it.
  $("points").addEventListener("pointerdown", () => $("panel").classList.remove("open"));
  $("points").dataset.renderer = renderer.name;
}

start();
