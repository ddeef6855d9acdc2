// A run's report: what it holds, that nothing in it asks for a network, and its script in Chromium.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseHTML } from 'linkedom';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { accuracy, bootstrap, calibrationBins, calibrationError, takeRows } from '../../train/metrics/index.ts';
import { classScores } from '../../train/classifier/test-scores.ts';
import { chartsHtml, numberText, pageHtml } from '../../train/report/page.ts';
import { bestOf, historyOf } from '../../train/report/run-history.ts';
import type { RunHistory } from '../../train/report/run-history.ts';
import { publicReport, reportHtml } from '../../train/report/run-report.ts';
import { reportResult } from '../../train/report/run-result.ts';
import { scoreOf } from '../../train/report/test-scores.ts';
import { failure } from '../support/failure.ts';
import { findChromium, withPage } from '../support/chromium.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('report of a run');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const info: RunHistory['info'] = {
  name: 'classification',
  command: 'node --import tsx train/finetune-classifier.ts --epochs 2',
  identity: {
    steps: 40,
    learningRate: 0.001,
    betas: [0.9, 0.999],
    seed: 7,
    model: { hidden_size: 128, id2label: { 0: 'a' } },
  },
  parameters: 1_454_210,
  adapter: 'mesa llvmpipe',
  driver: 'Mesa 26',
  software: true,
  versions: { tapeform: '0.1.0', node: '20.1.0' },
  commit: '0123456789ab',
  started: '2026-01-02T03:04:05.000Z',
  lossLabel: 'cross-entropy, nats',
  best: { name: 'loss', mode: 'min' },
};
const lossAt = (step: number): number => 2 / step + 0.01;
const steps = Array.from({ length: 40 }, (_, i) => ({
  step: i + 1,
  loss: lossAt(i + 1),
  lr: 1e-3 * (1 - i / 40),
  gradNorm: 1 + (i % 5),
  tokens: 100,
  seconds: i + 1,
  time: i + 1,
}));
const evaluations = [10, 20, 30, 40].map((step, i) => ({
  step,
  evaluation: { loss: [0.5, 0.3, 0.3, 0.4][i]!, accuracy: [0.7, 0.8, 0.9, 0.85][i]! },
  seconds: step,
  time: step,
}));

// Ten texts of two classes: eight right, and the sureness of each.
const truth = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1];
const ofOne = [0.1, 0.2, 0.3, 0.4, 0.9, 0.8, 0.7, 0.6, 0.9, 0.05];
const probabilities = ofOne.map((p) => [1 - p, p]);
const predicted = ofOne.map((p) => Number(p > 0.5));
const scores = classScores({
  texts: truth.map((_, i) => ({ text: `text ${i}` })),
  truth,
  probabilities,
  predicted,
  labels: ['ham', 'spam'],
  scoring: { average: 'binary', numLabels: 2 },
  what: 'F1 of spam',
  baseline: { label: 0, accuracy: 0.5, f1: 0 },
});
const history: RunHistory = { info, steps, evaluations, result: { about: 'data   mails', test: 'F1 0.8', scores } };

test('holds a chart for each number, the test, the samples, what made it', () => {
  const { document } = parseHTML(reportHtml(history));
  const of = (query: string): string[] => [...document.querySelectorAll(query)].map(({ textContent }) => textContent);
  assert.equal(of('figcaption > span:first-child'), [
    'Loss cross-entropy, nats',
    'accuracy',
    'Learning rate',
    'Gradient norm before clipping',
    'Speed tokens/s',
  ]);
  assert.equal(of('.confusion td:not(:first-child), .confusion tbody td'), [
    '480.0 %',
    '120.0 %',
    '120.0 %',
    '480.0 %',
  ]);
  assert.equal(of('.samples .wrong b'), ['ham 0.950', 'spam 0.900'], 'the surest mistake first');
  assert.is(of('.samples .right').length, 8);
  assert.match(of('.samples .right')[0]!, /^right: (ham|spam) 0\.600text \d$/, 'the least sure first');
  const facts = of('.facts tr').map((row) => row.replace(/\s+/g, ' '));
  for (const fact of ['betas0.9, 0.999', 'seed7', 'hidden_size128', 'id2label0: a', 'commit0123456789ab', 'node20.1.0'])
    assert.ok(facts.includes(fact), `${fact} is missing in ${facts.join('; ')}`);
  const tiles = of('.tiles > div');
  assert.ok(tiles.includes('best validation loss0.3at step 20'), tiles.join('; '));
  assert.match(tiles[0]!, /^test accuracy0\.800\[0\.\d{3}, /);
  for (const figure of document.querySelectorAll('figure')) {
    assert.ok(figure.querySelector('table tbody tr'), 'a table behind each chart');
    assert.ok(document.getElementById(figure.getAttribute('aria-labelledby')!), 'a name for each chart');
  }
});

test('asks for no network, and its policy lets it run its own script only', () => {
  const html = reportHtml(history);
  assert.not.match(html, /https?:|(src|href)=|@import|url\((?!#)/);
  const { document } = parseHTML(html);
  const script = document.querySelector('script:not([type])')!.textContent;
  const policy = document.querySelector('meta[http-equiv]')!.getAttribute('content')!;
  const hash = createHash('sha256').update(script).digest('base64');
  assert.is(policy, `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'`);
  assert.is(reportHtml(history), html, 'the same bytes again');
});

test('the report that goes with a model shows none of its texts', () => {
  assert.match(reportHtml(history), /text 4/);
  assert.not.match(publicReport(history), /text \d/);
  assert.match(publicReport(history), /class="confusion"/);
});

test('a run on its way, without evaluations, or without a step, has a report too', () => {
  const some = reportHtml({ info, steps: steps.slice(0, 3), evaluations: [] });
  assert.match(some, /3 of 40 steps so far/);
  assert.not.match(some, /best validation/);
  assert.not.match(reportHtml({ info, steps: [], evaluations: [] }), /<figure/);
});

test('the best evaluation is the first of equal ones, by the number that tells', () => {
  assert.equal(bestOf(history), { step: 20, value: 0.3 });
  assert.equal(bestOf({ ...history, info: { ...info, best: { name: 'accuracy', mode: 'max' } } }), {
    step: 30,
    value: 0.9,
  });
  assert.is(bestOf({ ...history, evaluations: [] }), undefined);
});

test('a result is kept in the folder and shown in the report; a folder that is no run is a line', async () => {
  writeFileSync(join(folder, 'run.json'), JSON.stringify(info));
  const records = [...steps.slice(0, 10), evaluations[0], ...steps.slice(10)];
  writeFileSync(join(folder, 'log.jsonl'), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  const log = console.log;
  console.log = () => undefined;
  try {
    await reportResult(folder, { about: 'data   mails', test: 'F1 0.8\nsaved  here', scores });
  } finally {
    console.log = log;
  }
  const read = await historyOf(folder);
  assert.equal(read.result, { about: 'data   mails', test: 'F1 0.8', scores });
  assert.is(reportHtml(read), readFileSync(join(folder, 'report.html'), 'utf8'));
  assert.match(await failure(historyOf(join(folder, 'none'))), /none.run\.json/);
});

test('a score has the interval of the bootstrap, and none where all resamples agree', () => {
  const metric = (rows: Int32Array): number => accuracy(takeRows(truth, rows), takeRows(predicted, rows));
  const { estimate, low, high } = bootstrap(truth.length, metric, { resamples: 2000 });
  assert.equal(scoreOf(truth.length, metric), { value: estimate, low, high });
  assert.equal(
    scoreOf(3, () => 1),
    { value: 1 },
  );
  assert.equal(
    scoreOf(1, () => 0.5),
    { value: 0.5 },
  );
});

test('bins of calibration: by hand, and their mean gap is the calibration error', () => {
  // Confidences 0.6, 0.7, 0.8 (two bins of 0.5), of which the second is wrong.
  const bins = calibrationBins(
    [1, 1, 0],
    [
      [0.4, 0.6],
      [0.7, 0.3],
      [0.8, 0.2],
    ],
    { numBins: 2 },
  );
  assert.is(bins.length, 1);
  assert.is(bins[0]!.count, 3);
  assert.ok(Math.abs(bins[0]!.confidence - 0.7) < 1e-6 && Math.abs(bins[0]!.accuracy - 2 / 3) < 1e-12);
  const all = calibrationBins(truth, probabilities);
  const error = all.reduce((sum, bin) => sum + bin.count * Math.abs(bin.accuracy - bin.confidence), 0) / truth.length;
  assert.ok(Math.abs(error - calibrationError(truth, probabilities)) < 1e-12);
  assert.throws(
    () => calibrationBins([0], [0.5], { numBins: 0 }),
    /^calibrationBins: numBins must be a positive integer, got 0$/,
  );
});

test('numbers as pages show them', () => {
  assert.equal([1234, 0.12345, 2e-5, 0, NaN, 12345.6].map(numberText), [
    '1,234',
    '0.1235',
    '2.0e-5',
    '0',
    '',
    '12,346',
  ]);
});

if (findChromium() === undefined)
  test('the script in Chromium', () => console.log('not run: there is no Chromium here; CHROME_PATH names one'));
else
  test('in Chromium: values under the pointer and by keys, zoom, hidden lines, three widths', async () => {
    const path = join(folder, 'page.html');
    // A long axis, whose last tick must have room.
    const long = Array.from({ length: 3000 }, (_, i): [number, number] => [i + 1, 1 + ((i * 7) % 10)]);
    const more = chartsHtml('More', [{ title: 'long', xLabel: 'place', series: [{ name: 'a', points: long }] }]);
    writeFileSync(path, pageHtml('x', `${/<main>([^]*)<\/main>/.exec(reportHtml(history))![1]}${more}`));
    await withPage(async (page) => {
      const text = (query: string): Promise<string> =>
        page.evaluate(`document.querySelector(${JSON.stringify(query)}).textContent`);
      const [chart, output] = ['figure .plot', 'figure .key button:nth-child(1) output'];
      await page.goto(pathToFileURL(path).href);
      for (const width of [390, 800, 1440]) {
        await page.send('Emulation.setDeviceMetricsOverride', {
          width,
          height: 900,
          deviceScaleFactor: 1,
          mobile: false,
        });
        await page.waitFor(
          `document.querySelector('${chart} svg').clientWidth === document.querySelector('${chart}').clientWidth`,
        );
        assert.ok((await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')) <= 0, `${width}`);
        const cut = await page.evaluate<string[]>(`[...document.querySelectorAll('.plot svg')].flatMap((svg) =>
          [...svg.querySelectorAll('text')].filter((node) => {
            const [a, b] = [node.getBoundingClientRect(), svg.getBoundingClientRect()];
            return a.left < b.left - 1 || a.right > b.right + 1 || a.bottom > b.bottom + 1;
          }).map((node) => node.textContent))`);
        assert.equal(cut, [], `${width}: texts of axes are whole`);
      }
      // By keys: Tab to the chart, two steps back from the last one.
      await page.evaluate(`document.querySelector('${chart}').focus()`);
      const press = async (key: string): Promise<void> => {
        await page.send('Input.dispatchKeyEvent', { type: 'keyDown', key, ...(key.length === 1 ? { text: key } : {}) });
        await page.send('Input.dispatchKeyEvent', { type: 'keyUp', key });
      };
      await press('End');
      await press('ArrowLeft');
      await press('ArrowLeft');
      assert.is(await text('figure .place'), 'step 38');
      assert.is(await text(output), numberText(lossAt(38)));
      const said = await page.evaluate<string>(`document.querySelector('${chart}').getAttribute('aria-valuetext')`);
      assert.match(said, /^step 38: training, each step 0\.06263, .*validation 0\.4 at 40$/);
      assert.is(await text('figure:nth-of-type(3) .place'), 'step 38', 'charts of one axis move together');
      // By pointer: at the left end of the axis, then a drag over its second half, and back.
      const box = await page.evaluate<{ x: number; y: number; width: number }>(
        `(({ x, y, width }) => ({ x, y, width }))(document.querySelector('${chart}').getBoundingClientRect())`,
      );
      const mouse = (type: string, x: number, clickCount = 1): Promise<unknown> =>
        page.send('Input.dispatchMouseEvent', { type, x, y: box.y + 80, button: 'left', buttons: 1, clickCount });
      await page.evaluate('document.activeElement.blur()');
      await mouse('mouseMoved', box.x + 2);
      assert.is(await text('figure .place'), 'step 1');
      assert.is(await text(output), numberText(lossAt(1)));
      await mouse('mousePressed', box.x + box.width * 0.6);
      await mouse('mouseMoved', box.x + box.width - 1);
      await mouse('mouseReleased', box.x + box.width - 1);
      const third = 'figure:nth-of-type(3) .plot text';
      const ticks = `[...document.querySelectorAll('${third}')].map((node) => node.textContent)`;
      assert.not((await page.evaluate<string[]>(ticks)).includes('10'), 'closer: the first steps are out of sight');
      for (const count of [1, 2]) {
        await mouse('mousePressed', box.x + 90, count);
        await mouse('mouseReleased', box.x + 90, count);
      }
      assert.ok((await page.evaluate<string[]>(ticks)).includes('10'), 'a double click shows all steps');
      await page.evaluate(`document.querySelector('figure .key button:nth-child(3)').click()`);
      assert.is(
        await page.evaluate(`document.querySelectorAll('figure .plot')[0].querySelectorAll('.line').length`),
        2,
      );
      await page.evaluate(`document.querySelector('figcaption button').click()`);
      assert.is(
        await page.evaluate(`document.querySelector('figcaption button').getAttribute('aria-pressed')`),
        'true',
      );
      assert.equal([page.errors, page.lines], [[], []], 'no error, and nothing that the policy refuses');
    });
  });

test.run();
