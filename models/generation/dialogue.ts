import { basename } from '../../common/platform.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import type { JsonObject } from '../../common/json-file.ts';
import type { ChatMessage } from './chat-template.ts';
import type { TextTokenizer } from './text.ts';

export const messageRoles = ['system', 'user', 'assistant'] as const;

/** One turn of a dialogue, as chat interfaces have it. */
export interface Message extends ChatMessage {
  readonly role: (typeof messageRoles)[number];
  readonly content: string;
}

/**
 * How `dialogueIds` writes a dialogue, in the language of tokenizer_config.json's chat_template: each turn
 * and the token that ends texts, as DialoGPT (Zhang et al. 2020) has it. No token tells who speaks: the turns
 * take turns.
 */
export const turnsTemplate = "{% for message in messages %}{{ message['content'] }}{{ eos_token }}{% endfor %}";

/**
 * The ids of a dialogue, which a reply follows; those of Transformers' `apply_chat_template` with
 * `turnsTemplate`. At most `maxLength` of them: the oldest are left out. Error: a tokenizer without a token
 * that ends texts.
 *
 * @example
 * dialogueIds(await Tokenizer.gpt2(), [{ role: 'user', content: 'Hello' }]); // [15496, 50256]
 */
export function dialogueIds(
  tokenizer: Pick<TextTokenizer, 'idsOf' | 'eosTokenId'>,
  messages: readonly Message[],
  maxLength = Infinity,
): number[] {
  const { eosTokenId: end } = tokenizer;
  if (end === undefined)
    throw new Error('dialogue: the tokenizer has no token that ends texts (eos_token), and each turn ends with it');
  const ids = messages.flatMap(({ content }) => [...Array.from(tokenizer.idsOf(content)), end]);
  return ids.length > maxLength ? ids.slice(ids.length - maxLength) : ids;
}

/**
 * How a dialogue is written where nothing else is said: who speaks on a line of its own, and the token that
 * ends texts after what the assistant says. Generation tags tell what the assistant says (`dialogueTokens`).
 * Line breaks behind a tag would be taken out (`trim_blocks`), so they stand in expressions.
 */
export const rolesTemplate =
  "{% for message in messages %}{{ message['role'] }}:\n{% if message['role'] == 'assistant' %}{% generation %}" +
  "{{ message['content'] }}{{ eos_token }}{% endgeneration %}{% else %}{{ message['content'] }}{% endif %}{{ '\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}assistant:{{ '\\n' }}{% endif %}";

/**
 * A tokenizer as it is saved with a model of dialogues: its tokenizer_config.json has the template by which
 * they are written.
 *
 * @example
 * const model = await GPT2LMHeadModel.fromPretrained('models/pretrained/gpt-small');
 * const tokenizer = withChatTemplate(Tokenizer.gpt2(), rolesTemplate);
 * await model.savePretrained(memoryFolder(), { tokenizer });
 */
export function withChatTemplate(
  tokenizer: { filesToSave(folder: string): FileToWrite[] },
  template: string,
): { filesToSave(folder: string): FileToWrite[] } {
  return {
    filesToSave: (folder) =>
      tokenizer.filesToSave(folder).map((file) => {
        if (basename(file.path) !== 'tokenizer_config.json') return file;
        const config = JSON.parse(file.data as string) as JsonObject;
        return { ...file, data: `${JSON.stringify({ ...config, chat_template: template }, null, 2)}\n` };
      }),
  };
}
