// Drawing: WebGL where a graphics card does it, plain pixels elsewhere; both from the same arrays.

const DIM = 0, SHOWN = 1, MARKED = 2;
const mode = new Uint8Array(n).fill(SHOWN);
const rgb = new Uint8Array(4 * n);
const order = new Uint32Array(n);
// No group is always on top: points are drawn in a fixed shuffled order.
const shuffled = (() => {
  const list = Uint32Array.from({ length: n }, (_, i) => i);
  let seed = 1;
  for (let i = n - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const j = seed % (i + 1), swap = list[i];
    list[i] = list[j]; list[j] = swap;
  }
  return list;
})();

const view = { x: 0, y: 0, scale: 1, width: 1, height: 1, fitScale: 1, ratio: 1 };
const toScreen = (x, y) => [(x - view.x) * view.scale + view.width / 2, (view.y - y) * view.scale + view.height / 2];
const toData = (px, py) => [(px - view.width / 2) / view.scale + view.x, view.y - (py - view.height / 2) / view.scale];

function dotSize() {
  const room = Math.sqrt((view.width * view.height) / Math.max(n, 1));
  return Math.min(14, Math.max(1.6, Math.min(6, 0.27 * room)) * Math.pow(Math.max(1, view.scale / view.fitScale), 0.4));
}

function sortByMode() {
  let at = 0;
  for (const wanted of [DIM, SHOWN, MARKED]) for (const i of shuffled) if (mode[i] === wanted) order[at++] = i;
}

// A canvas that has had one kind of context never gives another.
function giveUp(canvas) {
  canvas.replaceWith(canvas.cloneNode());
  return null;
}

const glRenderer = () => {
  const canvas = $("points");
  const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: false });
  if (!gl) return null;
  const about = gl.getExtension("WEBGL_debug_renderer_info");
  const device = String(about ? gl.getParameter(about.UNMASKED_RENDERER_WEBGL) : gl.getParameter(gl.RENDERER));
  if (/swiftshader|llvmpipe|software/i.test(device)) return giveUp(canvas);
  const shader = (type, source) => {
    const s = gl.createShader(type);
    gl.shaderSource(s, source);
    gl.compileShader(s);
    return s;
  };
  const program = gl.createProgram();
  gl.attachShader(program, shader(gl.VERTEX_SHADER, `#version 300 es
    layout(location = 0) in vec2 place; layout(location = 1) in vec4 colour;
    uniform vec4 window; uniform float size; uniform vec3 dimmed; out vec4 ink;
    void main() {
      float mode = colour.a * 255.0;
      gl_Position = vec4((place - window.xy) * window.zw, 0.0, 1.0);
      gl_PointSize = size * (mode > 1.5 ? 1.5 : mode > 0.5 ? 1.0 : 0.8);
      ink = mode > 1.5 ? vec4(colour.rgb, 1.0) : mode > 0.5 ? vec4(colour.rgb, 0.82) : vec4(dimmed, 0.45);
    }`));
  gl.attachShader(program, shader(gl.FRAGMENT_SHADER, `#version 300 es
    precision highp float; in vec4 ink; out vec4 pixel; uniform float size;
    void main() {
      float edge = 1.6 / max(size, 2.0);
      float cover = 1.0 - smoothstep(1.0 - edge, 1.0, 2.0 * length(gl_PointCoord - 0.5));
      if (cover <= 0.0) discard;
      pixel = vec4(ink.rgb, ink.a * cover);
    }`));
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return giveUp(canvas);
  gl.useProgram(program);
  const at = Object.fromEntries(["window", "size", "dimmed"].map((u) => [u, gl.getUniformLocation(program, u)]));
  const buffers = [0, 1, 2].map(() => gl.createBuffer());
  gl.bindBuffer(gl.ARRAY_BUFFER, buffers[0]);
  gl.bufferData(gl.ARRAY_BUFFER, xy, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
  gl.bindBuffer(gl.ARRAY_BUFFER, buffers[1]);
  gl.enableVertexAttribArray(1);
  gl.vertexAttribPointer(1, 4, gl.UNSIGNED_BYTE, true, 0, 0);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers[2]);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  return {
    name: "webgl",
    update() {
      for (let i = 0; i < n; i++) rgb[4 * i + 3] = mode[i];
      gl.bufferData(gl.ARRAY_BUFFER, rgb, gl.DYNAMIC_DRAW);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
    },
    draw(paper, dimmed) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(paper[0] / 255, paper[1] / 255, paper[2] / 255, 1);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform4f(at.window, view.x, view.y, (2 * view.scale) / view.width, (2 * view.scale) / view.height);
      gl.uniform1f(at.size, dotSize() * view.ratio);
      gl.uniform3f(at.dimmed, dimmed[0] / 255, dimmed[1] / 255, dimmed[2] / 255);
      gl.drawElements(gl.POINTS, n, gl.UNSIGNED_INT, 0);
    },
  };
};

// Writes discs straight into the pixels: faster than a software WebGL, and works where there is none.
const plainRenderer = () => {
  const canvas = $("points"), context = canvas.getContext("2d", { alpha: false });
  let image = null, pixels = null;
  const packed = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;
  const discs = new Map();
  const disc = (size) => {
    const s = Math.max(1, Math.round(size));
    if (!discs.has(s)) {
      const rows = [];
      for (let y = 0; y < s; y++) {
        const dy = (y + 0.5 - s / 2) / (s / 2), half = Math.round((s / 2) * Math.sqrt(1 - dy * dy));
        rows.push(half);
      }
      discs.set(s, rows);
    }
    return discs.get(s);
  };
  return {
    name: "canvas",
    update() {},
    draw(paper, dimmed) {
      const { width, height } = canvas;
      if (!image || image.width !== width || image.height !== height) {
        image = context.createImageData(width, height);
        pixels = new Uint32Array(image.data.buffer);
      }
      pixels.fill(packed(paper));
      const size = dotSize() * view.ratio, scale = view.scale * view.ratio;
      const shapes = [disc(0.8 * size), disc(size), disc(1.5 * size)];
      const dimInk = packed(dimmed.map((v, k) => Math.round(0.45 * v + 0.55 * paper[k])));
      for (const i of order) {
        const px = Math.round((xy[2 * i] - view.x) * scale + width / 2), py = Math.round((view.y - xy[2 * i + 1]) * scale + height / 2);
        const rows = shapes[mode[i]], half = rows.length >> 1, top = py - half;
        if (px < half || top < 0 || px + half >= width || top + rows.length > height) continue;
        const ink = mode[i] === DIM ? dimInk : (255 << 24) | (rgb[4 * i + 2] << 16) | (rgb[4 * i + 1] << 8) | rgb[4 * i];
        for (let y = 0, at = top * width + px; y < rows.length; y++, at += width) pixels.fill(ink, at - rows[y], at + Math.max(1, rows[y]));
      }
      context.putImageData(image, 0, 0);
    },
  };
};

const renderer = glRenderer() || plainRenderer();

let framePending = false;
function redraw() {
  if (framePending) return;
  framePending = true;
  requestAnimationFrame(() => {
    framePending = false;
    const style = getComputedStyle(document.documentElement);
    renderer.draw(hexed(style.getPropertyValue("--paper").trim()), hexed(style.getPropertyValue("--dim").trim()));
    drawOverlay();
    placeLabels();
  });
}

function resize() {
  const box = $("points").getBoundingClientRect();
  const before = view.fitScale;
  view.width = Math.max(1, box.width);
  view.height = Math.max(1, box.height);
  view.ratio = Math.min(3, window.devicePixelRatio || 1);
  for (const id of ["points", "overlay"]) {
    $(id).width = Math.round(view.width * view.ratio);
    $(id).height = Math.round(view.height * view.ratio);
  }
  const [x0, y0, x1, y1] = grid.box;
  view.fitScale = 0.9 * Math.min(view.width / Math.max(x1 - x0, 1e-6), view.height / Math.max(y1 - y0, 1e-6));
  view.scale *= view.fitScale / before;
  redraw();
}
