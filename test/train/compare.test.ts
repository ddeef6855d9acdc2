// `compare`: runs side by side, seeds as one, and what cannot be compared.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { meanInterval } from '../../common/statistics.ts';
import { compareGroups, comparisonHtml, isLowerBetter, orderGroups } from '../../train/report/compare-runs.ts';
import { differingOptions, findRuns, groupBySeed } from '../../train/report/run-groups.ts';
import { refused, runScript } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('compare');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

interface Written {
  readonly lr: number;
  readonly seed: number;
  /** Validation F1 after steps 10 and 20. */
  readonly f1: readonly [number, number];
  readonly task?: string;
  readonly metric?: string;
}

/** Writes the files of a run of twenty steps. */
function writeRun(path: string, { lr, seed, f1, task = 'classification', metric = 'f1' }: Written): string {
  mkdirSync(path, { recursive: true });
  const info = {
    name: task,
    command: `node train.ts --data mails.csv --seed ${seed} --output ${path}`,
    identity: {
      task,
      steps: 20,
      learningRate: lr,
      seed,
      data: `drawn by ${seed}`,
      model: { a_dropout: lr, b_dropout: lr },
    },
    parameters: 10,
    adapter: 'a',
    driver: 'b',
    software: true,
    versions: {},
    started: '2026-01-02T03:04:05.000Z',
    best: { name: metric, mode: 'max' },
  };
  const steps = Array.from({ length: 20 }, (_, i) => ({
    step: i + 1,
    loss: lr,
    lr,
    gradNorm: 1,
    tokens: 9,
    seconds: i,
    time: i,
  }));
  const records: object[] = [...steps];
  const evaluation = (i: number) => ({
    step: 10 * (i + 1),
    evaluation: { loss: 1 - f1[i]!, [metric]: f1[i]! },
    seconds: 1,
    time: 1,
  });
  records.splice(10, 0, evaluation(0));
  records.push(evaluation(1));
  writeFileSync(join(path, 'run.json'), JSON.stringify(info));
  writeFileSync(join(path, 'log.jsonl'), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  return path;
}

test('seeds of one run are a row: mean and interval of 95 % by Student', async () => {
  for (const [i, f1] of [0.8, 0.9, 0.85].entries())
    writeRun(join(folder, 'seeds', `a${i}`), { lr: 0.1, seed: i, f1: [0.95, f1] });
  writeRun(join(folder, 'seeds', 'b'), { lr: 0.2, seed: 0, f1: [0.7, 0.8] });
  const { runs, leftOut } = await findRuns([join(folder, 'seeds')]);
  assert.equal(leftOut, []);
  const groups = groupBySeed(runs);
  assert.equal(
    groups.map(({ name, runs }) => [name, runs.length]),
    [
      ['seeds/a0 and 2 more', 3],
      ['seeds/b', 1],
    ],
  );
  const { header, rows, notes } = compareGroups(groups);
  // By hand: deviation 0.05, t of two degrees of freedom 4.3027, so 4.3027 x 0.05 / sqrt(3) = 0.1242.
  const cells = rows.map((row) => Object.fromEntries(row.map((cell, i) => [header[i]!, cell])));
  assert.equal(
    cells.map((row) => [row['seeds'], row['learningRate'], row['steps'], row['f1'], row['best f1'], row['loss']]),
    [
      ['0, 1, 2', '0.1', '20', '0.8500 ± 0.1242 *', '0.9500 ± 0.0000 *', '0.1500 ± 0.1242 *'],
      ['0', '0.2', '20', '0.8000', '0.8000', '0.2000'],
    ],
  );
  assert.equal(notes, []);
  assert.equal(
    differingOptions(groups).map(({ name }) => name),
    ['learningRate'],
    'what follows from the same flag is told once',
  );
  const { document } = parseHTML(comparisonHtml(groups));
  const charts = [...document.querySelectorAll('figure')].map((figure) => ({
    title: figure.querySelector('figcaption')!.textContent,
    data: JSON.parse(figure.querySelector('script')!.textContent) as {
      readonly series: readonly { readonly name: string; readonly points: number[][]; readonly band: number[][] }[];
    },
  }));
  const { series } = charts.find(({ title }) => title === 'Validation: f1')!.data;
  assert.equal(series[0]!.points, [
    [10, 0.95],
    [20, 0.85],
  ]);
  assert.equal(series[0]!.band[1], [20, 0.72579, 0.97421]);
  assert.equal(series[1]!.band, []);
});

test('the mean of one number has no interval; of many t nears the normal quantile', () => {
  assert.equal(meanInterval([3]), { middle: 3, half: 0 });
  // scipy.stats.t.ppf(0.975, 30), (0.975, 31) and (0.975, 100): 2.0423, 2.0395, 1.9840.
  for (const [count, t] of [
    [31, 2.0423],
    [32, 2.0395],
    [101, 1.984],
  ] as const) {
    const values = Array.from({ length: count }, (_, i) => i);
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - (count - 1) / 2) ** 2, 0) / (count - 1));
    assert.ok(Math.abs((meanInterval(values).half * Math.sqrt(count)) / deviation - t) < 2e-4, String(count));
  }
});

test('ordered by a column, the best first; less is better of losses', async () => {
  writeRun(join(folder, 'order', 'a'), { lr: 0.1, seed: 1, f1: [0.7, 0.8] });
  writeRun(join(folder, 'order', 'b'), { lr: 0.2, seed: 1, f1: [0.7, 0.9] });
  const groups = groupBySeed((await findRuns([join(folder, 'order')])).runs);
  const names = (metric: string): string[] => {
    const ordered = orderGroups(groups, metric);
    return 'names' in ordered ? ordered.names : ordered.groups.map(({ name }) => name);
  };
  assert.equal(names('f1'), ['order/b', 'order/a']);
  assert.equal(names('training loss'), ['order/a', 'order/b']);
  assert.equal(names('none'), ['training loss', 'loss', 'best loss', 'f1', 'best f1']);
  assert.equal(
    ['loss', 'perplexity', 'accuracy', 'BLEU', 'TER', 'mse', 'microF1'].map((name) => isLowerBetter(name, [])),
    [true, true, false, false, true, true, false],
  );
});

test('the script: a table, a page, and a line for each folder that is none or broken', async () => {
  const paths = [
    writeRun(join(folder, 'script', 'a'), { lr: 0.1, seed: 1, f1: [0.7, 0.8] }),
    writeRun(join(folder, 'script', 'b'), {
      lr: 0.2,
      seed: 1,
      f1: [0.7, 0.9],
      task: 'questions',
      metric: 'exactMatch',
    }),
    writeRun(join(folder, 'script', 'broken'), { lr: 0.3, seed: 1, f1: [0.7, 0.9] }),
    join(folder, 'script'),
    join(folder, 'none'),
  ];
  const log = join(paths[2]!, 'log.jsonl');
  writeFileSync(log, readFileSync(log, 'utf8').replace('"loss":0.3', '"loss":"much"'));
  const output = join(folder, 'compare.html');
  const { code, stdout, stderr } = await runScript([
    'train/compare.ts',
    ...paths.slice(0, 3),
    paths[4]!,
    '--output',
    output,
  ]);
  assert.is(code, 0, stderr);
  assert.match(stdout, /^run +task +learningRate +steps +time +training loss +loss +best loss +f1 /);
  assert.match(stdout, /^a +classification +0\.1 +20 +19s +0\.1000 \* .* - +-$/m);
  assert.match(stdout, /^note: runs of different tasks: classification, questions$/m);
  assert.match(stderr, /^left out: .*broken.log\.jsonl, line 1 is no record of a run \(loss: .*$/m);
  assert.match(stderr, /^left out: .*none is no run's folder: there is no run\.json in it$/m);
  assert.match(readFileSync(output, 'utf8'), /<h1>2 runs compared<\/h1>/);
  refused(await runScript(['train/compare.ts', paths[4]!]), 1, /^compare: there is no run to compare$/);
  refused(
    await runScript(['train/compare.ts', paths[0]!, '--metric', 'f2']),
    2,
    /--metric "f2" is no column; did you mean "f1"\?$/,
  );
});

test.run();
