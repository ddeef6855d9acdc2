/**
 * `node --import tsx bench/pytorch.ts --python PYTHON [--rounds 7] [--dropout 0] [--only NAME] [--output
 * FILE]`: a fine-tuning step of two BERTs in f32, compiled here, and in PyTorch on the same cores (eager, its
 * fused attention and AdamW: `steps` of bench/gpu-day/torch_baseline.py), by the same weights and batch.
 * Rounds in turn; medians of wall time, of processor time of all threads, and of the rounds' ratios. Where
 * there is no dropout the losses are compared. PYTHON has torch and transformers.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compile, init, manualSeed, scope, tensor } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { median } from '../common/statistics.ts';
import { BertConfig, BertForSequenceClassification } from '../models/index.ts';
import { AdamW, decayGroups } from '../train/optim/index.ts';
import { describeMachine } from './header.ts';
import { aligned } from './table.ts';

const { values: options } = parseArgs({
  options: {
    python: { type: 'string' },
    rounds: { type: 'string', default: '7' },
    dropout: { type: 'string', default: '0' },
    only: { type: 'string', default: '' },
    output: { type: 'string' },
  },
});
if (options.python === undefined) throw new Error('bench/pytorch: give --python, an interpreter with torch');
const [python, rounds, dropout] = [options.python, Number(options.rounds), Number(options.dropout)];

interface Shape {
  readonly name: string;
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly batch: number;
  readonly length: number;
  /** Steps of a round. */
  readonly steps: number;
}

const shapes: readonly Shape[] = [
  { name: 'BERT 2 x 128', layers: 2, width: 128, heads: 2, batch: 16, length: 96, steps: 10 },
  { name: 'MiniLM 6 x 384', layers: 6, width: 384, heads: 12, batch: 16, length: 128, steps: 1 },
];

/** What `steps` training steps took, and their losses. */
interface Round {
  readonly ms: number;
  readonly processor: number;
  readonly losses: readonly number[];
}

interface Contender {
  round(steps: number): Promise<Round>;
  close(): void;
}

/** The batch that torch_baseline.py makes too. */
const idsOf = ({ batch, length }: Shape): number[] =>
  Array.from({ length: batch * length }, (_, i) => (i * 7919) % vocabSize);
const vocabSize = 8192;

/** Saves the model's weights in `folder` before its first step. */
async function ours(shape: Shape, folder: string): Promise<Contender> {
  const { layers, width, heads, batch, length } = shape;
  manualSeed(1);
  const model = BertForSequenceClassification.fromConfig(
    BertConfig.create({
      vocabSize,
      hiddenSize: width,
      numHiddenLayers: layers,
      numAttentionHeads: heads,
      intermediateSize: 4 * width,
      hiddenDropoutProb: dropout,
      attentionProbsDropoutProb: dropout,
      labels: ['ham', 'spam'],
    }),
  );
  await model.savePretrained(folder);
  const optimizer = new AdamW(decayGroups(model.namedParameters(), 0.01), { lr: 5e-5 });
  const [ids, labels] = [
    tensor(idsOf(shape), { shape: [batch, length], dtype: 'i32' }),
    tensor(
      Array.from({ length: batch }, (_, i) => i % 2),
      { dtype: 'i32' },
    ),
  ];
  const step = compile((inputIds: Tensor, y: Tensor) => {
    const { loss } = model.train().forward({ inputIds, labels: y });
    loss!.backward();
    optimizer.step({ maxNorm: 1 });
    optimizer.zeroGrad();
    return loss!.detach();
  });
  return {
    async round(steps) {
      const [begun, cpu] = [performance.now(), process.cpuUsage()];
      using _ = scope();
      const losses: Tensor[] = [];
      for (let i = 0; i < steps; i++) losses.push(step(ids, labels));
      const values: number[] = [];
      for (const loss of losses) values.push(await loss.item());
      const ms = performance.now() - begun;
      const { user, system } = process.cpuUsage(cpu);
      return { ms: ms / steps, processor: (user + system) / 1000 / steps, losses: values };
    },
    close: () => undefined,
  };
}

function pytorch({ batch, length }: Shape, folder: string): Contender {
  const script = fileURLToPath(new URL('gpu-day/torch_baseline.py', import.meta.url));
  const child = spawn(python, [script, 'steps', folder, '--device', 'cpu', '--size', `${batch}x${length}`], {
    stdio: ['pipe', 'pipe', 'inherit'],
    // Else its threads turn in circles while they wait: on a busy machine ten times the processor time.
    env: { ...process.env, OUT: folder, OMP_WAIT_POLICY: 'passive' },
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async round(steps) {
      child.stdin.write(`${steps}\n`);
      for (;;) {
        const { value, done } = await lines.next();
        if (done) throw new Error('bench/pytorch: the interpreter ended; see above');
        if (value.startsWith('{"ms"')) return JSON.parse(value) as Round;
      }
    },
    close: () => child.stdin.end(),
  };
}

/** The largest relative difference of two lists of losses. */
const apart = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((x, i) => Math.abs(x - b[i]!) / Math.abs(b[i]!)));

async function compare(shape: Shape) {
  const folder = await mkdtemp(join(tmpdir(), 'tapeform-pytorch-'));
  const contenders: Contender[] = [];
  try {
    contenders.push(await ours(shape, folder), pytorch(shape, folder));
    const [here, there] = contenders as [Contender, Contender];
    const measured: { here: Round; there: Round }[] = [];
    for (let i = 0; i <= rounds; i++) {
      const pair = { here: await here.round(shape.steps), there: await there.round(shape.steps) };
      const difference = apart(pair.here.losses, pair.there.losses);
      if (dropout === 0 && !(difference < 1e-3))
        throw new Error(`${shape.name}: losses ${pair.here.losses}, in PyTorch ${pair.there.losses}`);
      if (i > 0) measured.push(pair); // the first one compiles kernels
    }
    const of = (pick: (pair: { here: Round; there: Round }) => number): number =>
      Number(median(measured.map(pick)).toPrecision(4));
    return {
      name: `${shape.name}, ${shape.batch} x ${shape.length} tokens`,
      ms: of(({ here }) => here.ms),
      torchMs: of(({ there }) => there.ms),
      ratio: of(({ here, there }) => here.ms / there.ms),
      processorMs: of(({ here }) => here.processor),
      torchProcessorMs: of(({ there }) => there.processor),
      processorRatio: of(({ here, there }) => here.processor / there.processor),
      rounds,
    };
  } finally {
    for (const contender of contenders) contender.close();
    await rm(folder, { recursive: true });
  }
}

await init({ restart: true });
const header = await describeMachine();
console.log(`${header.adapter}, ${header.cores} cores, commit ${header.commit}, dropout ${dropout}\n`);
const rows = [];
for (const shape of shapes.filter(({ name }) => name.includes(options.only))) rows.push(await compare(shape));
console.log(
  aligned({
    head: ['training step, f32', 'ms', 'PyTorch', 'ratio', 'processor ms', 'PyTorch', 'ratio'],
    rows: rows.map((row) => [
      row.name,
      ...[row.ms, row.torchMs].map((x) => x.toFixed(0)),
      row.ratio.toFixed(2),
      ...[row.processorMs, row.torchProcessorMs].map((x) => x.toFixed(0)),
      row.processorRatio.toFixed(2),
    ]),
    text: 1,
  }),
);
if (options.output !== undefined)
  await writeFile(options.output, `${JSON.stringify({ header, dropout, rows }, undefined, 2)}\n`);
