// Chat templates against Transformers: the golden file is made by test/golden/golden_chat.py.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { applyChatTemplate, dialogueTokens, rolesTemplate, Tokenizer } from '../../models/index.ts';
import type { ChatMessage, ChatTokenizer } from '../../models/index.ts';
import { goldenFile } from '../support/golden.ts';

interface Settings {
  readonly add_generation_prompt?: boolean;
  readonly tools?: readonly object[];
  readonly enable_thinking?: boolean;
  readonly continue_final_message?: boolean;
}

interface Golden {
  readonly templates: Readonly<Record<string, string>>;
  readonly dialogues: Readonly<Record<string, readonly ChatMessage[]>>;
  readonly settings: readonly Settings[];
  readonly tokens: { readonly bos_token: string; readonly eos_token: string };
  readonly cases: readonly {
    readonly template: string;
    readonly dialogue: string;
    readonly settings: number;
    readonly text?: string;
    readonly error?: string;
  }[];
}

const golden = JSON.parse(readFileSync(goldenFile('chat.json'), 'utf8')) as Golden;
const test = suite('chat templates');

/** A tokenizer with a template and tokens that begin and end texts. */
function tokenizerOf(chatTemplate: ChatTokenizer['chatTemplate']): ChatTokenizer {
  const tokens = [golden.tokens.bos_token, golden.tokens.eos_token];
  return {
    chatTemplate,
    bosTokenId: 0,
    eosTokenId: 1,
    unkTokenId: undefined,
    sepTokenId: undefined,
    padTokenId: undefined,
    clsTokenId: undefined,
    maskTokenId: undefined,
    idToToken: (id) => tokens[id],
  };
}

const date = new Date(2026, 2, 5, 14, 7, 9);

test('every dialogue is the text that Transformers makes of it, or is refused as there', () => {
  for (const { template, dialogue, settings, text, error } of golden.cases) {
    const { tools, enable_thinking: thinking, ...given } = golden.settings[settings]!;
    const render = (): string =>
      applyChatTemplate(tokenizerOf(golden.templates[template]), golden.dialogues[dialogue]!, {
        date,
        addGenerationPrompt: given.add_generation_prompt ?? false,
        continueFinalMessage: given.continue_final_message ?? false,
        ...(tools ? { tools } : {}),
        ...(thinking === undefined ? {} : { variables: { enable_thinking: thinking } }),
      });
    const label = `${template}, ${dialogue}, ${JSON.stringify(golden.settings[settings])}`;
    // A list of parts where a template needs a text: Transformers writes it as Python would, here it is
    // refused.
    const isPython = text?.includes("[{'type': 'text'") === true;
    if (text !== undefined && !isPython && dialogue !== 'none') assert.is(render(), text, label);
    else assert.throws(render, /^chat template: [^\n]+$/, `${label}: ${error}`);
  }
});

test('the template of those that have none: each turn on lines of its own', () => {
  const gpt2 = Tokenizer.gpt2();
  const messages = [
    { role: 'user', content: 'Hi\n' },
    { role: 'assistant', content: 'Yes.' },
    { role: 'user', content: 'And?' },
  ];
  const options = { chatTemplate: rolesTemplate };
  const text = 'user:\nHi\n\nassistant:\nYes.<|endoftext|>\nuser:\nAnd?\n';
  assert.is(applyChatTemplate(gpt2, messages, options), text);
  assert.is(applyChatTemplate(gpt2, messages, { ...options, addGenerationPrompt: true }), `${text}assistant:\n`);
  const { ids, assistantMask } = dialogueTokens(gpt2, messages, options);
  assert.is(gpt2.decode(ids), text);
  assert.is(gpt2.decode(ids.filter((_, i) => assistantMask[i])), 'Yes.<|endoftext|>');
});

test('templates that fail, do not end, or are no Jinja: one line', () => {
  const cases: [string, RegExp][] = [
    ["{{ raise_exception('no\nway') }}", /^chat template: no/],
    ['{% for i in range(1000000000) %}x{% endfor %}', /range\(0, 1000000000, 1\) is too long/],
    ['{% for i in range(2000) %}{% for j in range(2000) %}{% endfor %}{{ i }}{% endfor %}', /more than 300000 steps/],
    ['{% macro f(x) %}{{ x(x) }}{% endmacro %}{{ f(f) }}', /^chat template: /],
    ['{% for message in %}', /^chat template: /],
    ["{{ 'a' + messages }}", /it adds a text and something that is none: StringValue \+ ArrayValue/],
  ];
  for (const [template, message] of cases)
    assert.throws(
      () => applyChatTemplate(tokenizerOf(template), [{ role: 'user', content: 'x' }]),
      (error: Error) => {
        assert.match(error.message, message);
        assert.is(error.message.split('\n').length, 1);
        return true;
      },
    );
});

test('several templates by name; none; messages that are none', () => {
  const named = tokenizerOf({ default: 'plain', tool_use: 'tools', rag: 'texts' });
  const messages = [{ role: 'user', content: 'x' }];
  assert.is(applyChatTemplate(named, messages), 'plain');
  assert.is(applyChatTemplate(named, messages, { tools: [{}] }), 'tools');
  assert.is(applyChatTemplate(named, messages, { chatTemplate: 'rag' }), 'texts');
  assert.is(applyChatTemplate(named, messages, { chatTemplate: '{{ messages | length }}' }), '1');
  assert.throws(() => applyChatTemplate(tokenizerOf({ rag: '' }), messages), /name one of rag as chatTemplate/);
  assert.throws(() => applyChatTemplate(tokenizerOf(undefined), messages), /the tokenizer has none/);
  assert.throws(() => applyChatTemplate(named, ['x' as never]), /message 0 is "x", where { role, content } is needed/);
  assert.throws(() => applyChatTemplate(named, [], { continueFinalMessage: true }), /there are no messages/);
});

test('a tokenizer keeps its template, one or several', () => {
  const files = Tokenizer.gpt2().filesToSave('x');
  const read = (name: string): string => files.find(({ path }) => path.endsWith(name))!.data as string;
  const json = JSON.parse(read('tokenizer.json')) as Record<string, unknown>;
  const of = (template: unknown): Tokenizer => Tokenizer.fromJson(json, { chat_template: template });
  assert.is(of('{{ 1 }}').chatTemplate, '{{ 1 }}');
  assert.equal(of([{ name: 'default', template: 'a' }]).chatTemplate, { default: 'a' });
  assert.throws(() => of(3), /chat_template of tokenizer_config.json is 3/);
});

test.run();
