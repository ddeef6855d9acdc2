// Attention as pictures: one page with all heads, one head as a map, its lines from token to token, and what
// its scores are made of.
import { escapeHtml } from '../../common/markup.ts';
import { htmlPage } from '../report/html-page.ts';
import { mapScript, mapStyle } from './map-script.ts';
import type { AttentionLayer, AttentionStack } from './patterns.ts';

/** A text's attention, with the text as it is shown above. */
export interface ShownAttention {
  readonly text: string;
  readonly stacks: readonly AttentionStack[];
}

/** A weight as a byte: the square root keeps small ones apart. Off by at most sqrt(w) / 255. */
const toByte = (weight: number): number => Math.round(255 * Math.sqrt(Math.min(1, Math.max(0, weight))));

/** Bytes as text: deflated, in base64. */
async function packed(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate'));
  const deflated = new Uint8Array(await new Response(stream).arrayBuffer());
  let text = '';
  // In pieces of whole triples: a call takes only so many arguments.
  for (let from = 0; from < deflated.length; from += 30_000)
    text += btoa(String.fromCharCode(...deflated.subarray(from, from + 30_000)));
  return text;
}

/** Bytes of queries and keys in a page, before they are text: those of further layers are left out. */
const mostNeurons = 600_000;

/** Queries and keys of some layers in 8 bits, each head's on a scale of its own. */
interface Neurons {
  /** Of each layer that is kept, in the order in which it lies in the bytes. */
  readonly layers: readonly { readonly layer: number; readonly width: number; readonly keyHeads: number }[];
  /** Of each layer that of its queries, head by head, then of its keys: what a code of 1 stands for. */
  readonly scales: readonly number[];
  readonly codes: string;
}

/** Those of the layers from `first` on, and of those before it, as long as they fit into `room` bytes. */
async function neuronsOf(layers: readonly AttentionLayer[], first: number, room: number): Promise<Neurons> {
  const order = layers.map((_, i) => (first + i) % layers.length);
  const kept: { layer: number; width: number; keyHeads: number }[] = [];
  const [scales, codes]: [number[], number[]] = [[], []];
  for (const layer of order) {
    const { heads, vectors } = layers[layer]!;
    if (!vectors) continue;
    const { width, queries, keyHeads, keys } = vectors;
    if (codes.length + queries.length + keys.length > room) break;
    kept.push({ layer, width, keyHeads });
    for (const [x, count] of [
      [queries, heads],
      [keys, keyHeads],
    ] as const)
      for (let head = 0; head < count; head++) {
        const own = x.subarray((x.length / count) * head, (x.length / count) * (head + 1));
        const scale = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127 || 1;
        scales.push(Number(scale.toPrecision(5)));
        for (const value of own) codes.push(Math.round(value / scale) + 128);
      }
  }
  return { layers: kept, scales, codes: await packed(Uint8Array.from(codes)) };
}

export interface AttentionPageOptions {
  /**
   * The first layer whose queries and keys are kept, where those of all do not fit (600 kB before they are
   * text: 128 tokens of 3 layers of 12 heads of 64 numbers); default 0.
   */
  readonly layer?: number;
}

/**
 * The attention of one or several texts as one HTML file that needs no other and no network, in BertViz'
 * views (Vig 2019): all heads of all layers as small maps, one head as a map with its values, lines from
 * token to token for some heads of a layer, and of one token and head the products of query and keys, number
 * by number, that its scores are sums of. Layer and head are chosen by mouse or keyboard; values are read
 * out, and stand in a table. Weights, queries and keys are kept in 8 bits. Errors, one line: there is nothing
 * to show; no such layer.
 *
 * @example
 * const { model, tokenizer } = await loadTextEncoder('models/pretrained/bert-small', 'ForMaskedLM');
 * const stacks = await attentionPatterns(model, tokenizer, 'My fellow citizens');
 * const page = await attentionPage([{ text: 'My fellow citizens', stacks }]);
 * await saveFiles([{ path: 'attention.html', data: page }]);
 */
export async function attentionPage(
  shown: readonly ShownAttention[],
  title = 'Attention',
  { layer: first = 0 }: AttentionPageOptions = {},
): Promise<string> {
  if (!shown.some(({ stacks }) => stacks.some(({ layers }) => layers.length > 0)))
    throw new Error('attentionPage: there are no layers to show; give a text and a model with attention');
  const stacks = shown.flatMap(({ text, stacks: own }) =>
    own.filter(({ layers }) => layers.length > 0).map((stack) => ({ text, ...stack })),
  );
  const most = Math.max(...stacks.map(({ layers }) => layers.length));
  if (!(Number.isInteger(first) && first >= 0 && first < most))
    throw new Error(`attentionPage: there is no layer ${first}; layers are 0 to ${most - 1}`);
  const data = await Promise.all(
    stacks.map(async ({ text, name, from, to, layers }) => ({
      text,
      name,
      from: from.map((token) => token.text),
      to: to.map((token) => token.text),
      sides: [from.map(({ side }) => side), to.map(({ side }) => side)],
      heads: layers.map(({ heads }) => heads),
      neurons: await neuronsOf(layers, Math.min(first, layers.length - 1), mostNeurons / stacks.length),
      weights: await packed(Uint8Array.from(layers.flatMap(({ weights }) => Array.from(weights, toByte)))),
    })),
  );
  const choice = (id: string, label: string, options: readonly string[]): string =>
    `<label>${label} <select id="${id}">${options
      .map((option, i) => `<option value="${i}">${escapeHtml(option)}</option>`)
      .join('')}</select></label>`;
  const names = data.map(({ text, name }) => (shown.length > 1 ? `${short(text)}: ${name}` : name));
  const body = `<p class="about">${shown.map(({ text }) => escapeHtml(text)).join('<br>')}</p>
<noscript><p>The pictures are drawn by a script, which this browser does not run.</p></noscript>
<div class="choices">${data.length > 1 ? choice('stack', 'of', names) : ''}
<label>layer <select id="layer"></select></label>
<label>head <select id="head"></select></label>
<label id="sides" hidden>tokens <select id="side">${sides
    .map(([value, name]) => `<option value="${value}">${name}</option>`)
    .join('')}</select></label></div>
<h2 id="allname">All heads</h2>
<p class="key">A row is a layer, a column a head. Down: the tokens that attend; across: those attended to. <span
class="ramp" aria-hidden="true"></span> 0 to 1; the shade follows the square root of the weight.</p>
<div class="scroll"><div id="all" role="group" aria-labelledby="allname"></div></div>
<h2 id="onename">One head</h2>
<div class="map"><canvas id="one"></canvas></div>
<details><summary>What each token attends to most</summary><div class="scroll" tabindex="0" role="region"
aria-label="what each token attends to most"><table id="most"><thead><tr><th scope="col">token</th>
${['1st', '2nd', '3rd'].map((name) => `<th scope="col">${name}</th>`).join('')}</tr></thead>
<tbody></tbody></table></div></details>
<h2 id="linesname">From token to token</h2>
<fieldset id="heads"><legend>Heads of the layer</legend></fieldset>
<div id="lines" tabindex="0" role="group" aria-labelledby="linesname"><ol id="from"></ol><canvas
aria-hidden="true"></canvas><ol id="to"></ol></div>
<h2 id="neuronsname">Query and keys</h2>
<p class="key" id="neuronsnote"></p>
<div id="neurons"><p><label>token <select id="token"></select></label></p>
<p class="key">The first row is the token's query; below it, for each token, the query times that token's key, number by
number. Their sum is the score, before it is scaled and what a mask or distances add. Blue above 0, orange below.</p>
<div class="map"><canvas id="products"></canvas></div>
<details><summary>Scores of this token</summary><div class="scroll" tabindex="0" role="region"
aria-label="scores of this token"><table id="scores"><thead><tr><th scope="col">token</th>
<th scope="col">query · key</th><th scope="col">weight</th></tr></thead><tbody></tbody></table></div></details></div>`;
  const json = JSON.stringify(data).replaceAll('<', '\\u003c');
  return htmlPage({ title, body, style: mapStyle + style, script: `const data = ${json};\n${mapScript}${script}` });
}

/** Which tokens of a pair are shown: the sides of those that attend and of those attended to. */
const sides = [
  ['', 'all'],
  ['0 0', 'first to first'],
  ['0 1', 'first to second'],
  ['1 0', 'second to first'],
  ['1 1', 'second to second'],
] as const;

const short = (text: string): string => (text.length > 40 ? `${text.slice(0, 39)}…` : text);

const style = `
main { max-width: 80rem; }
.about { overflow-wrap: anywhere; }
.choices { display: flex; flex-wrap: wrap; gap: .25rem 1rem; position: sticky; top: 0; z-index: 1; padding: .5rem 0;
  background: var(--paper); border-bottom: 1px solid var(--line); }
select { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line); border-radius: .25rem;
  padding: .1rem .3rem; max-width: 20rem; }
.key { font-size: .875rem; }
.ramp { display: inline-block; width: 6rem; height: .8em; border: 1px solid var(--line); vertical-align: -.05em;
  background: linear-gradient(90deg, #fff, #003f78); }
@media (prefers-color-scheme: dark) { .ramp { background: linear-gradient(90deg, #14171b, #7ec7ff); } }
#all { display: grid; gap: 3px; width: max-content; max-width: 100%; padding: 3px; }
#all button { padding: 0; border: 1px solid var(--line); background: none; line-height: 0; min-width: 24px;
  aspect-ratio: 1; cursor: pointer; }
#all button canvas { width: 100%; height: 100%; image-rendering: pixelated; }
#all button[aria-pressed=true] { outline: 3px solid rgb(var(--for)); outline-offset: 0; }
#all span { font-size: .75rem; align-self: center; justify-self: center; }
#lines { display: grid;
  grid-template-columns: minmax(4rem, max-content) minmax(4rem, 24rem) minmax(4rem, max-content);
  width: max-content; max-width: 100%; }
#lines ol { list-style: none; margin: 0; padding: 0; min-width: 0; }
#lines li { height: 1.4rem; line-height: 1.4rem; font-size: .875rem; padding: 0 .35rem; max-width: 9rem;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; border-radius: .2rem; cursor: default; }
#from li { text-align: right; } #lines li.here { outline: 2px solid var(--ink); outline-offset: -2px; }
#lines li b { font-weight: normal; float: right; font-variant-numeric: tabular-nums; margin-left: .5rem; }
#lines canvas { width: 100%; height: 100%; }
#heads { margin: .5rem 0; } #heads i { display: inline-block; width: 1.1rem; height: .8rem; border-radius: .2rem;
  vertical-align: -.05rem; }
#most td { text-align: left; }
`;

const script = `
const $ = (id) => document.getElementById(id);
const say = (text) => { $('said').textContent = text; };
// Okabe and Ito's colours, which the colour-blind tell apart; yellow is left out, which is too pale for lines.
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#7f7f7f'];
const isDark = () => matchMedia('(prefers-color-scheme: dark)').matches;
const onDark = { '#0072b2': '#4fb0f0', '#d55e00': '#ff8a3d', '#009e73': '#2fd6a6' };
/** Heads beyond the seventh have the colours of the first ones; their lines are dashed. */
const colourOfHead = (head) => {
  const colour = colours[head % colours.length];
  return (isDark() && onDark[colour]) || colour;
};
const state = { stack: 0, layer: 0, head: 0, heads: new Set([0]), token: null, query: null };
let weights = null, codes = null, starts = [];
const map = mapOf($('one'), say), neuronMap = mapOf($('products'), say);
const unpack = async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};
const stack = () => data[state.stack];
const size = () => stack().from.length * stack().to.length;
/** The byte of a weight, and the weight. */
const byteAt = (layer, head, i, j) => weights[starts[layer] + head * size() + i * stack().to.length + j];
const weightAt = (layer, head, i, j) => (byteAt(layer, head, i, j) / 255) ** 2;
const show = (weight) => weight.toFixed(3);
/** The numbers of the tokens that are shown, of those that attend and those attended to. */
const chosen = () => {
  const [from, to] = $('side').value.split(' ').map(Number);
  const pick = (sides, side) => sides.flatMap((own, t) => $('side').value === '' || own === side ? [t] : []);
  return [pick(stack().sides[0], from), pick(stack().sides[1], to)];
};
const options = (select, count, value) => {
  select.replaceChildren(...Array.from({ length: count }, (_, i) => new Option(i, i)));
  select.value = Math.min(value, count - 1);
};
const buttonOf = (layer, head) => document.querySelector('#all button[data-at="' + layer + ' ' + head + '"]');

const drawSmall = (button) => {
  const [layer, head] = button.dataset.at.split(' ').map(Number);
  const { from, to } = stack(), canvas = button.firstChild;
  canvas.width = to.length; canvas.height = from.length;
  const image = new ImageData(to.length, from.length);
  for (let i = 0; i < size(); i++) {
    image.data.set(ramp[weights[starts[layer] + head * size() + i]], 4 * i);
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
};
let ramp = [];
const drawAll = () => {
  ramp = Array.from({ length: 256 }, (_, byte) => [...colourOf(byte / 255), 255]);
  for (const button of document.querySelectorAll('#all button')) drawSmall(button);
};
repaints.push(() => { if (weights) { drawAll(); buildLines(); } });

const build = () => {
  const { heads } = stack(), most = Math.max(...heads);
  const all = $('all');
  all.style.gridTemplateColumns = 'auto repeat(' + most + ', minmax(24px, ' + (most > 8 ? 84 : 120) + 'px))';
  const label = (text) => Object.assign(document.createElement('span'), { textContent: text });
  const cells = [label(''), ...Array.from({ length: most }, (_, head) => label(head))];
  heads.forEach((count, layer) => {
    cells.push(label(layer));
    for (let head = 0; head < most; head++) {
      if (head >= count) { cells.push(label('')); continue; }
      const button = document.createElement('button');
      button.type = 'button';
      button.dataset.at = layer + ' ' + head;
      button.append(document.createElement('canvas'));
      button.setAttribute('aria-label', 'layer ' + layer + ', head ' + head);
      button.title = 'layer ' + layer + ', head ' + head;
      cells.push(button);
    }
  });
  all.replaceChildren(...cells);
  drawAll();
};
const choose = (layer, head) => {
  const { heads } = stack();
  state.layer = Math.max(0, Math.min(heads.length - 1, layer));
  state.head = Math.max(0, Math.min(heads[state.layer] - 1, head));
  state.heads = new Set([state.head]);
  options($('layer'), heads.length, state.layer);
  options($('head'), heads[state.layer], state.head);
  for (const button of document.querySelectorAll('#all button')) {
    const isHere = button === buttonOf(state.layer, state.head);
    button.setAttribute('aria-pressed', isHere);
    button.tabIndex = isHere ? 0 : -1;
  }
  drawOne();
  buildLines();
  drawNeurons();
};
const drawOne = () => {
  const { from, to } = stack(), { layer, head } = state, [rows, columns] = chosen();
  const name = 'layer ' + layer + ', head ' + head;
  $('onename').textContent = 'One head: ' + name;
  map.draw({
    label: 'attention of ' + name,
    rows: rows.map((i) => from[i]), columns: columns.map((j) => to[j]),
    at: (i, j) => byteAt(layer, head, rows[i], columns[j]),
    shade: (byte) => byte / 255,
    text: (i, j) => from[rows[i]] + ' (' + rows[i] + ') attends to ' + to[columns[j]] + ' (' + columns[j] + '): ' +
      show(weightAt(layer, head, rows[i], columns[j])),
  });
  const lines = rows.map((i) => {
    const best = columns.map((j) => [weightAt(layer, head, i, j), j]).sort((a, b) => b[0] - a[0]).slice(0, 3);
    const line = document.createElement('tr');
    const name = Object.assign(document.createElement('th'), { scope: 'row', textContent: from[i] });
    line.append(name, ...best.map(([weight, j]) =>
      Object.assign(document.createElement('td'), { textContent: to[j] + ' ' + show(weight) })));
    return line;
  });
  $('most').tBodies[0].replaceChildren(...lines);
};

const buildLines = () => {
  const { from, to, heads } = stack(), [rows, columns] = chosen();
  const legend = $('heads').firstChild;
  $('linesname').textContent = 'From token to token: layer ' + state.layer;
  $('heads').replaceChildren(legend, ...Array.from({ length: heads[state.layer] }, (_, head) => {
    const [label, box, tile] = ['label', 'input', 'i'].map((tag) => document.createElement(tag));
    box.type = 'checkbox'; box.checked = state.heads.has(head); box.dataset.head = head;
    const colour = colourOfHead(head);
    tile.style.background = head < colours.length ? colour
      : 'repeating-linear-gradient(90deg, ' + colour + ' 0 4px, transparent 4px 7px)';
    box.addEventListener('change', () => {
      if (box.checked) state.heads.add(head); else state.heads.delete(head);
      drawLines();
    });
    label.append(box, ' ', tile, ' ' + head);
    return label;
  }));
  const item = (text) => Object.assign(document.createElement('li'), { textContent: text, title: text });
  $('from').replaceChildren(...rows.map((i) => item(from[i])));
  $('to').replaceChildren(...columns.map((j) => item(to[j])));
  if (state.token !== null && state.token >= rows.length) state.token = null;
  drawLines();
};
const drawLines = () => {
  const [rows, columns] = chosen(), { layer, heads, token } = state;
  const canvas = document.querySelector('#lines canvas'), items = [...$('from').children];
  [...$('to').children].forEach((own, j) => {
    own.querySelector('b')?.remove();
    own.style.background = '';
    if (token === null || heads.size === 0) return;
    const weight = meanAt(rows[token], columns[j]);
    own.style.background = 'rgb(' + colourOf(0.7 * Math.sqrt(weight)).join(' ') + ' / .45)';
    if (weight >= 0.0005) own.prepend(Object.assign(document.createElement('b'), { textContent: show(weight) }));
  });
  items.forEach((own, i) => own.classList.toggle('here', i === token));
  const unit = items[0]?.getBoundingClientRect().height ?? 0, ratio = devicePixelRatio || 1;
  const width = canvas.clientWidth, height = unit * Math.max(rows.length, columns.length);
  canvas.width = width * ratio; canvas.height = Math.min(16000, height * ratio);
  canvas.style.height = height + 'px';
  const context = canvas.getContext('2d');
  context.scale(ratio, canvas.height / Math.max(1, height));
  const more = isDark() ? 0.08 : 0;
  [...heads].forEach((head) => {
    context.strokeStyle = colourOfHead(head);
    context.setLineDash(head < colours.length ? [] : [6, 4]);
    rows.forEach((i, row) => {
      if (token !== null && row !== token) return;
      columns.forEach((j, column) => {
        const weight = weightAt(layer, head, i, j);
        if (weight < 0.01) return;
        context.globalAlpha = Math.min(1, (token === null ? 0.9 : 1) * weight + more);
        context.lineWidth = token === null ? 1.5 : 1 + 3 * weight;
        context.beginPath();
        context.moveTo(0, (row + 0.5) * unit);
        context.lineTo(width, (column + 0.5) * unit);
        context.stroke();
      });
    });
  });
};
/** The mean over the heads that are ticked. */
const meanAt = (i, j) =>
  [...state.heads].reduce((sum, head) => sum + weightAt(state.layer, head, i, j), 0) / Math.max(1, state.heads.size);
const pick = (token) => {
  const [rows, columns] = chosen();
  if (rows.length === 0) return;
  state.token = token === null ? null : Math.max(0, Math.min(rows.length - 1, token));
  drawLines();
  if (state.token === null) return say('all tokens');
  $('from').children[state.token].scrollIntoView?.({ block: 'nearest' });
  const { from, to } = stack(), i = rows[state.token];
  const best = columns.map((j) => [meanAt(i, j), j]).sort((a, b) => b[0] - a[0]);
  say(from[i] + ' attends to ' + best.slice(0, 3).map(([weight, j]) => to[j] + ' ' + show(weight)).join(', '));
};
$('from').addEventListener('pointerover', ({ target }) => {
  const item = target.closest('li');
  if (item) pick([...$('from').children].indexOf(item));
});
$('from').addEventListener('click', ({ target }) => {
  const item = target.closest('li');
  if (item) pick([...$('from').children].indexOf(item));
});
$('lines').addEventListener('pointerleave', () => { if (document.activeElement !== $('lines')) pick(null); });
$('lines').addEventListener('keydown', (event) => {
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 };
  if (event.key === 'Escape') return pick(null);
  if (!(event.key in moves)) return;
  event.preventDefault();
  pick(state.token === null ? 0 : state.token + moves[event.key]);
});
$('all').addEventListener('click', ({ target }) => {
  const button = target.closest('button');
  if (!button) return;
  choose(...button.dataset.at.split(' ').map(Number));
  say('layer ' + state.layer + ', head ' + state.head);
});
$('all').addEventListener('keydown', (event) => {
  const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  if (!(event.key in moves)) return;
  event.preventDefault();
  choose(state.layer + moves[event.key][0], state.head + moves[event.key][1]);
  buttonOf(state.layer, state.head).focus();
  say('layer ' + state.layer + ', head ' + state.head);
});
$('layer').addEventListener('change', () => choose(Number($('layer').value), state.head));
$('head').addEventListener('change', () => choose(state.layer, Number($('head').value)));
$('side').addEventListener('change', () => { state.token = null; drawOne(); buildLines(); drawNeurons(); });
$('token').addEventListener('change', () => { state.query = Number($('token').value); drawNeurons(); });
/** Where queries and keys of a layer lie, or undefined where the page has none. */
const placeOf = (layer) => {
  const { from, to, heads, neurons } = stack();
  let at = 0, scale = 0;
  for (const { layer: own, width, keyHeads } of neurons.layers) {
    const keysAt = at + heads[own] * from.length * width;
    if (own === layer) return { width, keyHeads, at, keysAt, scale };
    at = keysAt + keyHeads * to.length * width;
    scale += heads[own] + keyHeads;
  }
  return undefined;
};
const drawNeurons = () => {
  const { from, to, heads, neurons } = stack(), { layer, head } = state, [rows, columns] = chosen();
  const place = placeOf(layer), kept = neurons.layers.map(({ layer }) => layer).sort((a, b) => a - b);
  const isShown = place !== undefined && rows.length > 0;
  $('neurons').hidden = !isShown;
  $('neuronsname').textContent = 'Query and keys: layer ' + layer + ', head ' + head;
  $('neuronsnote').textContent = isShown ? '' : kept.length > 0 ? 'This file has queries and keys of layers ' +
    kept.join(', ') + '; inspect attention --layer ' + layer + ' keeps those of this one.' :
    'This file has no queries and keys.';
  if (!isShown) return;
  if (!rows.includes(state.query)) state.query = rows[rows.length - 1];
  $('token').replaceChildren(...rows.map((i) => new Option(from[i] + ' (' + i + ')', i)));
  $('token').value = state.query;
  const { width, keyHeads, at, keysAt, scale } = place, i = state.query;
  const keyHead = Math.floor((head * keyHeads) / heads[layer]);
  const numbers = (start, step) => Array.from({ length: width }, (_, d) => (codes[start + d] - 128) * step);
  const query = numbers(at + (head * from.length + i) * width, neurons.scales[scale + head]);
  const keyScale = neurons.scales[scale + heads[layer] + keyHead];
  const products = columns.map((j) =>
    numbers(keysAt + (keyHead * to.length + j) * width, keyScale).map((key, d) => key * query[d]));
  const most = (list) => Math.max(1e-30, ...list.map(Math.abs));
  const strongest = [most(query), most(products.flat())];
  const name = 'layer ' + layer + ', head ' + head;
  neuronMap.draw({
    label: 'query of ' + from[i] + ' times keys, ' + name,
    rows: ['query', ...columns.map((j) => to[j])], columns: query.map((_, d) => String(d)),
    at: (row, d) => row === 0 ? query[d] / strongest[0] : products[row - 1][d] / strongest[1],
    shade: (share) => share,
    text: (row, d) => row === 0 ? 'query of ' + from[i] + ', number ' + d + ': ' + query[d].toFixed(2) :
      'query times key of ' + to[columns[row - 1]] + ' (' + columns[row - 1] + '), number ' + d + ': ' +
      products[row - 1][d].toFixed(2),
  });
  const sums = products.map((own) => own.reduce((a, b) => a + b, 0));
  $('scores').tBodies[0].replaceChildren(...columns.map((j, row) => {
    const line = document.createElement('tr');
    const cell = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
    line.append(Object.assign(cell('th', to[j]), { scope: 'row' }), cell('td', sums[row].toFixed(2)),
      cell('td', show(weightAt(layer, head, i, j))));
    return line;
  }));
};
const open = async (number) => {
  state.stack = number;
  state.token = null;
  codes = await unpack(stack().neurons.codes);
  weights = await unpack(stack().weights);
  let at = 0;
  starts = stack().heads.map((heads) => { const start = at; at += heads * size(); return start; });
  const isPair = ['0', '1'].every((side) => stack().sides[0].includes(Number(side)));
  $('sides').hidden = !isPair;
  $('side').value = '';
  build();
  choose(state.layer, state.head);
};
$('stack')?.addEventListener('change', () => open(Number($('stack').value)));
open(0).then(() => { document.documentElement.dataset.ready = 'yes'; });
`;
