// Points in the plane with texts and labels, as a page and as a plot of letters.
import { escapeHtml } from '../../common/markup.ts';
import { printable, showText, textWidth } from '../../common/printable.ts';
import { htmlPage } from '../report/html-page.ts';
import { tableHtml } from '../report/page.ts';

/** Named points, with one or several maps to choose from. */
export interface Scatter {
  readonly texts: readonly string[];
  /** Of each point a number into `labelNames`; without labels all are alike. */
  readonly labels?: readonly number[];
  readonly labelNames?: readonly string[];
  readonly maps: readonly {
    readonly name: string;
    /** What is to be known of it, a line. */
    readonly note: string;
    readonly points: readonly (readonly [x: number, y: number])[];
  }[];
}

/** Labels beyond have the marks of the first ones. */
const kinds = 8;
const letters = 'ox+*#%@=';
/** Of a terminal's 256 colours, near to those of the page. */
const terminalColours = [32, 166, 35, 169, 75, 172, 244, 99];

/**
 * Points as lines for a terminal: a letter for each label, or without labels the texts themselves.
 *
 * @example
 * const points = [[0, 0], [1, 1]] as const;
 * console.log(scatterLines({ texts: ['war', 'peace'], maps: [] }, points, { columns: 20 }));
 */
export function scatterLines(
  { texts, labels, labelNames = [] }: Scatter,
  points: readonly (readonly [x: number, y: number])[],
  { columns = 76, lines = 24, isColoured = false } = {},
): string {
  const grid = Array.from({ length: lines }, () => new Array<string>(columns).fill(' '));
  const range = (side: 0 | 1): readonly [low: number, high: number] => {
    const values = points.map((point) => point[side]);
    return [Math.min(...values), Math.max(...values)];
  };
  const [[left, right], [low, high]] = [range(0), range(1)];
  const cells = points.map(([x, y]): [row: number, column: number] => [
    Math.round(((high - y) / (high - low || 1)) * (lines - 1)),
    Math.round(((x - left) / (right - left || 1)) * (columns - 1)),
  ]);
  const inColour = (letter: string, label: number): string =>
    isColoured ? `\x1b[38;5;${terminalColours[label % kinds]!}m${letter}\x1b[0m` : letter;
  for (const [i, [row, column]] of cells.entries()) {
    if (labels) grid[row]![column] = inColour(letters[labels[i]! % kinds]!, labels[i]!);
    else if (grid[row]![column] === ' ') grid[row]![column] = '.';
  }
  // Texts stand behind their points, where there is room.
  for (const [i, [row, column]] of labels ? [] : cells.entries()) {
    const word = printable(texts[i]!.trim());
    const at = Math.min(column, columns - textWidth(word));
    const room = grid[row]!.slice(Math.max(0, at - 1), at + word.length + 1);
    const isFree = at >= 0 && textWidth(word) === word.length && room.filter((cell) => cell !== ' ').length <= 1;
    if (isFree && room.every((cell) => cell === ' ' || cell === '.'))
      [...word].forEach((letter, k) => (grid[row]![at + k] = letter));
  }
  const rule = `+${'-'.repeat(columns)}+`;
  const key = labels
    ? labelNames.map((name, label) => `${inColour(letters[label % kinds]!, label)} ${printable(name)}`)
    : [];
  const rows = grid.map((row) => `|${row.join('')}|`);
  return [rule, ...rows, rule, ...(key.length > 0 ? [key.join('   ')] : [])].join('\n');
}

/**
 * Points as one HTML file that needs no other and no network: each point's text shows under the pointer and
 * at the points that the arrow keys lead to; labels have colours and shapes and can be hidden, texts be
 * looked for, parts be seen closer; a table has all points. Errors, each one line: no points or no maps; a
 * map or labels of another length.
 *
 * @example
 * const maps = [{ name: 'PCA', note: '99% of the variance', points: [[0, 0], [1, 1]] as const }];
 * await saveFiles([{ path: 'scatter.html', data: scatterPage({ texts: ['war', 'peace'], maps }, 'Words') }]);
 */
export function scatterPage({ texts, labels, labelNames = [], maps }: Scatter, title: string): string {
  const wrong = maps.find(({ points }) => points.length !== texts.length);
  if (texts.length === 0 || maps.length === 0 || wrong || (labels && labels.length !== texts.length))
    throw new Error(
      `scatterPage: ${texts.length} texts, ${labels?.length ?? 'no'} labels, maps of ` +
        `${maps.map(({ points }) => points.length).join(', ') || 'nothing'}; each point needs its own`,
    );
  const choice =
    maps.length < 2
      ? ''
      : `<fieldset><legend>Map</legend>${maps
          .map(({ name }, m) => {
            const input = `<input type="radio" name="map" value="${m}"${m === 0 ? ' checked' : ''}>`;
            return `<label>${input} ${escapeHtml(name)}</label>`;
          })
          .join('\n')}</fieldset>`;
  const counts = labelNames.map((_, label) => labels?.filter((each) => each === label).length ?? 0);
  const key = labels
    ? `<fieldset id="key"><legend>Labels</legend>${labelNames
        .map(
          (name, label) =>
            `<label><input type="checkbox" value="${label}" checked> <canvas width="16" height="16" ` +
            `data-label="${label}"></canvas> ${escapeHtml(name)} <small>${counts[label]}</small></label>`,
        )
        .join('\n')}</fieldset>`
    : '';
  const short = (x: number): string => String(Number(x.toPrecision(4)));
  const rows = texts.map((text, i) => [
    showText(text, 200),
    ...(labels ? [labelNames[labels[i]!] ?? ''] : []),
    ...maps.flatMap(({ points }) => points[i]!.map(short)),
  ]);
  const head = ['text', ...(labels ? ['label'] : []), ...maps.flatMap(({ name }) => [`${name} x`, `${name} y`])];
  const body = `${choice}
<p id="note">${escapeHtml(maps[0]!.note)}</p>
${key}
<div class="tools"><label>find <input id="find" type="search" autocomplete="off"></label>
<span role="group" aria-label="zoom"><button type="button" value="in" aria-label="closer">+</button>
<button type="button" value="out" aria-label="wider">&minus;</button>
<button type="button" value="all" aria-label="all points">all</button></span></div>
<noscript><p>The map is drawn by a script, which this browser does not run.</p></noscript>
<div id="frame"><canvas id="map"></canvas></div>
<p class="hint">Point at the map, or go to it by Tab and move from point to point by the arrow keys; + and &minus; zoom
to the point, Escape shows all. Drag to move.</p>
<details><summary>All points</summary>${tableHtml('all points', head, rows)}</details>`;
  const data = {
    texts: texts.map((text) => showText(text, 300)),
    labels: labels ?? texts.map(() => 0),
    names: labels ? labelNames : [],
    maps: maps.map(({ note, points }) => ({ note, points: points.map((point) => point.map((x) => Number(short(x)))) })),
  };
  const json = JSON.stringify(data).replaceAll('<', '\\u003c');
  return htmlPage({ title, body, style, script: `const data = ${json};\n${script}` });
}

const style = `
main { max-width: 80rem; }
:root { --c0: #0072b2; --c1: #c75300; --c2: #00795a; --c3: #a6437b; --c4: #2a8fd0; --c5: #8a6d00; --c6: #6b6b6b;
  --c7: #5b5bd0; }
@media (prefers-color-scheme: dark) { :root { --c0: #4fb0f0; --c1: #ff8a3d; --c2: #2fd6a6; --c3: #f091c9;
  --c4: #a5d8ff; --c5: #e6c340; --c6: #b5b5b5; --c7: #b3b3ff; } }
#frame { border: 1px solid var(--line); border-radius: .4rem; overflow: hidden; }
#map { display: block; width: 100%; height: min(70vh, 40rem); touch-action: pan-y; cursor: crosshair; }
#key canvas { width: 16px; height: 16px; vertical-align: -.15rem; }
.tools { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center; margin: .75rem 0; }
input[type=search], .tools button { font: inherit; color: inherit; background: var(--paper);
  border: 1px solid var(--line); border-radius: .25rem; padding: .15rem .5rem; min-height: 2rem; }
.tools button { cursor: pointer; min-width: 2.25rem; }
.hint { font-size: .875rem; } td { text-align: left; } tbody th { font-weight: normal; }
td, tbody th { overflow-wrap: anywhere; } tbody th { min-width: 12rem; } details .scroll { max-height: 24rem;
  overflow: auto; }
`;

const script = `
const $ = (id) => document.getElementById(id);
const canvas = $('map'), context = canvas.getContext('2d');
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const say = (text) => { $('said').textContent = text; };
const hidden = new Set();
let points = data.maps[0].points, here = -1, wanted = '', scale = 1, moved = [0, 0], places = [], drag = null;
const colourOf = (label) => css('--c' + (label % 8));
/** Labels have shapes too: circle, square, triangle, diamond, cross, ring, star, bar. */
const mark = (context, label, x, y, r) => {
  const path = (corners) => {
    context.beginPath();
    corners.forEach(([a, b], k) => context[k ? 'lineTo' : 'moveTo'](x + a * r, y + b * r));
    context.closePath();
  };
  context.fillStyle = context.strokeStyle = colourOf(label);
  context.lineWidth = r / 2.2;
  const kind = label % 8;
  if (kind === 0 || kind === 5) {
    context.beginPath();
    context.arc(x, y, kind === 0 ? r : 0.8 * r, 0, 2 * Math.PI);
    return kind === 0 ? context.fill() : context.stroke();
  }
  if (kind === 4 || kind === 6) {
    context.beginPath();
    for (const [a, b] of kind === 4 ? [[1, 1], [1, -1]] : [[1, 0], [0, 1], [0.7, 0.7], [0.7, -0.7]]) {
      context.moveTo(x - a * r, y - b * r);
      context.lineTo(x + a * r, y + b * r);
    }
    return context.stroke();
  }
  path({ 1: [[-.9, -.9], [.9, -.9], [.9, .9], [-.9, .9]], 2: [[0, -1.1], [1.1, .9], [-1.1, .9]],
    3: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]], 7: [[-1.2, -.45], [1.2, -.45], [1.2, .45], [-1.2, .45]] }[kind]);
  context.fill();
};
const isShown = (i) => !hidden.has(data.labels[i]);
const isFound = (i) => wanted !== '' && data.texts[i].toLowerCase().includes(wanted);
const rangeOf = (side) => points.reduce(([a, b], p) => [Math.min(a, p[side]), Math.max(b, p[side])], [1 / 0, -1 / 0]);
const paint = () => {
  const ratio = devicePixelRatio || 1, [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * ratio; canvas.height = height * ratio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = css('--paper');
  context.fillRect(0, 0, width, height);
  const [[left, right], [low, high]] = [rangeOf(0), rangeOf(1)];
  const room = 18;
  const place = (value, from, to, size) => room + ((value - from) / (to - from || 1)) * (size - 2 * room);
  places = points.map(([x, y]) => [
    (place(x, left, right, width) - width / 2) * scale + width / 2 + moved[0],
    (height - place(y, low, high, height) - height / 2) * scale + height / 2 + moved[1],
  ]);
  const r = points.length > 500 ? 3 : points.length > 100 ? 4 : 5;
  places.forEach(([x, y], i) => {
    if (!isShown(i)) return;
    context.globalAlpha = wanted !== '' && !isFound(i) ? 0.15 : 0.85;
    mark(context, data.labels[i], x, y, r);
  });
  context.globalAlpha = 1;
  // Few points have their words beside them, where no other word stands.
  context.font = '12px system-ui, sans-serif';
  context.textBaseline = 'middle';
  context.fillStyle = css('--ink');
  const boxes = [];
  const inside = places.filter(([x, y]) => x > 0 && y > 0 && x < width && y < height).length;
  places.forEach(([x, y], i) => {
    const text = data.texts[i].trim();
    if (!isShown(i) || (inside > 120 && !isFound(i)) || text.length > 40) return;
    const wide = context.measureText(text).width, at = x + r + 4 + wide > width ? x - r - 4 - wide : x + r + 4;
    const box = [at, y - 7, at + wide, y + 7];
    if (boxes.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) return;
    boxes.push(box);
    context.fillText(text, at, y);
  });
  if (here < 0 || !isShown(here)) return;
  context.strokeStyle = css('--ink');
  context.lineWidth = 2;
  context.beginPath();
  context.arc(...places[here], r + 4, 0, 2 * Math.PI);
  context.stroke();
};
const choose = (i) => {
  here = i;
  // A point that zooming put outside comes to the middle.
  const [x, y] = places[i], [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (x < 0 || y < 0 || x > width || y > height) moved = [moved[0] + width / 2 - x, moved[1] + height / 2 - y];
  const name = data.names[data.labels[i]];
  const said = (name === undefined ? '' : name + ': ') + data.texts[i];
  canvas.setAttribute('aria-label', 'map of ' + points.length + ' points; ' + said);
  say(said);
  paint();
};
const shown = () => [...points.keys()].filter(isShown);
const nearestTo = (x, y, most) => {
  let [best, least] = [-1, most];
  for (const i of shown()) {
    const away = Math.hypot(places[i][0] - x, places[i][1] - y);
    if (away < least) [best, least] = [i, away];
  }
  return best;
};
/** The nearest point to a side: what is off the line counts more. */
const towards = (dx, dy) => {
  let [best, least] = [-1, Infinity];
  for (const i of shown()) {
    const [x, y] = [places[i][0] - places[here][0], places[i][1] - places[here][1]];
    const [along, across] = [x * dx + y * dy, Math.abs(x * dy - y * dx)];
    if (along > 0.5 && across <= 2 * along && along + 2 * across < least) [best, least] = [i, along + 2 * across];
  }
  return best;
};
const zoom = (by) => {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const next = by === 0 ? 1 : Math.max(1, Math.min(64, scale * by));
  const [x, y] = here >= 0 ? places[here] : [width / 2, height / 2];
  // What is pointed at comes to the middle.
  const grown = next / scale;
  moved = next === 1 ? [0, 0] : [(moved[0] + width / 2 - x) * grown, (moved[1] + height / 2 - y) * grown];
  scale = next;
  paint();
};
canvas.addEventListener('pointermove', (event) => {
  const box = canvas.getBoundingClientRect(), [x, y] = [event.clientX - box.left, event.clientY - box.top];
  if (drag && event.buttons) {
    moved = [drag[2] + x - drag[0], drag[3] + y - drag[1]];
    return paint();
  }
  const i = nearestTo(x, y, 18);
  if (i >= 0 && i !== here) choose(i);
});
canvas.addEventListener('pointerdown', (event) => {
  const box = canvas.getBoundingClientRect(), [x, y] = [event.clientX - box.left, event.clientY - box.top];
  drag = event.pointerType === 'mouse' ? [x, y, ...moved] : null;
  const i = nearestTo(x, y, 24);
  if (i >= 0) choose(i);
});
addEventListener('pointerup', () => { drag = null; });
canvas.addEventListener('focus', () => {
  if (here < 0 && canvas.matches(':focus-visible') && shown().length > 0)
    choose(nearestTo(canvas.clientWidth / 2, canvas.clientHeight / 2, Infinity));
});
canvas.addEventListener('keydown', (event) => {
  const { key } = event;
  const sides = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  const all = shown();
  if (key === '+' || key === '=' || key === '-') zoom(key === '-' ? 1 / 1.6 : 1.6);
  else if (key === 'Escape') zoom(0);
  else if (all.length > 0 && (key === 'Home' || key === 'End')) choose(key === 'Home' ? all[0] : all.at(-1));
  else if (all.length > 0 && key in sides) {
    const next = here < 0 || !isShown(here) ? all[0] : towards(...sides[key]);
    if (next >= 0) choose(next);
  } else return;
  event.preventDefault();
});
for (const button of document.querySelectorAll('.tools button'))
  button.addEventListener('click', () => zoom({ in: 1.6, out: 1 / 1.6, all: 0 }[button.value]));
$('find').addEventListener('input', () => {
  wanted = $('find').value.trim().toLowerCase();
  paint();
  if (wanted !== '') say(shown().filter(isFound).length + ' of ' + points.length + ' texts have "' + wanted + '"');
});
for (const input of document.querySelectorAll('input[name=map]'))
  input.addEventListener('change', () => {
    ({ points } = data.maps[input.value]);
    $('note').textContent = data.maps[input.value].note;
    [scale, moved] = [1, [0, 0]];
    paint();
  });
for (const box of document.querySelectorAll('#key input'))
  box.addEventListener('change', () => {
    if (box.checked) hidden.delete(Number(box.value)); else hidden.add(Number(box.value));
    paint();
  });
const paintAll = () => {
  for (const small of document.querySelectorAll('#key canvas')) {
    const own = small.getContext('2d');
    own.clearRect(0, 0, 16, 16);
    mark(own, Number(small.dataset.label), 8, 8, 5);
  }
  paint();
};
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paintAll);
addEventListener('resize', paint);
canvas.tabIndex = 0;
canvas.setAttribute('role', 'img');
canvas.setAttribute('aria-label', 'map of ' + points.length + ' points; arrow keys move from point to point');
paintAll();
document.documentElement.dataset.ready = 'yes';
`;
