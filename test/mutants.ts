import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, sources } from './support/files.ts';

/**
 * Shows that the tests see broken kernels (`tsx test/mutants.ts`, by hand: minutes): each mutant is one
 * change of a copy of the sources, and the tests named with it must fail on it, having passed without. Exits
 * 1 if a mutant survives.
 */
interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** Filters of test/run.ts. */
  readonly tests: readonly string[];
}

const mutants: readonly Mutant[] = [
  {
    name: 'attention whose sums are not rescaled with the maximum',
    file: 'kernels/attention/forward.ts',
    find: "${code.scaleRows('o', 'fix')}",
    replace: '',
    tests: ['ops/attention'],
  },
  {
    name: 'attention whose gradient forgets the dropout',
    file: 'kernels/attention/backward.ts',
    find: '${scores.dropped(r, `x${r}`)} - delta',
    replace: 'x${r} - delta',
    tests: ['ops/attention'],
  },
  {
    name: 'attention whose query heads do not share keys',
    file: 'kernels/attention/operands.ts',
    find: "group === 1 ? 'h' : `h / ${group}u`",
    replace: "'h'",
    tests: ['kernels/attention.test'],
  },
  {
    name: 'gradients of shared keys that are those of one query head',
    file: 'autograd/ops/flash-attention.ts',
    find: 'all / heads, width]), 3)',
    replace: 'all / heads, width]).narrow(3, 0, 1), 3)',
    tests: ['models/llama.test'],
  },
  {
    name: 'rotary embedding that turns the other way',
    file: 'models/nn/rotary.ts',
    find: 'tensor([[-1], [1]])',
    replace: 'tensor([[1], [-1]])',
    tests: ['models/rotary'],
  },
  {
    name: 'softmax without the shift by the largest',
    file: 'kernels/rows.ts',
    find: 'let m = maxRow(top);',
    replace: 'let m = 0.0 * maxRow(top);',
    tests: ['ops/rows'],
  },
  {
    name: 'softmax derivative with a wrong sign',
    file: 'kernels/softmax.ts',
    find: '(${g} - sum)',
    replace: '(${g} + sum)',
    tests: ['ops/rows'],
  },
  {
    name: 'layer norm without epsilon',
    file: 'kernels/norm.ts',
    find: 'sumRow(total) / p.n + p.epsilon',
    replace: 'sumRow(total) / p.n',
    tests: ['ops/rows'],
  },
  {
    name: 'norm in workgroups with a barrier short',
    file: 'kernels/rows.ts',
    find: 's > 0u; s = s / 2u',
    replace: 's > 1u; s = s / 2u',
    tests: ['kernels/rows'],
  },
  {
    name: 'matmul (plain) without the last k',
    file: 'kernels/matmul/plain.ts',
    find: 'k < i32(p.k);',
    replace: 'k < i32(p.k) - 1;',
    tests: ['ops/matmul'],
  },
  {
    name: 'matmul (lanes) without the last k that are no four',
    file: 'kernels/matmul/lanes.ts',
    find: 'for (; k < i32(p.k); k++) {',
    replace: 'for (; k < i32(p.k) - 1; k++) {',
    tests: ['kernels/matmul'],
  },
  {
    name: 'matmul (tiled) without the last k',
    file: 'kernels/matmul/slab.ts',
    find: '|| q >= p.k`',
    replace: '|| q >= p.k - 1u`',
    tests: ['kernels/matmul'],
  },
  {
    name: 'scatter-add that ignores duplicates',
    file: 'kernels/gather.ts',
    find: 'j < p.end; j = links[j].y',
    replace: 'j < p.end; j = -1',
    tests: ['ops/gather'],
  },
  {
    name: 'tanh GELU with a constant off by 1%',
    file: 'autograd/ops/activations.ts',
    find: '0.044715',
    replace: '0.045162',
    tests: ['ops/unary'],
  },
  {
    name: 'erf GELU with a constant off by 1%',
    file: 'autograd/ops/activations.ts',
    find: 'e.erf(e.mul(x, Math.SQRT1_2))',
    replace: 'e.erf(e.mul(x, 0.7142))',
    tests: ['ops/unary'],
  },
  {
    name: 'cross-entropy derivative that forgets label smoothing',
    file: 'kernels/cross-entropy.ts',
    find: 's * (1.0 - p.smoothing) * w * (prob - hit)',
    replace: 's * w * (prob - hit)',
    tests: ['ops/cross-entropy'],
  },
  {
    name: 'running sums that drop the carry',
    file: 'kernels/cumsum.ts',
    find: 'let before = sums[id - p.inner];',
    replace: 'let before = sums[id - p.inner] * 0;',
    tests: ['ops/scan'],
  },
  {
    name: 'fold without the last element of a window',
    file: 'kernels/fold.ts',
    find: 'k < p.size; k++',
    replace: 'k < p.size - 1; k++',
    tests: ['ops/conv'],
  },
  {
    name: 'AdamW without bias correction',
    file: 'train/optim/adam.ts',
    find: 'stepSize: e.div(lr, e.oneMinusExp(e.mul(t, log1)))',
    replace: 'stepSize: e.div(lr, e.min(1, e.mul(t, e.max(log1, 1))))',
    tests: ['train/optim'],
  },
  {
    name: 'dropout that does not scale what it keeps',
    file: 'autograd/ops/random.ts',
    find: 'e.mul(x!, scale!)',
    replace: 'x!',
    tests: ['ops/random'],
  },
  {
    name: 'norm parameters without the mean',
    file: 'kernels/norm.ts',
    find: '(load_x(row, c) - mean.x)',
    replace: '(load_x(row, c))',
    tests: ['kernels/rows'],
  },
  {
    name: 'rows held in registers without the guard at their end',
    file: 'kernels/rows.ts',
    find: 'units * share === cols / width &&',
    replace: 'units * share >= cols / width &&',
    tests: ['kernels/rows'],
  },
  {
    name: 'totals of a workgroup that leave out a subgroup',
    file: 'kernels/rows.ts',
    find: 'var s = 1u; s < mine.z',
    replace: 'var s = 2u; s < mine.z',
    tests: ['kernels/rows'],
  },
  {
    name: 'a step behind one of NaN that changes the weights',
    file: 'kernels/multi-tensor/prepare.ts',
    find: "skipNonFinite === 'onwards' && !scaler",
    replace: 'false',
    tests: ['train/optim'],
  },
  {
    name: 'padding one place off',
    file: 'kernels/pad.ts',
    find: 'i32(starts[axis]!)',
    replace: 'i32(starts[axis]! + 1)',
    tests: ['ops/movement'],
  },
  {
    name: 'memory plan that gives small buffers to large values',
    file: 'autograd/compile/plan.ts',
    find: 'lifetimes[b]!.bytes - lifetimes[a]!.bytes',
    replace: 'lifetimes[a]!.bytes - lifetimes[b]!.bytes',
    tests: ['autograd/compile', 'autograd/known-range'], // the device fails, and all tests on it with it
  },
  {
    name: 'fusion into a kernel of what that kernel reads',
    file: 'autograd/compile/fuse.ts',
    find: '|| (anchor && this.waitsFor(anchor, from))',
    replace: '',
    tests: ['ops/reduce'],
  },
  {
    name: 'replays that draw the same numbers again',
    file: 'gpu/recording.ts',
    find: 'const at = first + stream;',
    replace: 'const at = stream;',
    tests: ['autograd/compile'],
  },
  {
    name: 'equal computations shared across a write',
    file: 'autograd/compile/simplify.ts',
    find: '(versions.get(storage) ?? 0) + 1',
    replace: '(versions.get(storage) ?? 0)',
    tests: ['autograd/compile'],
  },
  {
    name: 'accumulation that weighs every batch alike',
    file: 'train/trainer/step.ts',
    find: '(counts[name] ?? 0) / Math.max(1, totals.get(name)!)',
    replace: '1 / batches.length',
    tests: ['train/trainer'],
  },
  {
    name: 'a resumed run whose dropout starts anew',
    file: 'train/trainer/run-state.ts',
    find: '  setRandomState(state.random);',
    replace: '',
    tests: ['train/trainer'],
  },
  {
    name: 'a step with a NaN in its gradient that is not skipped',
    file: 'kernels/multi-tensor/prepare.ts',
    find: "scaler || skipNonFinite ? 'marks[0] != 0u' : 'false'",
    replace: "scaler ? 'marks[0] != 0u' : 'false'",
    tests: ['train/optim'],
  },
  {
    name: 'averages that are biased towards zero',
    file: 'train/optim/optimizer.ts',
    find: '.div(1 - this.#ema ** steps[i]!)',
    replace: '',
    tests: ['train/optim'],
  },
  {
    name: 'masks that are drawn once for all passes',
    file: 'train/objectives/masked-lm.ts',
    find: 'new Random(seed, row.index)',
    replace: 'new Random(seed, row.index % rows.count)',
    tests: ['train/objectives-lm'],
  },
  {
    name: 'rotary fill that may rotate by nothing',
    file: 'train/objectives/rotary-fill.ts',
    find: 'const offset = 1 + random.int(length - 1);',
    replace: 'const offset = random.int(length);',
    tests: ['train/objectives-rotary'],
  },
  {
    name: 'a repetition penalty that rewards unlikely tokens',
    file: 'models/generation/processors.ts',
    find: 'score < 0 ? score * factor : score / factor',
    replace: 'score / factor',
    tests: ['models/generation.test'],
  },
  {
    name: 'parts of a summed axis that overwrite each other',
    file: 'autograd/lower/split.ts',
    find: 'sink = adding ? onto(kind, place) : sinkInto(place);',
    replace: 'sink = sinkInto(place);',
    tests: ['autograd/blocks'],
  },
  {
    name: 'a bias that every part of a product adds',
    file: 'autograd/lower/split.ts',
    find: '!first && once.includes(names[i]!)',
    replace: "once.includes('')",
    tests: ['autograd/blocks'],
  },
  {
    name: 'a remembered kernel that serves another offset',
    file: 'kernels/remember.ts',
    find: '`${dtype}[${shape.join()}]${strides.join()}+${offset}`',
    replace: '`${dtype}[${shape.join()}]${strides.join()}`',
    tests: ['ops/gather', 'kernels/remember'],
  },
  {
    name: 'a remembered kernel that draws the same numbers again',
    file: 'kernels/remember.ts',
    find: 'return draw ? withDraw(dispatch, draw) : dispatch;',
    replace: 'return dispatch;',
    tests: ['ops/random'],
  },
];

const copy = mkdtempSync(join(tmpdir(), 'mutants-'));

/** Failed tests, and the line that says so; undefined where the run broke off. */
function runTests(filters: readonly string[]): { failed: number; passed: number } | undefined {
  const { stdout } = spawnSync(process.execPath, [...process.execArgv, join(copy, 'test/run.ts'), ...filters], {
    cwd: copy,
    encoding: 'utf8',
  });
  const found = /^(\d+) passed, (\d+) failed$/m.exec(stdout);
  return found ? { passed: Number(found[1]), failed: Number(found[2]) } : undefined;
}

try {
  for (const name of sources) cpSync(join(root, name), join(copy, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));

  const sound = runTests([...new Set(mutants.flatMap(({ tests }) => tests))]);
  if (!sound || sound.failed > 0 || sound.passed === 0)
    throw new Error('the tests fail without any mutant; mend them first');
  console.log(`without a mutant: ${sound.passed} passed, 0 failed`);

  let survivors = 0;
  for (const { name, file, find, replace, tests } of mutants) {
    const path = join(copy, file);
    const source = readFileSync(path, 'utf8');
    if (source.split(find).length !== 2)
      throw new Error(`${file}: '${find}' must occur exactly once; the kernel has changed, change its mutant`);
    writeFileSync(
      path,
      source.replace(find, () => replace),
    );
    const result = runTests(tests);
    writeFileSync(path, source);
    // A run that broke off says nothing of what the tests compare.
    const killed = result !== undefined && result.failed > 0 && result.passed > 0;
    if (!killed) survivors++;
    const outcome = !result ? 'the run broke off' : `${result.failed} of ${result.failed + result.passed} tests fail`;
    console.log(`${killed ? 'killed  ' : 'SURVIVED'} ${name}: ${outcome} (${tests.join(', ')})`);
  }
  console.log(`${mutants.length - survivors} killed, ${survivors} survived`);
  process.exitCode = survivors > 0 ? 1 : 0;
} finally {
  rmSync(copy, { recursive: true, force: true });
}
