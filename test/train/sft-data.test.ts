// Conversations as tokens and rows, against Transformers and TRL: test/golden/golden_sft.py makes the
// numbers.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed, noGrad, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import {
  dialogueTokens,
  GPT2LMHeadModel,
  LlamaConfig,
  LlamaForCausalLM,
  loadTextGenerator,
} from '../../models/index.ts';
import type { CausalLM, ChatMessage } from '../../models/index.ts';
import { batchOf, labelledTokens } from '../../train/objectives/labelled-tokens.ts';
import type { LabelledTokens } from '../../train/objectives/labelled-tokens.ts';
import { packBestFit } from '../../train/objectives/packing.ts';
import { toDevice } from '../../train/objectives/task.ts';
import { AdamW, decayGroups } from '../../train/optim/index.ts';
import { loadPreferences, readPreferences } from '../../train/preferences/data.ts';
import { conversationOf, readConversations } from '../../train/sft/conversations.ts';
import type { Conversation } from '../../train/sft/conversations.ts';
import { sequencesOf } from '../../train/sft/sequences.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile, largestDifference } from '../support/golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

interface Labelled {
  readonly ids: readonly number[];
  readonly labels: readonly number[];
}

interface Golden {
  readonly templates: Readonly<Record<'marked' | 'trimmed' | 'plain', string>>;
  readonly dialogues: readonly (readonly ChatMessage[])[];
  readonly completions: readonly Readonly<Record<string, string>>[];
  readonly texts: readonly Readonly<Record<string, string>>[];
  readonly masks: Readonly<
    Record<'marked' | 'trimmed', readonly { readonly ids: readonly number[]; readonly mask: readonly number[] }[]>
  >;
  readonly labelled: Readonly<Record<'messages' | 'completions' | 'texts' | 'turns', readonly Labelled[]>>;
  readonly packing: readonly {
    readonly sizes: readonly number[];
    readonly width: number;
    readonly rows: readonly (readonly number[])[];
  }[];
  readonly losses: readonly number[];
}

const golden = JSON.parse(readFileSync(goldenFile('sft.json'), 'utf8')) as Golden;
const gptSmall = fileURLToPath(new URL('../../models/pretrained/gpt-small', import.meta.url));
const { model, tokenizer } = await loadTextGenerator(gptSmall);
const test = suite('conversations');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const conversations = (rows: readonly Readonly<Record<string, unknown>>[]): Conversation[] =>
  rows.map((row, i) => conversationOf(row, `data:${i + 1}`));
const dialogues = conversations(golden.dialogues.map((messages) => ({ messages })));

/** Ids and labels as TRL has them. */
const labelled = (sequences: readonly LabelledTokens[]): Labelled[] =>
  sequences.map(({ ids, learnt }) => ({
    ids: Array.from(ids),
    labels: Array.from(ids, (id, i) => (learnt[i] ? id : -100)),
  }));

test("the assistant's tokens are those of Transformers' return_assistant_tokens_mask", () => {
  for (const name of ['marked', 'trimmed'] as const)
    golden.dialogues.forEach((messages, i) => {
      const chatTemplate = golden.templates[name];
      const { ids, assistantMask } = dialogueTokens(tokenizer, messages, { chatTemplate });
      assert.equal([...ids], golden.masks[name][i]!.ids);
      assert.equal([...assistantMask], golden.masks[name][i]!.mask, `${name} ${i}`);
    });
});

test('what is learnt of each form is what TRL learns', () => {
  const learn = (rows: readonly Conversation[], chatTemplate?: string): Labelled[] =>
    labelled(sequencesOf(tokenizer, rows, { maxLength: 128, chatTemplate }).sequences);
  assert.equal(learn(dialogues, golden.templates.marked), golden.labelled.messages);
  assert.equal(learn(dialogues, golden.templates.plain), golden.labelled.turns);
  assert.equal(learn(conversations(golden.completions)), golden.labelled.completions);
  assert.equal(learn(conversations(golden.texts)), golden.labelled.texts);
});

test("a turn's end is learnt; of a prompt and its completion, the completion alone", () => {
  const [first] = golden.dialogues;
  for (const chatTemplate of [golden.templates.marked, golden.templates.plain]) {
    const { ids, assistantMask } = dialogueTokens(tokenizer, first!, { chatTemplate });
    const text = tokenizer.decode([...ids].filter((_, i) => assistantMask[i]));
    assert.match(text, /^It is 4\.<\|endoftext\|>\n?$/);
    const [prompt, completion] = [golden.dialogues[2]!.slice(0, 3), golden.dialogues[2]!.slice(3, 4)];
    const [parts] = sequencesOf(tokenizer, conversations([{ prompt, completion }]), {
      maxLength: 128,
      chatTemplate,
    }).sequences;
    const learnt = tokenizer.decode(Array.from(parts!.ids).filter((_, i) => parts!.learnt[i]));
    assert.match(learnt, /^having little or no money in my purse<\|endoftext\|>\n?$/);
  }
});

test('a template that rewrites earlier turns is refused unless it marks them', () => {
  const dialogue = golden.dialogues[2]!;
  const body = (reply: string): string =>
    `{% for m in messages %}{% if m.role == 'assistant' and not loop.last %}${reply}{% else %}${reply}{{ m.content }}` +
    '{% endif %}|{% endfor %}';
  throwsOneLine(
    () => dialogueTokens(tokenizer, dialogue, { chatTemplate: body('A: ') }),
    /^chat template: the turn of message 2 cannot be found, .*the dialogue up to there otherwise.*"; give a|generation/,
  );
  const marked = body('{% generation %}A: {% endgeneration %}');
  const { ids, assistantMask } = dialogueTokens(tokenizer, dialogue, { chatTemplate: marked });
  assert.match(tokenizer.decode([...ids].filter((_, i) => assistantMask[i])), /^A:.*A:/s);
  const template = golden.templates.marked;
  throwsOneLine(
    () => dialogueTokens(tokenizer, [{ role: 'user', content: '\ufdd0' }], { chatTemplate: template }),
    /U\+FDD0 or U\+FDD1, which are no characters/,
  );
});

test('ShareGPT, Alpaca and messages with tools are dialogues', async () => {
  const rows = [
    {
      conversations: [
        { from: 'human', value: 'a' },
        { from: 'gpt', value: 'b' },
      ],
      id: 7,
    },
    {
      conversations: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
      ],
      system: 'c',
    },
    { instruction: 'a', input: 'b', output: 'c' },
    { instruction: 'a', input: '', output: 'c', system: 'd', history: [['e', 'f']] },
    {
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', tool_calls: [{}] },
      ],
      tools: [{ name: 'f' }],
    },
  ];
  const path = join(folder, 'rows.jsonl');
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join('\n'));
  const said = (await readConversations(path)).map((each) =>
    'messages' in each ? each.messages.map(({ role, content }) => `${role[0]}:${content as string}`).join(' ') : '',
  );
  assert.equal(said, ['u:a a:b', 's:c u:a a:b', 'u:a\n\nb a:c', 's:d u:e a:f u:a a:c', 'u:a a:']);
});

test('what is wrong in a row is told in a line, with its number', async () => {
  const user = { role: 'user', content: 'a' };
  const reply = { role: 'assistant', content: 'b' };
  const bad: [unknown, RegExp][] = [
    [{ messages: [user] }, /no message of the assistant follows another one; there is no reply to learn$/],
    [{ messages: [reply] }, /no message of the assistant follows another one/],
    [{ messages: [] }, /"messages" is empty/],
    [{ messages: 'a' }, /"messages" is "a", no list/],
    [{ messages: [user, { role: 'assistant', content: ' ' }] }, /message 2, assistant's, is empty; it must be a text$/],
    [{ messages: [user, { role: 'assistant' }] }, /message 2, assistant's, is undefined/],
    [{ messages: [user, { role: 'asistant', content: 'b' }] }, /message 2 has the role "asistant"; use system, /],
    [{ messages: [user, reply], tools: 'f' }, /"tools" is "f", no list of JSON schemas/],
    [{ conversations: [{ from: 'cat', value: 'a' }] }, /turn 1 is from "cat"; use system, human/],
    [{ conversations: 3 }, /"conversations" is 3, no list/],
    [{ instruction: 'a', output: '' }, /"output" is empty; fill it/],
    [{ instruction: 'a', output: 'b', history: ['c'] }, /"history" is \["c"\], no list of \[question, answer\]/],
    [{ prompt: 'a', completion: ' ' }, /"completion" is empty/],
    [{ prompt: 'a', completion: [reply] }, /"prompt" is "a", no list/],
    [{ text: 3 }, /"text" is 3, not a string/],
    [{ question: 'a', answer: 'b' }, /the fields "question", "answer" are of no known form; give "messages", or/],
  ];
  const path = join(folder, 'bad.jsonl');
  for (const [row, pattern] of bad) {
    writeFileSync(path, `{"text": "good"}\n${JSON.stringify(row)}\n`);
    await rejects(readConversations(path), new RegExp(`bad\\.jsonl:2: .*${pattern.source}`));
  }
  writeFileSync(path, '{"text": "good"}\n{"text": \n');
  await rejects(readConversations(path), /bad\.jsonl:2: not JSON/);
  writeFileSync(path, '');
  await rejects(readConversations(path), /bad\.jsonl: no rows; give JSONL of/);
  writeFileSync(path, '{"prompt": "a", "chosen": "b"}\n');
  await rejects(readPreferences(path), /bad\.jsonl:1: no column "rejected" among prompt, chosen; each row needs it$/);
  writeFileSync(path, '{"prompt": "a", "chosen": "b", "rejected": "c"}\n');
  await rejects(
    loadPreferences(path, { seed: 1 }),
    /bad\.jsonl: 1 examples .* leave the test split empty; .*, or give others to test on with --test-data$/,
  );
  const refusing = "{{ raise_exception('roles must alternate') if messages[0].role != 'user' }}";
  throwsOneLine(
    () => sequencesOf(tokenizer, dialogues, { maxLength: 128, chatTemplate: refusing }),
    /^data:1: chat template: the turn of message 2|^data:1: none of its/,
  );
  throwsOneLine(
    () => sequencesOf(tokenizer, dialogues.slice(1), { maxLength: 128, chatTemplate: refusing }),
    /^data:2: chat template: roles must alternate$/,
  );
});

test('a text longer than a row is refused, cut, or left out, as told', () => {
  const options = { chatTemplate: golden.templates.marked, maxLength: 30 };
  throwsOneLine(
    () => sequencesOf(tokenizer, dialogues, options),
    /^data:2: \d+ tokens, and a row has 30; allow longer rows, or say/,
  );
  const { sequences, cut, leftOut } = sequencesOf(tokenizer, dialogues, { ...options, longer: 'cut' });
  // Of the second nothing is left to learn.
  assert.equal([sequences.length, cut, leftOut, sequences[1]!.ids.length], [2, 1, 1, 30]);
  const fewer = sequencesOf(tokenizer, dialogues, { ...options, longer: 'leave-out' });
  assert.equal([fewer.sequences.length, fewer.cut, fewer.leftOut], [1, 0, 2]);
  throwsOneLine(
    () => sequencesOf(tokenizer, dialogues, { ...options, maxLength: 2, longer: 'leave-out' }),
    /^no conversation is left of 3/,
  );
});

test("packing is TRL's best fit decreasing", () => {
  for (const { sizes, width, rows } of golden.packing) assert.equal(packBestFit(sizes, width), rows);
  throwsOneLine(() => packBestFit([3, 5], 4), /sequence 1 has 5 tokens, a row 4/);
});

/** The Euclidean norm of many numbers. */
const size = (x: Float32Array): number => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0));

/** Sequences of random tokens, every second of which is learnt. */
const random = (sizes: readonly number[], vocabulary: number): LabelledTokens[] =>
  sizes.map((size, k) => ({
    ids: Int32Array.from({ length: size }, (_, i) => (7 * k + 3 * i * i + i) % vocabulary),
    learnt: Uint8Array.from({ length: size }, (_, i) => (i + k) % 2),
  }));

const decoders: Readonly<Record<string, () => CausalLM>> = {
  gpt2: () => model as GPT2LMHeadModel,
  llama: () => {
    manualSeed(3);
    return new LlamaForCausalLM(
      LlamaConfig.create({
        ...{ vocabSize: 97, hiddenSize: 32, intermediateSize: 48, numHiddenLayers: 2, numAttentionHeads: 4 },
        ...{ numKeyValueHeads: 2, maxPositionEmbeddings: 32, initializerRange: 0.3 },
      }),
    );
  },
};

for (const [name, make] of Object.entries(decoders))
  test(`packed rows have the logits and gradients of their sequences alone: ${name}`, async () => {
    const decoder = make();
    const sequences = random([9, 5, 7, 2], 97);
    const { arrays } = batchOf([sequences.slice(0, 3), sequences.slice(3)], 24, true);
    const batch = toDevice({ arrays, counts: {}, tokens: 0 });
    const { inputIds, positionIds, documentIds } = batch as Readonly<Record<string, Tensor>>;
    const { logits } = noGrad(() => decoder.forward({ inputIds: inputIds!, positionIds, documentIds }));
    const found = (await logits.data()) as Float32Array;
    const vocabulary = logits.shape[2]!;
    for (const [k, start] of [0, 9, 14, 24].entries()) {
      const { ids } = sequences[k]!;
      const alone = noGrad(() => decoder.forward({ inputIds: tensor([Array.from(ids)], { dtype: 'i32' }) })).logits;
      const part = found.subarray(start * vocabulary, (start + ids.length) * vocabulary);
      const off = largestDifference(part, (await alone.data()) as Float32Array);
      assert.ok(off <= 1e-5, `logits of sequence ${k} differ by ${off}`);
    }
    const gradients = async (packed: boolean): Promise<Float32Array[]> => {
      const options = { name: 'test', model: decoder, sequences, length: 24, batchSize: packed ? 2 : 4, seed: 1 };
      const task = labelledTokens({ ...options, packed });
      assert.is(task.batchesPerEpoch, 1);
      task.losses(toDevice(await task.batch(0)))['loss']!.backward();
      const all = decoder.parameters().map(({ grad }) => grad!.data() as Promise<Float32Array>);
      const read = await Promise.all(all);
      for (const x of decoder.parameters()) x.grad = undefined;
      return read;
    };
    const [apart, together] = [await gradients(false), await gradients(true)];
    apart.forEach((wanted, i) => {
      const off = size(wanted.map((value, k) => value - together[i]![k]!)) / Math.max(size(wanted), 1e-6);
      assert.ok(off <= 1e-5, `gradient ${i} is off by ${off} of its norm`);
    });
  });

for (const packed of [false, true])
  test(`ten losses are those of PyTorch on TRL's labels, ${packed ? 'packed' : 'padded'}`, async () => {
    const fresh = await GPT2LMHeadModel.fromPretrained(gptSmall);
    const { sequences } = sequencesOf(tokenizer, dialogues, { maxLength: 128, chatTemplate: golden.templates.marked });
    const options = { name: 'test', model: fresh, sequences, length: 128, batchSize: 3, seed: 1, packed };
    const task = labelledTokens(options);
    const batch = toDevice(await task.batch(0));
    const optimizer = new AdamW(decayGroups(fresh.namedParameters(), 0.1), { lr: 1e-3, betas: [0.9, 0.95] });
    for (const [step, wanted] of golden.losses.entries()) {
      const loss = task.losses(batch)['loss']!;
      const found = await loss.item();
      assert.ok(Math.abs(found - wanted) < 1e-4, `step ${step}: ${found}, PyTorch ${wanted}`);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
    }
  });

test.run();
