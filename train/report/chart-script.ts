/**
 * The script of a page with charts, without a library: draws each figure of `chartFigure` from the JSON in
 * it. Values at the pointer, or where the arrow keys lead, show in the key; charts of one x axis share place
 * and zoom. It writes numbers and escaped names only.
 */
export const chartScript = `
const dashes = ['', '7 3', '2 3', '9 3 2 3', '4 2'];
const escape = (text) => String(text).replace(/[&<>"']/g, (c) => '&#' + c.charCodeAt(0) + ';');
const tag = (name, attributes, inner = '') => {
  const text = (value) => (typeof value === 'number' ? Number(value.toFixed(1)) : escape(value));
  const list = Object.entries(attributes).map(([key, value]) => ' ' + key + '="' + text(value) + '"');
  return '<' + name + list.join('') + '>' + inner + '</' + name + '>';
};
const colored = (color) => '--color:var(--c' + (color % 6) + ')';
const strokeOf = (color, faint) =>
  faint ? { class: 'line faint' } : { class: 'line', 'stroke-dasharray': dashes[color % 5] };
const number = (value) => {
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString('en');
  return size === 0 || size >= 1e-3 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
};
const stepOf = (low, high, count) => {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((factor) => factor * power >= 0.999 * rough) ?? 10);
};
const ticksOf = (low, high, count, log) => {
  const list = [];
  if (log && high / low > 3) {
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++)
      for (const factor of high / low > 100 ? [1] : [1, 2, 5]) list.push(factor * 10 ** e);
    return list.filter((x) => x >= low && x <= high).map((x) => [x, number(x)]);
  }
  const step = stepOf(low, high, count);
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) list.push(i * step || 0);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const plain = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  const short = { notation: 'compact', maximumFractionDigits: 2 };
  return list.map((x) => {
    if (step < 5e-4) return [x, x === 0 ? '0' : Number(x.toPrecision(3)).toExponential()];
    return [x, x.toLocaleString('en', high >= 1e5 ? short : plain)];
  });
};
const nearest = (points, x) => {
  let [low, high] = [0, points.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < x) low = middle;
    else high = middle;
  }
  return Math.abs(points[low][0] - x) <= Math.abs(points[high][0] - x) ? low : high;
};

const groups = {};
for (const [index, figure] of document.querySelectorAll('figure.chart').entries()) {
  const data = JSON.parse(figure.querySelector('script').textContent);
  const [plot, key, place] = ['.plot', '.key', '.place'].map((name) => figure.querySelector(name));
  const group = (groups[data.x] ??= { charts: [], low: 0, high: 0, view: null, at: null });
  const known = data.series.map(({ points }) => points.filter(([, y]) => y !== null));
  const places = [...new Set(known.flat().map(([x]) => x))].sort((a, b) => a - b).map((x) => [x]);
  group.low = Math.min(group.low, places[0][0]);
  group.high = Math.max(group.high, places.at(-1)[0], 1);
  const hidden = new Set();
  const ys = known.flat().map(([, y]) => y);
  const [least, most] = ys.reduce(([a, b], y) => [Math.min(a, y), Math.max(b, y)], [Infinity, 0]);
  const canLog = least > 0 && most / least > 10;
  let log = canLog && data.log;
  let [frame, over, start] = [null, null, null];

  const view = () => group.view ?? [group.low, group.high];
  const shown = () => data.series.map((series, i) => ({ ...series, known: known[i] })).filter((_, i) => !hidden.has(i));
  const bounds = () => {
    const [from, to] = view();
    if (data.domain) return data.domain;
    const inside = shown().flatMap((each) => [...each.known, ...each.band]).filter(([x]) => x >= from && x <= to);
    const seen = inside.flatMap(([, ...values]) => values);
    let [low, high] = seen.reduce(([a, b], y) => [Math.min(a, y), Math.max(b, y)], [Infinity, -Infinity]);
    if (low > high) [low, high] = [log ? 0.1 : 0, 1];
    const room = Math.abs(high) / 9 || 1;
    if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - room, high + room];
    if (log) return [low, high];
    if (low > 0 && low < 0.3 * high) low = 0;
    const step = stepOf(low, high, 5);
    return [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
  };

  const draw = () => {
    const width = plot.clientWidth;
    const height = Math.round(Math.max(190, Math.min(300, 0.55 * width)));
    const [[from, to], [low, high]] = [view(), bounds()];
    const yTicks = ticksOf(low, high, 7, log);
    const left = 14 + 7 * Math.max(...yTicks.map(([, text]) => text.length), 1);
    const [right, top, bottom] = [width - 22, 10, height - 40];
    const of = log ? Math.log : Number;
    const px = (x) => left + ((x - from) / (to - from)) * (right - left);
    const py = (y) => bottom - ((of(y) - of(low)) / (of(high) - of(low))) * (bottom - top);
    frame = { left, right, top, bottom, px, py, from, to };
    const text = (x, y, anchor, said) => tag('text', { x, y, 'text-anchor': anchor }, escape(said));
    const upright = (x, name) => tag('path', { class: name, d: 'M' + px(x).toFixed(1) + ' ' + top + 'V' + bottom });
    const across = (y, name) => tag('path', { class: name, d: 'M' + left + ' ' + py(y).toFixed(1) + 'H' + right });
    frame.upright = upright;
    const lines = shown().map(({ points, known, band, color, faint, dots }) => {
      const style = colored(color);
      const at = ([x, y]) => px(x).toFixed(1) + ' ' + py(y).toFixed(1);
      let [d, pen] = ['', 'M'];
      points.forEach((point, k) => {
        if (points[k + 1]?.[0] < from || points[k - 1]?.[0] > to) return;
        if (point[1] !== null) d += pen + at(point);
        pen = point[1] === null ? 'M' : 'L';
      });
      const edge = [...band.map(([x, y]) => [x, y]), ...[...band].reverse().map(([x, , y]) => [x, y])];
      const isDotted = dots || known.length === 1;
      return (
        (band.length > 0 ? tag('path', { class: 'band', style, d: 'M' + edge.map(at).join('L') + 'Z' }) : '') +
        tag('path', { ...strokeOf(color, faint), style, d }) +
        (isDotted ? known.map(([x, y]) => tag('circle', { style, cx: px(x), cy: py(y), r: 3.5 })).join('') : '')
      );
    });
    const marks = data.marks.filter(({ x }) => x >= from && x <= to).map(({ x, text: said }) => {
      const [side, anchor] = px(x) > (left + right) / 2 ? [-5, 'end'] : [5, 'start'];
      return upright(x, 'mark') + text(px(x) + side, top + 8, anchor, said);
    });
    const xTicks = ticksOf(from, to, Math.max(2, Math.min(7, (right - left) / 80)), false);
    const clip = 'clip' + index;
    const area = { x: left - 5, y: top - 5, width: Math.max(0, right - left) + 10, height: bottom - top + 10 };
    plot.innerHTML = tag(
      'svg',
      { 'aria-hidden': 'true', width, height },
      tag('clipPath', { id: clip }, tag('rect', area)) +
        yTicks.map(([y, said]) => across(y, 'grid') + text(left - 8, py(y) + 4, 'end', said)).join('') +
        xTicks.map(([x, said]) => text(px(x), bottom + 18, 'middle', said)).join('') +
        text((left + right) / 2, height - 5, 'middle', data.x) +
        tag('g', { 'clip-path': 'url(#' + clip + ')' }, lines.join('')) +
        marks.join('') + tag('g', { class: 'over' }),
    );
    over = plot.querySelector('.over');
    show();
  };

  const show = () => {
    const at = group.at === null ? null : places[nearest(places, group.at)][0];
    const isInside = (x) => x >= frame.from && x <= frame.to;
    const said = [];
    let html = at !== null && isInside(at) ? frame.upright(at, 'here') : '';
    data.series.forEach(({ name, color, dots }, i) => {
      const out = key.children[i].querySelector('output');
      out.textContent = '';
      if (at === null || hidden.has(i)) return;
      const [x, y] = known[i][nearest(known[i], at)];
      if (!dots && Math.abs(x - at) > (group.high - group.low) / 50) return;
      out.textContent = number(y) + (dots && x !== at ? ' at ' + number(x) : '');
      said.push(name + ' ' + out.textContent);
      if (isInside(x)) html += tag('circle', { style: colored(color), cx: frame.px(x), cy: frame.py(y), r: 5 });
    });
    over.innerHTML = html;
    place.textContent = at === null ? '' : data.x + ' ' + number(at);
    plot.setAttribute('aria-valuenow', at ?? places.at(-1)[0]);
    plot.setAttribute('aria-valuetext', at === null ? 'no place yet' : place.textContent + ': ' + said.join(', '));
  };
  const move = (x) => {
    group.at = x;
    for (const chart of group.charts) chart.show();
  };
  const zoom = (next) => {
    const [from, to] = next ?? [-Infinity, Infinity];
    const isAll = from <= group.low && to >= group.high;
    group.view = isAll ? null : [Math.max(group.low, from), Math.min(group.high, to)];
    for (const chart of group.charts) chart.draw();
  };
  const scale = (factor) => {
    const [from, to] = view();
    const middle = group.at >= from && group.at <= to && group.at !== null ? group.at : (from + to) / 2;
    if ((to - from) * factor > 1e-6 * (group.high - group.low))
      zoom([middle - (middle - from) * factor, middle + (to - middle) * factor]);
  };
  group.charts.push({ draw, show, zoom, scale });

  const button = (inner, pressed, click) => {
    const made = document.createElement('button');
    made.type = 'button';
    made.innerHTML = inner;
    made.setAttribute('aria-pressed', pressed);
    made.addEventListener('click', () => {
      made.setAttribute('aria-pressed', click());
      draw();
    });
    return made;
  };
  data.series.forEach(({ name, color, faint, dots }, i) => {
    const line = tag('path', { ...strokeOf(color, faint), d: 'M1 6H25' });
    const dot = dots ? tag('circle', { cx: 13, cy: 6, r: 3.5 }) : '';
    const sample = tag('svg', { 'aria-hidden': 'true', width: 26, height: 12, style: colored(color) }, line + dot);
    const toggle = () => hidden.delete(i) || !hidden.add(i);
    key.append(button(sample + ' ' + escape(name) + ' <output></output>', true, toggle));
  });
  if (canLog) place.after(button('log', Boolean(log), () => (log = !log)));

  const xOf = (clientX) => {
    const part = (clientX - plot.getBoundingClientRect().left - frame.left) / (frame.right - frame.left);
    return frame.from + Math.min(1, Math.max(0, part)) * (frame.to - frame.from);
  };
  const chosen = (event) => [xOf(start), xOf(event.clientX)].sort((a, b) => a - b);
  plot.addEventListener('pointerdown', (event) => {
    if (event.pointerType === 'mouse' && event.button === 0) {
      start = event.clientX;
      plot.setPointerCapture(event.pointerId);
    }
    move(xOf(event.clientX));
  });
  plot.addEventListener('pointermove', (event) => {
    move(xOf(event.clientX));
    if (start === null) return;
    const [x, end] = chosen(event).map(frame.px);
    over.innerHTML += tag('rect', { x, y: frame.top, width: end - x, height: frame.bottom - frame.top });
  });
  plot.addEventListener('pointerup', (event) => {
    if (start !== null && Math.abs(event.clientX - start) > 8) zoom(chosen(event));
    start = null;
  });
  plot.addEventListener('pointerleave', () => document.activeElement === plot || move(null));
  plot.addEventListener('dblclick', () => zoom(null));
  plot.addEventListener('blur', () => move(null));
  plot.addEventListener('focus', () => plot.matches(':focus-visible') && move(places.at(-1)[0]));
  plot.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const list = places.filter(([x]) => x >= view()[0] && x <= view()[1]);
    const page = Math.ceil(list.length / 10);
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: page, PageDown: -page };
    const step = { ...steps, Home: -Infinity, End: Infinity }[event.key];
    const zooms = { '+': () => scale(0.5), '=': () => scale(0.5), '-': () => scale(2), Escape: () => zoom(null) };
    if (step !== undefined && list.length > 0) {
      const now = group.at === null ? list.length : nearest(list, group.at);
      move(list[Math.min(list.length - 1, Math.max(0, now + step))][0]);
    } else if (zooms[event.key]) zooms[event.key]();
    else return;
    event.preventDefault();
  });
  for (const [name, value] of Object.entries({ role: 'slider', tabindex: 0, 'aria-valuemin': places[0][0] }))
    plot.setAttribute(name, value);
  plot.setAttribute('aria-valuemax', places.at(-1)[0]);
}
for (const chart of Object.values(groups).flatMap(({ charts }) => charts)) chart.draw();
let width = innerWidth;
addEventListener('resize', () => {
  if (width === innerWidth) return;
  width = innerWidth;
  for (const { charts } of Object.values(groups)) for (const { draw } of charts) draw();
});
for (const button of document.querySelectorAll('.tools button'))
  button.addEventListener('click', () => {
    for (const { charts: [{ scale, zoom }] } of Object.values(groups))
      ({ in: () => scale(0.5), out: () => scale(2), all: () => zoom(null) })[button.value]();
  });
`;
