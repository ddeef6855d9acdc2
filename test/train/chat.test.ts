// The script train/chat.ts as a user runs it, and dialogues in a program.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed } from '../../autograd/index.ts';
import {
  chatPrompt,
  generateText,
  GPT2LMHeadModel,
  loadTextGenerator,
  pipeline,
  Tokenizer,
} from '../../models/index.ts';
import type { ChatMessage, TextGenerator } from '../../models/index.ts';
import { gpt2TokenizerJson, GPT2_CONFIG } from '../../models/tokenizer/byte-level.ts';
import { runScript } from '../support/script.ts';
import type { Finished } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('chat');
let parent = '';
temporaryFolder(test, (made) => (parent = made));
const folder = (): string => join(parent, 'model');

/** Each message with its role before it; nothing else of the template is needed here. */
const template =
  "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";

test.before.each(async () => {
  manualSeed(1);
  const model = GPT2LMHeadModel.fromConfig({ nEmbd: 8, nLayer: 1, nHead: 2, nPositions: 48, initializerRange: 0.5 });
  const tokenizer = Tokenizer.fromJson(gpt2TokenizerJson(), { ...GPT2_CONFIG, chat_template: template });
  await model.savePretrained(folder(), { tokenizer });
});

const chat = (lines: readonly string[], ...args: string[]): Promise<Finished> =>
  runScript(['train/chat.ts', '--model', folder(), '--max-new-tokens', '8', ...args], {
    input: `${lines.join('\n')}\n`,
  });

const messages: ChatMessage[] = [{ role: 'user', content: 'Hello there' }];

test('a line is a turn; a dialogue is saved and gone on with; the seed decides', async () => {
  const saved = join(parent, 'talk.json');
  const one = await chat(['Hello there', 'And you?', `/save ${saved}`]);
  assert.is(one.code, 0, one.stderr);
  const read = JSON.parse(await readFile(saved, 'utf8')) as { messages: ChatMessage[] };
  assert.equal(
    read.messages.map(({ role }) => role),
    ['user', 'assistant', 'user', 'assistant'],
  );
  assert.is(read.messages[2]!.content, 'And you?');
  const half = join(parent, 'half.json');
  await writeFile(half, JSON.stringify({ messages: read.messages.slice(0, 2) }));
  const [again, gone] = [await chat(['Hello there', 'And you?']), await chat(['And you?', '/retry'], '--load', half)];
  assert.is(again.stdout, one.stdout);
  assert.is(gone.code, 0, gone.stderr);
  assert.match(gone.stderr, /half\.json: 2 messages/);
});

test('without a model, the small one that comes with the project answers', async () => {
  const said = ['Hello!', 'What is a kernel?', 'Write a list: sea, ship.', 'Write JSON: Ida is 7.', 'Who is Ned?'];
  const { code, stdout, stderr } = await runScript(['train/chat.ts', '--greedy'], { input: `${said.join('\n')}\n` });
  assert.is(code, 0, stderr);
  assert.is(
    stdout,
    'Hello! What can I do for you?\nA program that runs on the device.\n- sea\n- ship\n{"name": "Ida", "age": 7}\n' +
      'I do not know that. Ask me about a word of tapeform.\n',
  );
});

test('what is no turn: commands that are not known, files that are none, models without a template', async () => {
  const bad = join(parent, 'bad.json');
  await writeFile(bad, '{"messages": [{"role": 3}]}');
  const cases: [Finished, RegExp][] = [
    [await chat(['/dance']), /^\/dance: there is no such command; \/help lists them$/m],
    [await chat([`/load ${bad}`]), /bad\.json: message 1 has the role 3; use system/],
    [await chat([`/load ${join(parent, 'none.json')}`]), /none\.json does not exist: check the path$/m],
    [await chat(['/retry']), /^\/retry: nothing was said yet$/m],
    [await chat(['word '.repeat(60)]), /^chat: the last message has \d+ tokens with what the template adds/m],
  ];
  const plain = join(parent, 'plain');
  await GPT2LMHeadModel.fromConfig({ nEmbd: 8, nLayer: 1, nHead: 2, nPositions: 48 }).savePretrained(plain, {
    tokenizer: Tokenizer.gpt2(),
  });
  cases.push([await runScript(['train/chat.ts', '--model', plain]), /has no chat template, it was not trained on/]);
  for (const [{ code, stderr }, message] of cases) {
    assert.is.not(code, 0);
    assert.match(stderr, message);
    assert.not.match(stderr, /^ {4}at /m);
  }
});

const messagesAfter = (whole: readonly ChatMessage[], left: number): string =>
  [whole[0]!, ...whole.slice(1 + left)].map(({ role, content }) => `${role}: ${String(content)}\n`).join('') +
  'assistant:';

test('of a dialogue that is too long the oldest turns are left out, the system stays', async () => {
  const generator: TextGenerator = await loadTextGenerator(folder());
  const turns = Array.from({ length: 9 }, (_, i): ChatMessage => ({
    role: i % 2 === 0 ? 'user' : 'assistant',
    content: `turn ${i}`,
  }));
  const whole = [{ role: 'system', content: 'be short' }, ...turns];
  const { text, ids, left } = chatPrompt(generator, whole, 10);
  const tokens = ids.length;
  assert.ok(left > 0 && left % 2 === 0, `${left}`);
  assert.ok(tokens + 10 <= 48 && tokens + 10 > 30, `${tokens}`);
  assert.match(text, /^system: be short\nuser: turn/);
  assert.match(text, /user: turn 8\nassistant:$/);
  // One turn more does not fit.
  const one = messagesAfter(whole, left - 2);
  assert.ok(generator.tokenizer.idsOf(one).length + 10 > 48, one);
});

test('the pipeline takes messages, and gives them back with the reply', async () => {
  const generate = await pipeline('text-generation', folder());
  const options = { maxNewTokens: 6, doSample: false };
  const [plain] = await generateText(generate.model, generate.tokenizer, ['user: Hello there\nassistant:'], options);
  const [one] = await generate(messages, options);
  assert.equal(one!.generated_text, [...messages, { role: 'assistant', content: plain!.text }]);
  const [text] = await generate(messages, { ...options, returnFullText: false });
  assert.is(text!.generated_text, plain!.text);
  const many = await generate([messages, messages], options);
  assert.equal(many, [[one], [one]]);
  const open = [...messages, { role: 'assistant', content: 'I am' }];
  const [longer] = await generate(open, options);
  const last = longer!.generated_text.at(-1)!;
  assert.is(longer!.generated_text.length, 2);
  assert.match(String(last.content), /^I am/);
  let streamed = '';
  for await (const piece of generate.stream(messages, options)) streamed += piece;
  assert.is(streamed, plain!.text);
});

test.run();
