import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DOMParser } from 'linkedom';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { smooth } from '../../common/statistics.ts';
import { curvesSvg, writeCurves } from '../../train/report/plot.ts';
import type { Panel } from '../../train/report/panel.ts';
import { failure } from '../support/failure.ts';

const test = suite('train/plot');

const loss: Panel = {
  title: 'Loss of "a < b & c"',
  xLabel: 'step',
  yLabel: 'cross-entropy',
  series: [
    {
      name: 'raw',
      points: [
        [1, 0.9],
        [2, 0.5],
        [3, NaN],
        [4, 0.4],
      ],
      faint: true,
    },
    {
      name: 'smoothed',
      points: [
        [1, 0.9],
        [2, 0.7],
        [4, 0.5],
      ],
    },
    {
      name: 'validation <&>',
      points: [
        [2, 0.6],
        [4, 0.55],
      ],
      dots: true,
    },
  ],
};

const parse = (svg: string) => new DOMParser().parseFromString(svg, 'image/svg+xml');
const texts = (svg: string): string[] => [...parse(svg).querySelectorAll('text')].map((node) => node.textContent ?? '');
const paths = (svg: string) => [...parse(svg).querySelectorAll('g[data-mark=line] path')];

test('holds title, legend, axis labels and ticks, escaped', () => {
  const found = texts(curvesSvg(loss));
  for (const text of [
    'Loss of "a < b & c"',
    'raw',
    'smoothed',
    'validation <&>',
    'step',
    'cross-entropy',
    '0.0',
    '4.0',
  ]) {
    assert.ok(found.includes(text), `"${text}" is missing in ${JSON.stringify(found)}`);
  }
});

test('stands alone: namespace, an opaque background of the full size, no script, link or style sheet', () => {
  const svg = curvesSvg(loss);
  assert.match(svg, /^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
  const root = parse(svg).documentElement;
  const background = root.querySelector('rect')!;
  assert.is(background.getAttribute('fill'), '#ffffff');
  assert.is(Number(background.getAttribute('width')) + 1, Number(root.getAttribute('width')));
  assert.not.match(svg, /<script|<style|href=|url\(/);
});

test('draws one line a series, a gap at values that are not finite, dots where asked', () => {
  const svg = curvesSvg(loss);
  const lines = paths(svg).map((path) => path.getAttribute('d')!);
  assert.is(lines.length, 3);
  assert.not.match(svg, /NaN/);
  // M starts a stretch: the raw curve is broken at its NaN, the smoothed one is whole.
  assert.is(lines[0]!.split('M').length - 1, 2);
  assert.is(lines[1]!.split('M').length - 1, 1);
  assert.is(parse(svg).querySelectorAll('g[data-mark=dot] circle').length, 2);
  const colors = paths(svg).map((path) => (path.getAttribute('stroke') ?? path.parentElement?.getAttribute('stroke'))!);
  assert.is(colors[0], colors[1], 'raw and smoothed share a colour');
  assert.is.not(colors[1], colors[2]);
});

test('larger values are drawn higher, on linear and on log axes', () => {
  for (const yScale of ['linear', 'log'] as const) {
    const svg = curvesSvg({
      title: 't',
      yScale,
      series: [
        {
          name: 's',
          points: [
            [0, 1],
            [1, 10],
            [2, 100],
          ],
        },
      ],
    });
    const ys = paths(svg)[0]!
      .getAttribute('d')!
      .slice(1)
      .split('L')
      .map((pair: string) => Number(pair.split(',')[1]));
    assert.is(ys.length, 3);
    assert.ok(ys[0]! > ys[1]! && ys[1]! > ys[2]!, `${yScale}: ${ys}`);
    const even = Math.abs(ys[0]! - ys[1]! - (ys[1]! - ys[2]!)) < 0.01;
    assert.is(even, yScale === 'log', `${yScale}: ${ys}`);
  }
});

test('panels stand side by side on one x axis; a single point shows as a dot', () => {
  const one: Panel = { title: 'Accuracy', series: [{ name: 'validation', points: [[8, 0.9]] }], yDomain: [0, 1] };
  const svg = curvesSvg([loss, one]);
  assert.is(parse(svg).documentElement.getAttribute('width'), '1040');
  assert.is(texts(svg).filter((text) => text === '8').length, 2, 'both axes reach step 8');
  assert.is(parse(svg).querySelectorAll('g[data-mark=dot] circle').length, 3);
});

test('long runs are thinned without losing their peaks', () => {
  const points = Array.from({ length: 50_000 }, (_, i): [number, number] => [i, i === 31_234 ? 9 : (i % 7) / 7]);
  const full = curvesSvg({ title: 't', yDomain: [0, 9], series: [{ name: 's', points }] });
  assert.ok(full.length < 100_000, `${full.length} characters`);
  const ys = [
    ...paths(full)[0]!
      .getAttribute('d')!
      .matchAll(/,([\d.]+)/g),
  ].map((match) => Number(match[1]));
  assert.ok(ys.length > 1000);
  assert.is(Math.min(...ys), 10, 'the peak touches the top of the frame');
});

test('nothing to draw is an error, not an empty picture', () => {
  assert.throws(() => curvesSvg({ title: 'Loss', series: [] }), 'curvesSvg: "Loss" has no finite point to draw');
  assert.throws(
    () => curvesSvg({ title: 'Loss', series: [{ name: 's', points: [[1, NaN]] }] }),
    'curvesSvg: "Loss" has no finite point to draw',
  );
});

test('smooth is the bias-corrected moving average', () => {
  assert.equal(
    smooth(
      [
        [1, 4],
        [2, 4],
        [3, 4],
      ],
      0.9,
    ).map(([x, y]) => [x, Math.round(y * 1e9) / 1e9]),
    [
      [1, 4],
      [2, 4],
      [3, 4],
    ],
  );
  // By hand: (0.5*0.5*1 + 0.5*3) / (1 - 0.25) = 7/3.
  const [first, second] = smooth(
    [
      [0, 1],
      [1, NaN],
      [2, 3],
    ],
    0.5,
  );
  assert.equal(first, [0, 1]);
  assert.is(second![0], 2);
  assert.not(!(Math.abs(second![1] - 7 / 3) < 1e-12), String(second));
  assert.equal(
    smooth(
      [
        [0, 1],
        [1, 5],
      ],
      0,
    ),
    [
      [0, 1],
      [1, 5],
    ],
  );
  assert.throws(() => smooth([], 1), 'weight must be from 0 to below 1, got 1');
});

test('files are written whole or not at all', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'plot-'));
  try {
    const path = join(folder, 'deep', 'loss.svg');
    await writeCurves(path, loss);
    assert.is(readFileSync(path, 'utf8'), curvesSvg(loss));
    assert.equal(readdirSync(join(folder, 'deep')), ['loss.svg']);
    // A picture that cannot be drawn leaves the old file alone.
    assert.match(await failure((async () => writeCurves(path, { title: 'x', series: [] }))()), /no finite point/);
    assert.is(readFileSync(path, 'utf8'), curvesSvg(loss));
    // Nor does one that cannot be put in place leave its temporary file behind.
    const blocked = join(folder, 'blocked.svg');
    mkdirSync(blocked);
    writeFileSync(join(blocked, 'file'), '');
    await failure(writeCurves(blocked, loss));
    assert.ok(existsSync(join(blocked, 'file')));
    assert.equal(readdirSync(folder).sort(), ['blocked.svg', 'deep']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
