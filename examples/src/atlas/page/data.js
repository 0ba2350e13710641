// The tables of the page: base64 buffers beside one JSON description.

const $ = (id) => document.getElementById(id);

function make(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties || {});
  node.append(...children);
  return node;
}

function bytesOf(id) {
  const text = atob($(id).textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const meta = JSON.parse($("atlas-meta").textContent);
const n = meta.points;
const number = new Intl.NumberFormat("en");
const xy = new Float32Array(bytesOf("atlas-xy").buffer);

// A column is {name, kind: "category", categories, codes, counts} or {name, kind: "number", values, low, high}.
const columns = meta.columns.map((column, i) => {
  const bytes = bytesOf("atlas-column-" + i).buffer;
  if (column.kind === "number") {
    const values = new Float32Array(bytes);
    let low = Infinity, high = -Infinity;
    for (const v of values) if (Number.isFinite(v)) { if (v < low) low = v; if (v > high) high = v; }
    return { ...column, values, low, high };
  }
  const codes = column.bytes === 1 ? new Uint8Array(bytes) : column.bytes === 2 ? new Uint16Array(bytes) : new Uint32Array(bytes);
  const counts = new Uint32Array(column.categories.length);
  for (const code of codes) counts[code]++;
  return { ...column, codes, counts };
});

function cell(column, point) {
  if (column.kind === "number") {
    const value = column.values[point];
    return Number.isFinite(value) ? String(+value.toPrecision(6)) : "";
  }
  return column.categories[column.codes[point]];
}

const columnNamed = (name) => columns.find((c) => c.name === name);

// Finds the nearest point fast: points sorted into square cells.
const grid = (() => {
  let x0 = Infinity, y0 = Infinity, x1 = -Infinity, y1 = -Infinity;
  for (let i = 0; i < n; i++) {
    const x = xy[2 * i], y = xy[2 * i + 1];
    if (x < x0) x0 = x; if (x > x1) x1 = x; if (y < y0) y0 = y; if (y > y1) y1 = y;
  }
  if (!(x1 >= x0)) { x0 = y0 = 0; x1 = y1 = 1; }
  const side = Math.max(x1 - x0, y1 - y0, 1e-6);
  const across = Math.max(1, Math.ceil(Math.sqrt(n / 3)));
  const step = side / across;
  const place = (v, low) => Math.min(across - 1, Math.max(0, Math.floor((v - low) / step)));
  const start = new Uint32Array(across * across + 1);
  const cellOf = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    cellOf[i] = place(xy[2 * i + 1], y0) * across + place(xy[2 * i], x0);
    start[cellOf[i] + 1]++;
  }
  for (let c = 0; c < across * across; c++) start[c + 1] += start[c];
  const next = start.slice(0, -1), members = new Uint32Array(n);
  for (let i = 0; i < n; i++) members[next[cellOf[i]]++] = i;

  function nearest(x, y, radius, accept) {
    let best = -1, limit = radius * radius;
    for (let r = place(y - radius, y0); r <= place(y + radius, y0); r++) {
      for (let c = place(x - radius, x0); c <= place(x + radius, x0); c++) {
        for (let m = start[r * across + c]; m < start[r * across + c + 1]; m++) {
          const i = members[m], dx = xy[2 * i] - x, dy = xy[2 * i + 1] - y, d = dx * dx + dy * dy;
          if (d < limit && accept(i)) { limit = d; best = i; }
        }
      }
    }
    return best;
  }
  return { nearest, box: [x0, y0, x1, y1] };
})();

// Pictures: JPEG sheets of square tiles, decoded when first needed.
const pictures = meta.pictures && (() => {
  const { tile, perRow, perSheet, sheets } = meta.pictures;
  const slots = new Int32Array(bytesOf("atlas-slots").buffer);
  const loaded = new Array(sheets).fill(null);
  const sheet = (s) => loaded[s] || (loaded[s] = (() => {
    const image = new Image();
    image.src = URL.createObjectURL(new Blob([bytesOf("atlas-sheet-" + s)], { type: "image/jpeg" }));
    return image.decode().then(() => image);
  })());
  function draw(canvas, point) {
    const context = canvas.getContext("2d");
    const slot = slots[point];
    canvas.dataset.point = point;
    if (slot < 0) { context.clearRect(0, 0, canvas.width, canvas.height); return false; }
    sheet(Math.floor(slot / perSheet)).then((image) => {
      if (canvas.dataset.point !== String(point)) return;
      const at = slot % perSheet;
      context.imageSmoothingQuality = "high";
      context.drawImage(image, (at % perRow) * tile, Math.floor(at / perRow) * tile, tile, tile, 0, 0, canvas.width, canvas.height);
    });
    return true;
  }
  return { draw, has: (point) => slots[point] >= 0 };
})();
