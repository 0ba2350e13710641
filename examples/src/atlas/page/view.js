// Moving about: pan, zoom, lasso, the nearest point, by mouse, finger or keyboard.

const calm = matchMedia("(prefers-reduced-motion: reduce)");
let flight = 0;

function flyTo(x, y, scale) {
  scale = Math.min(view.fitScale * 400, Math.max(view.fitScale * 0.5, scale));
  cancelAnimationFrame(flight);
  if (calm.matches) { Object.assign(view, { x, y, scale }); redraw(); return; }
  const from = { ...view }, begin = performance.now();
  const step = (now) => {
    const t = Math.min(1, Math.max(0, (now - begin) / 260)), s = t * t * (3 - 2 * t);
    view.scale = from.scale * Math.pow(scale / from.scale, s);
    view.x = from.x + s * (x - from.x);
    view.y = from.y + s * (y - from.y);
    redraw();
    if (t < 1) flight = requestAnimationFrame(step);
  };
  flight = requestAnimationFrame(step);
}

function fit(points) {
  let [x0, y0, x1, y1] = grid.box;
  if (points && points.length) {
    x0 = y0 = Infinity; x1 = y1 = -Infinity;
    // The middle 96 % of the points: a stray one does not shrink the rest.
    const cut = (values) => { values.sort(); const k = Math.floor(values.length * 0.02); return [values[k], values[values.length - 1 - k]]; };
    [x0, x1] = cut(Float32Array.from(points, (i) => xy[2 * i]));
    [y0, y1] = cut(Float32Array.from(points, (i) => xy[2 * i + 1]));
  }
  const floor = 0.06 * Math.max(grid.box[2] - grid.box[0], grid.box[3] - grid.box[1], 1e-6);
  const margin = points ? 0.6 : 0.9;
  const scale = margin * Math.min(view.width / Math.max(x1 - x0, floor), view.height / Math.max(y1 - y0, floor));
  flyTo((x0 + x1) / 2, (y0 + y1) / 2, scale);
}

function zoomAt(px, py, factor) {
  cancelAnimationFrame(flight);
  const [x, y] = toData(px, py);
  view.scale = Math.min(view.fitScale * 400, Math.max(view.fitScale * 0.5, view.scale * factor));
  view.x = x - (px - view.width / 2) / view.scale;
  view.y = y + (py - view.height / 2) / view.scale;
  redraw();
}

let hovered = -1, pinned = -1, lasso = null, lassoTool = false;

function pointAt(px, py, reach) {
  const [x, y] = toData(px, py);
  return grid.nearest(x, y, (reach + dotSize() / 2) / view.scale, (i) => mode[i] !== DIM);
}

function insideLasso() {
  const path = lasso.map(([px, py]) => toData(px, py)), found = [];
  for (let i = 0; i < n; i++) {
    if (mode[i] === DIM) continue;
    const x = xy[2 * i], y = xy[2 * i + 1];
    let inside = false;
    for (let a = 0, b = path.length - 1; a < path.length; b = a++) {
      const [ax, ay] = path[a], [bx, by] = path[b];
      if ((ay > y) !== (by > y) && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
    }
    if (inside) found.push(i);
  }
  return found;
}

function listenToPointers() {
  const canvas = $("points"), held = new Map();
  let moved = 0, pinch = 0;
  const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const spread = () => { const [a, b] = [...held.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, place(event));
    moved = 0;
    cancelAnimationFrame(flight);
    if (held.size === 2) { pinch = spread(); lasso = null; }
    else if (lassoTool || event.shiftKey) lasso = [place(event)];
    hideTip();
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (!held.has(event.pointerId)) {
      if (event.pointerType !== "touch") hover(pointAt(at[0], at[1], 10), at);
      return;
    }
    const before = held.get(event.pointerId);
    held.set(event.pointerId, at);
    moved += Math.hypot(at[0] - before[0], at[1] - before[1]);
    if (held.size === 2) {
      const now = spread(), [a, b] = [...held.values()];
      zoomAt((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, now / Math.max(pinch, 1));
      pinch = now;
    } else if (lasso) {
      lasso.push(at);
      redraw();
    } else if (moved > 3) {
      canvas.classList.add("dragging");
      view.x -= (at[0] - before[0]) / view.scale;
      view.y += (at[1] - before[1]) / view.scale;
      redraw();
    }
  });
  const release = (event) => {
    if (!held.delete(event.pointerId)) return;
    canvas.classList.remove("dragging");
    if (lasso) {
      const drawn = lasso.length > 2 ? insideLasso() : null;
      lasso = null;
      if (drawn) { setLasso(false); select(drawn); }
      redraw();
    } else if (moved <= 3 && event.type === "pointerup") {
      const at = place(event);
      pin(pointAt(at[0], at[1], event.pointerType === "touch" ? 22 : 10));
    }
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => hover(-1));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const at = place(event), unit = event.deltaMode === 1 ? 16 : 1;
    zoomAt(at[0], at[1], Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0016)));
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => {
    const at = place(event), [x, y] = toData(at[0], at[1]);
    flyTo(x, y, view.scale * 2.5);
  });
}

function drawOverlay() {
  const context = $("overlay").getContext("2d");
  context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  context.clearRect(0, 0, view.width, view.height);
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  context.strokeStyle = ink;
  for (const [i, width] of [[hovered, 1.5], [pinned, 2.5]]) {
    if (i < 0) continue;
    const [px, py] = toScreen(xy[2 * i], xy[2 * i + 1]);
    context.lineWidth = width;
    context.beginPath();
    context.arc(px, py, dotSize() / 2 + 4, 0, 7);
    context.stroke();
  }
  if (lasso && lasso.length > 1) {
    context.beginPath();
    lasso.forEach(([px, py], k) => (k ? context.lineTo(px, py) : context.moveTo(px, py)));
    context.closePath();
    context.globalAlpha = 0.08;
    context.fillStyle = ink;
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = 1.5;
    context.setLineDash([5, 4]);
    context.stroke();
    context.setLineDash([]);
  }
}

// Names on the islands: each at the densest place of its points.
let labels = [], labelsWanted = true;

function makeLabels(column, colours) {
  $("labels").replaceChildren();
  labels = [];
  if (column.kind !== "category") return;
  const named = column.categories.map((_, i) => i).filter((i) => column.counts[i] > 0 && !isNobody(column.categories[i]));
  if (named.length > 60) return;
  const places = densest(column);
  for (const i of named.sort((a, b) => column.counts[b] - column.counts[a])) {
    const node = make("span", { textContent: column.categories[i].replaceAll("_", " ") });
    $("labels").append(node);
    const [r, g, b] = colours[i];
    node.style.color = `color-mix(in oklab, ${css([r, g, b])} 70%, var(--ink))`;
    labels.push({ node, code: i, at: places[i], width: node.offsetWidth, height: node.offsetHeight });
  }
}

function densest(column) {
  const across = 40, [x0, y0, x1, y1] = grid.box, step = Math.max(x1 - x0, y1 - y0, 1e-6) / across;
  const bin = (i) => Math.min(across - 1, Math.floor((xy[2 * i + 1] - y0) / step)) * across + Math.min(across - 1, Math.floor((xy[2 * i] - x0) / step));
  const counts = column.categories.map(() => new Uint16Array(across * across));
  for (let i = 0; i < n; i++) counts[column.codes[i]][bin(i)]++;
  const best = counts.map((field) => {
    let top = -1, where = 0;
    for (let c = 0; c < field.length; c++) {
      let sum = field[c];
      for (const d of [-across - 1, -across, 1 - across, -1, 1, across - 1, across, across + 1]) sum += 0.6 * (field[c + d] || 0);
      if (sum > top) { top = sum; where = c; }
    }
    return where;
  });
  const sums = best.map(() => [0, 0, 0]);
  for (let i = 0; i < n; i++) {
    const c = bin(i), b = best[column.codes[i]];
    if (Math.abs((c % across) - (b % across)) <= 1 && Math.abs(Math.floor(c / across) - Math.floor(b / across)) <= 1) {
      const s = sums[column.codes[i]];
      s[0] += xy[2 * i]; s[1] += xy[2 * i + 1]; s[2]++;
    }
  }
  return sums.map(([x, y, k]) => [x / Math.max(k, 1), y / Math.max(k, 1)]);
}

function placeLabels() {
  const taken = [];
  for (const label of labels) {
    const [px, py] = toScreen(label.at[0], label.at[1]);
    const left = px - label.width / 2, top = py - label.height / 2;
    const clash = taken.some(([l, t, w, h]) => left < l + w && l < left + label.width && top < t + h && t < top + label.height);
    const show = labelsWanted && !clash && !hiddenCategory(label.code) && px > 0 && py > 0 && px < view.width && py < view.height;
    label.node.hidden = !show;
    if (!show) continue;
    taken.push([left - 4, top - 1, label.width + 8, label.height + 2]);
    label.node.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }
}
