/**
 * A picture of a matrix in pages: a canvas whose cells are chosen by mouse and by arrow keys. The script
 * defines `mapOf(canvas, say)`, whose `draw({ rows, columns, at, shade, text })` paints: `rows` and `columns`
 * are names, `at(i, j)` a value, `shade(value)` from -1 to 1, `text(i, j)` what is said of a cell,
 * `word(i, j)` what stands in it, if anything does.
 */
export const mapStyle = `
.numbers td { white-space: nowrap; } .key { font-size: .875rem; margin: .25rem 0; }
.map { overflow: auto; max-height: 85vh; } .map canvas { display: block; }
`;

export const mapScript = `
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const repaints = [];
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { for (const paint of repaints) paint(); });
addEventListener('resize', () => { for (const paint of repaints) paint(); });
/** Paper to blue for values above 0, paper to orange below; both are told from paper in greys too. */
const colourOf = (share) => {
  const strength = Math.min(1, Math.abs(share));
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const paper = dark ? [20, 23, 27] : [255, 255, 255];
  const end = share < 0 ? (dark ? [255, 158, 61] : [166, 77, 0]) : (dark ? [126, 199, 255] : [0, 63, 120]);
  return paper.map((from, i) => Math.round(from + (end[i] - from) * strength));
};
const clip = (context, text, width) => {
  if (context.measureText(text).width <= width) return text;
  let end = text.length;
  while (end > 1 && context.measureText(text.slice(0, end) + '…').width > width) end--;
  return text.slice(0, end) + '…';
};
const mapOf = (canvas, say) => {
  let given = null, here = null, cell = 1, high = 1, left = 0, top = 0;
  const paint = () => {
    if (!given) return;
    const { rows, columns, at, shade, word } = given;
    const context = canvas.getContext('2d');
    const font = '12px system-ui, sans-serif';
    context.font = font;
    const longest = (names) => Math.min(110, Math.max(0, ...names.map((name) => context.measureText(name).width)));
    left = Math.ceil(longest(rows)) + 10;
    top = Math.ceil(longest(columns) * 0.87) + 14;
    const room = canvas.parentElement.clientWidth - left - longest(columns) * 0.5 - 4;
    cell = Math.max(word ? 64 : 9, Math.min(word ? 96 : 36, Math.floor(room / columns.length)));
    high = word ? 26 : cell;
    const width = left + cell * columns.length + Math.ceil(longest(columns) * 0.5) + 4;
    const height = top + high * rows.length + 4;
    const ratio = devicePixelRatio || 1;
    canvas.width = width * ratio; canvas.height = height * ratio;
    canvas.style.width = width + 'px'; canvas.style.height = height + 'px';
    context.scale(ratio, ratio);
    context.font = font;
    context.fillStyle = css('--ink');
    const everyRow = Math.ceil(13 / high), every = Math.ceil(13 / cell);
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    rows.forEach((name, i) => {
      if (i % everyRow === 0) context.fillText(clip(context, name, 110), left - 6, top + (i + 0.5) * high);
    });
    context.textAlign = 'left';
    columns.forEach((name, j) => {
      if (j % every) return;
      context.save();
      context.translate(left + (j + 0.5) * cell, top - 6);
      context.rotate(-Math.PI / 3);
      context.fillText(clip(context, name, 110), 0, 0);
      context.restore();
    });
    const gap = cell > 12 ? 1 : 0;
    for (let i = 0; i < rows.length; i++) for (let j = 0; j < columns.length; j++) {
      const colour = colourOf(shade(at(i, j)));
      context.fillStyle = 'rgb(' + colour.join(' ') + ')';
      context.fillRect(left + j * cell, top + i * high, cell - gap, high - gap);
      if (!word) continue;
      context.fillStyle = colour[0] * 0.3 + colour[1] * 0.59 + colour[2] * 0.11 > 128 ? '#000' : '#fff';
      context.fillText(clip(context, word(i, j), cell - 8), left + j * cell + 4, top + (i + 0.5) * high);
    }
    context.strokeStyle = css('--line');
    context.strokeRect(left - 0.5, top - 0.5, cell * columns.length + 1, high * rows.length + 1);
    if (here) {
      context.strokeStyle = css('--ink');
      context.lineWidth = 2;
      context.strokeRect(left + here[1] * cell, top + here[0] * high, cell, high);
      context.lineWidth = 1;
    }
  };
  const choose = (i, j) => {
    if (!given || given.rows.length === 0) return;
    const limit = (value, count) => Math.max(0, Math.min(count - 1, value));
    here = [limit(i, given.rows.length), limit(j, given.columns.length)];
    paint();
    const said = given.text(...here);
    canvas.setAttribute('aria-label', given.label + '; ' + said);
    say(said);
  };
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const i = Math.floor((event.clientY - box.top - top) / high);
    const j = Math.floor((event.clientX - box.left - left) / cell);
    if (!given || i < 0 || j < 0 || i >= given.rows.length || j >= given.columns.length) return;
    if (!here || here[0] !== i || here[1] !== j) choose(i, j);
  };
  canvas.addEventListener('pointermove', point);
  canvas.addEventListener('pointerdown', point);
  canvas.addEventListener('focus', () => { if (canvas.matches(':focus-visible')) choose(...(here ?? [0, 0])); });
  canvas.addEventListener('keydown', (event) => {
    const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0],
      Home: [0, -1e9], End: [0, 1e9], PageUp: [-10, 0], PageDown: [10, 0] };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [i, j] = here ?? [0, 0];
    choose(i + moves[event.key][0], j + moves[event.key][1]);
  });
  repaints.push(paint);
  return { draw(next) {
    if (given && (next.rows.length !== given.rows.length || next.columns.length !== given.columns.length)) here = null;
    given = next;
    canvas.tabIndex = 0;
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', next.label + '; arrow keys move from cell to cell');
    paint();
  } };
};
`;
