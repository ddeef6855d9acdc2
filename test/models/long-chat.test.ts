// A long chat takes no more memory than a short one, on the device and on the host, and compiles nothing new.
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { memory, ready, synchronize } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { loadTextGenerator, rolesTemplate, streamReply } from '../../models/index.ts';
import type { ChatMessage, Decoder } from '../../models/index.ts';
import { collectGarbage } from '../support/garbage.ts';

/** Turns that are measured: 1,000 take minutes, and are for `TAPEFORM_TURNS=1000`. */
const turns = Number(process.env['TAPEFORM_TURNS'] ?? 60);
/** Turns before that: every size of chunk and cache has been met. */
const warmUp = 40;

const test = suite('a long chat');

const path = fileURLToPath(new URL('../../models/pretrained/gpt-small', import.meta.url));

test(`memory and programs after ${turns} turns are those after ${warmUp}`, async () => {
  const generator = await loadTextGenerator(path);
  const { pipelines } = await ready();
  const decoder = generator.model.decoder();
  let captured = 0;
  const hidden: Decoder['hidden'] = (ids, cache) => {
    captured++;
    return decoder.hidden(ids, cache);
  };
  generator.model.decoder = () => ({ ...decoder, hidden });
  const numbers = new Random(2);
  const words = 'the whale and sea ship captain went a white of to harpoon boat'.split(' ');
  const messages: ChatMessage[] = [];
  const turn = async (): Promise<void> => {
    const said = Array.from({ length: 1 + numbers.int(12) }, () => words[numbers.int(words.length)]!);
    messages.push({ role: 'user', content: said.join(' ') });
    let content = '';
    const options = { template: { chatTemplate: rolesTemplate }, maxNewTokens: 1 + numbers.int(6) };
    for await (const { text } of streamReply(generator, messages, options)) content += text;
    messages.push({ role: 'assistant', content });
    // More than the model has positions for; the list itself is the test's.
    messages.splice(0, Math.max(0, messages.length - 40));
  };
  const state = async () => {
    await synchronize();
    for (let i = 0; i < 3; i++) await collectGarbage();
    const { live, buffers, reserved } = memory();
    const heap = process.memoryUsage().heapUsed;
    return { device: { live, buffers }, reserved, heap, compiled: { captured, shaders: pipelines.size } };
  };
  for (let i = 0; i < warmUp; i++) await turn();
  const before = await state();
  for (let i = 0; i < turns; i++) await turn();
  const after = await state();
  console.log(`long-chat.test.ts: ${JSON.stringify({ before, after })}`);
  assert.equal(after.device, before.device);
  assert.equal(after.compiled, before.compiled);
  assert.ok(after.reserved <= before.reserved, `${before.reserved} bytes held, then ${after.reserved}`);
  assert.ok(after.heap <= before.heap + 2 ** 20, `${before.heap} bytes of heap, then ${after.heap}`);
});

test.run();
