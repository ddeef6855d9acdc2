import * as z from 'zod';
import { choice, text } from './grammar.ts';
import type { Term } from './grammar.ts';
import { jsonObject, jsonSchema } from './json-schema.ts';
import { regular } from './regular.ts';

/** Text is any text. A schema may stand where OpenAI's `response_format` has it, in json_schema. */
export const responseFormat = z.discriminatedUnion(
  'type',
  [
    z.strictObject({ type: z.literal('text') }),
    z.strictObject({ type: z.literal('json_object') }),
    z
      .strictObject({
        type: z.literal('json_schema'),
        schema: z.unknown().optional(),
        json_schema: z.looseObject({ schema: z.unknown() }).optional(),
      })
      .refine(({ schema, json_schema: inner }) => (schema === undefined) !== (inner === undefined), {
        error: 'json_schema needs a schema',
      }),
    z.strictObject({ type: z.literal('regex'), pattern: z.string() }),
    z.strictObject({ type: z.literal('choice'), choices: z.array(z.string().min(1)).min(1).readonly() }),
  ],
  { error: 'its type is text, json_object, json_schema (with schema), regex (with pattern) or choice (with choices)' },
);

export type ResponseFormat = z.output<typeof responseFormat>;

/** The texts of a format; undefined where any text is one. Errors: those of `jsonSchema` and `regular`. */
export function grammarOf(format: ResponseFormat): Term | undefined {
  switch (format.type) {
    case 'text':
      return undefined;
    case 'json_object':
      return jsonObject();
    case 'json_schema':
      return jsonSchema(format.schema ?? format.json_schema?.schema);
    case 'regex':
      return regular(format.pattern);
    case 'choice':
      return choice(...format.choices.map(text));
  }
}
