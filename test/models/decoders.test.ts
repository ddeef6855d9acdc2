// Decoders against Transformers, a row a family: the golden files are made by test/golden/golden_decoders.py
// and golden_llama.py.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { generate, loadModel } from '../../models/index.ts';
import type { TokenInputs } from '../../models/index.ts';
import { DecodingSession } from '../../models/generation/session.ts';
import type { CausalLM } from '../../models/transformer/causal-lm.ts';
import { goldenFile, largestDifference, shapesIn } from '../support/golden.ts';
import {
  checkForwardBackward,
  checkClose,
  checkTraining,
  i32,
  readModelGolden,
  report,
} from '../support/model-golden.ts';
import { checkTwoWays } from '../support/model-checks.ts';
import type { GradientOptions, ModelGolden } from '../support/model-golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

interface DecoderGolden extends ModelGolden {
  readonly positions: number[][];
  /** A greedy text and the logits of its first and last token. */
  readonly generated?: {
    readonly prompt: readonly number[];
    readonly tokens: readonly number[];
    readonly first: readonly number[];
    readonly last: readonly number[];
  };
}

/** Each golden, and what is peculiar to it. */
const families: Readonly<Record<string, GradientOptions>> = {
  llama: {},
  qwen2: {},
  qwen3: {},
  mistral: {},
  'qwen2-window': {},
  smollm3: {},
  'llama-dynamic': {},
  olmo2: {},
  phi3: {},
  'phi3-long': {},
  gemma2: {},
  gemma3: {},
  'gpt-neox': {},
  'gpt-neox-serial': {},
  opt: { vanishing: /k_proj\.bias$/ },
  'opt-post-norm': { vanishing: /k_proj\.bias$/ },
};

const test = suite('decoders');
let folder = '';
temporaryFolder(test, (path) => (folder = path));

for (const [name, options] of Object.entries(families)) {
  const { golden, values } = await readModelGolden<DecoderGolden>(name);
  const inputs = (): TokenInputs => ({
    inputIds: i32(golden.inputs['input_ids']!),
    attentionMask: i32(golden.inputs['attention_mask']!),
  });
  /** In training mode: dropout is 0. */
  const load = async (path = goldenFile(`tiny-${name}`)): Promise<CausalLM> =>
    (await loadModel(path, { log: assert.unreachable })).train() as unknown as CausalLM;

  test(`${name}: logits, layers, attention weights, loss and gradients are those of Transformers`, async () => {
    const model = await load();
    const all = { ...inputs(), labels: i32(golden.labels), outputHiddenStates: true, outputAttentions: true };
    const output = model.forward(all);
    const found = await checkForwardBackward(model, output, { golden, values }, options);
    const counts = [output.hiddenStates!.length, output.attentions!.length];
    assert.equal(
      counts,
      ['hidden_states', 'attentions'].map((key) => countOf(values.keys(), `output.${key}.`)),
    );
    console.log(report(name, found));
  });

  test(`${name}: the way without attention weights, and the one without logits, compute the same`, async () => {
    const model = await load();
    const ways = {
      plain: (labels: Tensor) => model.forward({ ...inputs(), labels }),
      lean: (labels: Tensor) => model.forward({ ...inputs(), labels, outputLogits: false }),
    };
    await checkTwoWays(model, ways, { golden, values }, options);
  });

  test(`${name}: other positions, up to the last`, async () => {
    const model = await load();
    const { logits } = noGrad(() => model.forward({ ...inputs(), positionIds: i32(golden.positions) }));
    await checkClose(logits, values, 'positions.logits', 1e-4); // Transformers' angles are rounded in f32
  });

  test(`${name}: ten AdamW steps have the losses of PyTorch`, async () => {
    const model = await load();
    const labels = i32(golden.labels);
    const off = await checkTraining(model, () => model.forward({ ...inputs(), labels }), golden.training);
    console.log(report(name, { 'losses of AdamW': off }));
  });

  test(`${name}: the greedy text of Transformers; with the cache, past the window, as without`, async () => {
    const model = (await load()).eval();
    const { prompt, tokens, first, last } = golden.generated ?? { prompt: [3, 4, 5], tokens: [] };
    if (tokens.length > 0) {
      const [text] = await generate(model, [[...prompt]], { maxNewTokens: tokens.length, eosTokenId: null });
      assert.equal(text!.tokens, tokens);
    }
    const whole = [...prompt, ...(tokens.length > 0 ? tokens : [7, 9, 11, 13, 15, 17])];
    const session = new DecodingSession(model.decoder(), 1, 8);
    const steps = [await session.begin([{ tokens: prompt }], 'logits')];
    for (const id of whole.slice(prompt.length, -1)) steps.push(await session.append([id], 'logits'));
    session.free();
    if (first && last) {
      assert.ok(largestDifference(steps[0]!, first) <= 1e-4);
      assert.ok(largestDifference(steps.at(-1)!, last) <= 1e-4);
    }
    /** Logits without a cache, behind each token from the prompt's last to the `end`-th. */
    const plain = async (end: number): Promise<number[]> => {
      const { logits } = noGrad(() => model.forward({ inputIds: i32([whole.slice(0, end)]) }));
      return Array.from(await logits.data()).slice((prompt.length - 1) * model.config.vocabSize);
    };
    // From a switch on, all tokens are computed otherwise.
    const { switchAt = 0 } = model.decoder();
    const before = switchAt === 0 ? [] : await plain(switchAt);
    const expected = [...before, ...(await plain(whole.length - 1)).slice(before.length)];
    const off = largestDifference(
      steps.flatMap((row) => Array.from(row)),
      expected,
    );
    assert.ok(off <= 1e-5, `with the cache logits differ by ${off}`);
  });

  test(`${name}: saved again, it has the keys and the settings that Transformers wrote`, async () => {
    const model = await load();
    const path = join(folder, name);
    await model.savePretrained(path);
    const [ours, theirs] = [path, goldenFile(`tiny-${name}`)];
    assert.equal(await shapesIn(ours), await shapesIn(theirs));
    const config = await configIn(ours);
    for (const [key, value] of Object.entries(await configIn(theirs))) assert.equal(config[key], value, key);
    assert.equal(JSON.parse((await load(path)).configText()), config);
  });
}

const countOf = (keys: Iterable<string>, prefix: string): number =>
  [...keys].filter((key) => key.startsWith(prefix)).length;

const configIn = async (path: string): Promise<JsonObject> =>
  JSON.parse(await readFile(join(path, 'config.json'), 'utf8')) as JsonObject;

test.run();
