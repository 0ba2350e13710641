// Colours: a palette that stays apart for colour-blind readers, a ramp for numbers, grey for what has no group.

// Okabe and Ito's seven, then Tol's muted and bright ones that stay apart from them.
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#882255", "#999933", "#6a5acd", "#44aa99", "#b8860b", "#aa4499",
  "#117733", "#ee6677", "#5f7f9f", "#8c564b"];
// Points of viridis.
const RAMP = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];

const hexed = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

function rampColour(t) {
  const at = Math.min(0.99999, Math.max(0, t)) * (RAMP.length - 1), i = Math.floor(at);
  const a = hexed(RAMP[i]), b = hexed(RAMP[i + 1]);
  return a.map((v, k) => Math.round(v + (at - i) * (b[k] - v)));
}

const isNobody = (name) => name === "" || name === "others";

// Colour of each category: single groups first, then mixed ones (a;b), grey for the rest. After one round of the palette
// the colours return lighter and darker.
function categoryColours(column) {
  const order = column.categories.map((_, i) => i)
    .sort((a, b) => (column.categories[a].includes(";") - column.categories[b].includes(";")) || a - b);
  const colours = new Array(column.categories.length);
  let used = 0;
  for (const i of order) {
    if (isNobody(column.categories[i])) { colours[i] = [150, 152, 150]; continue; }
    const round = Math.floor(used / PALETTE.length) % 3, base = hexed(PALETTE[used % PALETTE.length]);
    colours[i] = round === 0 ? base : base.map((v) => Math.round(round === 1 ? v + 0.42 * (255 - v) : 0.62 * v));
    used++;
  }
  return colours;
}

// Categories in the order of the legend.
function legendOrder(column) {
  const rank = (i) => (isNobody(column.categories[i]) ? 2 : column.categories[i].includes(";") ? 1 : 0);
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  return column.categories.map((_, i) => i).filter((i) => column.counts[i] > 0)
    .sort((a, b) => rank(a) - rank(b) || compare(column.categories[a], column.categories[b]));
}
