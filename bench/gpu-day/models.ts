import {
  autocast,
  compile,
  manualSeed,
  memory,
  noGrad,
  ready,
  resetPeakMemory,
  scope,
  statistics,
  synchronize,
  tensor,
} from '../../autograd/index.ts';
import type { Compiled, Tensor } from '../../autograd/index.ts';
import { timeDispatches, totalsByKernel } from '../../gpu/index.ts';
import type { Timing } from '../../gpu/index.ts';
import { BertConfig, BertForSequenceClassification, BertModel, GPT2LMHeadModel } from '../../models/index.ts';
import { AdamW, decayGroups, GradScaler } from '../../train/index.ts';
import { median } from '../../common/statistics.ts';
import { gpt2Work } from '../gpt2/work.ts';
import { attempt } from './cases.ts';
import { randomIds } from './numbers.ts';
import { DecodingSession, emit, gptBatch, gptConfig, sized } from './shared.ts';
import type { Half } from './shared.ts';
import { clock, rates } from './timing.ts';

const models: Readonly<Record<string, (type: Half) => Promise<void>>> = { gpt2, minilm, bert, decode };

/**
 * Measures a whole model, `models gpt2|minilm|bert|decode f16|f32`: wall time of runs in a row, the host's
 * share of it, the device's own time by kernel, memory.
 */
export async function run([what = 'gpt2', type = 'f16']: readonly string[]): Promise<void> {
  const model = models[what];
  if (!model) throw new Error(`models: there is no ${what}; there are ${Object.keys(models).join(', ')}`);
  if (type === 'f16' && !(await ready()).target.f16)
    return emit({ key: `${what} in f16`, skipped: 'this device has no f16 now' });
  await model(type as Half);
}

const tinyBert = { hiddenSize: 64, numHiddenLayers: 2, numAttentionHeads: 4, intermediateSize: 128, vocabSize: 1001 };
const miniLM = { hiddenSize: 384, numHiddenLayers: 6, numAttentionHeads: 12, intermediateSize: 1536 };

const ids = (shape: readonly number[], below: number): Tensor => tensor(randomIds(shape, below), { shape }).keep();

async function gpt2(type: Half): Promise<void> {
  await attempt(
    `gpt2 ${type}`,
    async () => {
      manualSeed(1);
      const [batch, length] = gptBatch;
      const work = gpt2Work(gptConfig(), batch, length, type === 'f16');
      const step = compile(work.train, { name: 'step' });
      const { seconds, value } = await firstCall(() => step(work.inputIds));
      const losses = [value];
      for (let i = 0; i < 4; i++) {
        using _ = scope();
        losses.push(await step(work.inputIds).item());
      }
      const falls = losses.every((loss) => Number.isFinite(loss)) && losses.at(-1)! < losses[0]!;
      emit({ key: 'gpt2 training losses', type, losses, ok: falls, secondsToFirst: seconds });
      const { tokens, parameters, stateBytes } = work;
      const more = { parameters, stateMiB: stateBytes / 2 ** 20, secondsToFirst: seconds };
      const key = `gpt2 training ${batch}x${length}`;
      await study({ key, type, step, args: [work.inputIds], flops: 3 * work.forwardFlops, tokens, more });
      if (process.env.GPU_DAY_EXPLAIN) console.log(await step.explain());
    },
    120,
  );
}

async function minilm(type: Half): Promise<void> {
  const length = sized(128, 32);
  for (const batch of sized([8, 64], [2]))
    await attempt(
      `minilm ${batch} ${type}`,
      async () => {
        manualSeed(1);
        const config = BertConfig.create(sized(miniLM, tinyBert));
        const model = BertModel.fromConfig(config).eval();
        const inputIds = ids([batch, length], config.vocabSize);
        const forward = (x: Tensor): Tensor =>
          noGrad(() => autocast(() => model.forward({ inputIds: x }).lastHiddenState, { dtype: type }));
        const step = compile(forward, { name: 'minilm' });
        const { seconds } = await firstCall(() => step(inputIds));
        const key = `MiniLM forward ${batch}x${length}`;
        const more = { secondsToFirst: seconds };
        await study({ key, type, step, args: [inputIds], tokens: batch * length, more });
      },
      60,
    );
}

async function bert(type: Half): Promise<void> {
  await attempt(
    `bert ${type}`,
    async () => {
      manualSeed(1);
      const [batch, length] = sized<readonly [number, number]>([32, 128], [2, 32]);
      const config = BertConfig.create({ labels: ['ham', 'spam'], ...sized<Partial<typeof tinyBert>>({}, tinyBert) });
      const model = BertForSequenceClassification.fromConfig(config);
      const half = type === 'f16';
      const optimizer = new AdamW(decayGroups(model.namedParameters(), 0.01), { lr: 5e-5, halfCopies: half });
      const scaler = half ? new GradScaler() : undefined;
      const step = compile(
        (x: Tensor, y: Tensor) => {
          const { loss } = autocast(() => model.train().forward({ inputIds: x, labels: y }), { dtype: type });
          (scaler ? scaler.scale(loss!) : loss!).backward();
          optimizer.step({ maxNorm: 1, scaler });
          optimizer.zeroGrad();
          return loss!.detach();
        },
        { name: 'fine-tuning step' },
      );
      const args = [ids([batch, length], config.vocabSize), ids([batch], 2)] as const;
      const { seconds, value } = await firstCall(() => step(...args));
      emit({ key: 'bert fine-tuning loss', type, losses: [value], ok: Number.isFinite(value) });
      const key = `BERT-base fine-tuning ${batch}x${length}`;
      await study({ key, type, step, args, tokens: batch * length, more: { secondsToFirst: seconds } });
    },
    90,
  );
}

async function decode(type: Half): Promise<void> {
  for (const batch of sized([1, 8], [1]))
    for (const length of sized([64, 512], [16]))
      await attempt(`decode ${batch}x${length} ${type}`, () => decodeAfter(batch, length, type), 60);
}

async function decodeAfter(batch: number, length: number, type: Half): Promise<void> {
  manualSeed(1);
  const config = gptConfig();
  const model = GPT2LMHeadModel.fromConfig(config).eval();
  if (type === 'f16') model.to('f16');
  const session = new DecodingSession(model.decoder(), batch, length + sized(72, 12));
  const prompts = Array.from({ length: batch }, (_, i) => ({ tokens: [...randomIds([length], config.vocabSize, i)] }));
  const tokens = [...randomIds([batch], config.vocabSize, 3)];
  await session.begin(prompts, 'argmax');
  await session.append(tokens, 'argmax');
  await session.append(tokens, 'argmax');
  const begun = performance.now();
  await session.begin(prompts, 'argmax');
  const promptMs = performance.now() - begun;
  const times: number[] = [];
  for (let i = 0; i < sized(64, 8); i++) {
    const start = performance.now();
    await session.append(tokens, 'argmax');
    times.push(performance.now() - start);
  }
  const ms = median(times);
  const tokensPerSecond = (1000 * batch) / ms;
  emit({ key: `gpt2 decode ${batch} after ${length}`, type, ms, tokensPerSecond, promptMs, by: 'clock' });
  session.free();
}

/** Makes the first call, which compiles. Returns how long it took, and the result if it is one number. */
async function firstCall(call: () => Tensor): Promise<{ readonly seconds: number; readonly value: number }> {
  const begun = performance.now();
  using _ = scope();
  const y = call();
  const value = y.size === 1 ? await y.item() : NaN;
  await synchronize();
  return { seconds: (performance.now() - begun) / 1000, value };
}

interface Study {
  readonly key: string;
  readonly type: Half;
  /** A compiled step that was called already. */
  readonly step: Compiled<Tensor[], Tensor>;
  readonly args: readonly Tensor[];
  readonly flops?: number;
  readonly tokens: number;
  readonly more: Readonly<Record<string, unknown>>;
}

/** Writes everything about a step: time by the clock and memory, then the device's own time by kernel. */
async function study({ key, type, step, args, flops, tokens, more }: Study): Promise<void> {
  const call = (): void => {
    using _ = scope();
    step(...args);
  };
  await clock(call, 2);
  const rough = await clock(call, 2);
  const runs = Math.max(3, Math.min(50, Math.round(sized(1000, 300) / rough)));
  resetPeakMemory();
  const rounds = [await clock(call, runs), await clock(call, runs), await clock(call, runs)];
  const ms = median(rounds);
  // One at a time: until the host has submitted all, and until the device is done.
  const [hosts, aparts]: [number[], number[]] = [[], []];
  for (let i = 0; i < Math.min(runs, 10); i++) {
    const begun = performance.now();
    call();
    hosts.push(performance.now() - begun);
    await synchronize();
    aparts.push(performance.now() - begun);
  }
  const [hostMs, apart] = [Math.min(...hosts), median(aparts)];
  const { dispatches, pipelines, planned, lowerBound } = statistics(step.programs[0]!);
  const { live, peak, reserved } = memory();
  const mebi = (bytes: number): number => bytes / 2 ** 20;
  emit({
    key,
    type,
    ms,
    rounds,
    apart,
    tokensPerSecond: (1000 * tokens) / ms,
    ...rates({ flops }, ms),
    dispatches,
    pipelines,
    hostMs,
    hostUs: (1000 * hostMs) / dispatches,
    plannedMiB: mebi(planned),
    leastMiB: mebi(lowerBound),
    liveMiB: mebi(live),
    peakMiB: mebi(peak),
    reservedMiB: mebi(reserved),
    by: 'clock',
    ...more,
  });
  const gpu = await ready();
  if (!gpu.device.features.has('timestamp-query') || dispatches > 2048) return;
  const total = (list: readonly Timing[]): number => list.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const timings = [await timeDispatches(gpu, call), await timeDispatches(gpu, call)];
  const best = timings.reduce((a, b) => (total(b) < total(a) ? b : a));
  const [device, last] = [total(best), best.at(-1)!];
  const kernels = totalsByKernel(best).map(({ name, calls, milliseconds, ...work }) => {
    return { name, calls, ms: milliseconds, ...rates(work, milliseconds) };
  });
  emit({
    key: `${key}, on the device`,
    type,
    ms: device,
    spanMs: last.start + last.milliseconds,
    idleShare: Math.max(0, 1 - device / ms),
    idleShareApart: Math.max(0, 1 - device / apart),
    kernels: kernels.slice(0, 24),
  });
  for (const { name, calls, ms: each, tflops = 0, gbs = 0 } of kernels) {
    const share = `${((100 * each) / device).toFixed(1).padStart(5)}%`;
    const speed = `${tflops.toFixed(1).padStart(7)} TFLOP/s ${gbs.toFixed(0).padStart(6)} GB/s`;
    console.log(
      `${each.toFixed(3).padStart(10)} ms ${share} ${String(calls).padStart(4)} x ${name.padEnd(44)} ${speed}`,
    );
  }
}
