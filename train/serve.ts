/**
 * Trained models as an online service: OpenAI's API, embeddings, and the tasks of pipelines.
 *
 *   node --import tsx train/serve.ts --model runs/sft
 *   node --import tsx train/serve.ts --model chat=runs/sft --model spam=runs/spam --host 0.0.0.0 --api-key KE
 *   curl -s http://127.0.0.1:8000/v1/models
 */
import { describeError, main, parseOptions } from './cli/cli.ts';
import { loadingOptions, decodingOptions } from './cli/generation.ts';
import { onInterrupt } from './cli/interrupt.ts';
import { printable } from '../common/printable.ts';
import { shippedModel } from '../models/io/shipped.ts';
import { defaultLimits } from './serve/handler.ts';
import { readGuardRules } from './guard/index.ts';
import { serve } from './serve/index.ts';

const command = {
  name: 'serve',
  usage: 'node --import tsx train/serve.ts',
  summary: "answers requests over HTTP with trained models: OpenAI's API, embeddings, tasks; a page to try them at /",
  options: {
    model: {
      type: 'list',
      help: 'NAME=FOLDER, a folder, GGUF file or name of the hub; may be given several times; default small ones',
    },
    adapter: { type: 'list', help: 'NAME=FOLDER of an adapter (LoRA) of the model, served beside it by its name' },
    quantize: loadingOptions.quantize,
    cacheDtype: decodingOptions.cacheDtype,
    host: { type: 'string', default: '127.0.0.1', help: 'address to listen on; others than this machine need a key' },
    port: { type: 'int', default: 8000, min: 0, max: 65535, help: 'port; 0 for any that is free' },
    apiKey: {
      type: 'list',
      help: 'key that clients must bear, 16 characters or more; several for several clients; also TAPEFORM_API_KEY',
    },
    allowOpen: { type: 'boolean', help: 'listen to other machines without a key' },
    allowHost: { type: 'list', help: 'name, besides this machine, that is answered to without keys' },
    cors: { type: 'list', help: 'origin whose pages may ask, https://example.org, or * for all; default none' },
    guard: { type: 'path', exists: 'file', help: 'JSON file of rules for what clients send and models write' },
    rateLimit: { type: 'int', default: 0, min: 0, help: 'requests in a minute of a key, or of an address; 0 for any' },
    trustProxy: { type: 'boolean', help: 'a proxy says in x-forwarded-for whose requests it passes on' },
    batchSize: { type: 'int', default: 8, min: 1, max: 256, help: 'texts that run together' },
    maxTokens: { type: 'int', default: defaultLimits.maxTokens, min: 1, help: 'new tokens of a text at most' },
    maxTexts: { type: 'int', default: defaultLimits.maxTexts, min: 1, help: 'texts of a request at most' },
    maxBody: { type: 'int', default: defaultLimits.maxBodyBytes, min: 1024, help: 'bytes of a request at most' },
    queue: { type: 'int', default: defaultLimits.queue, min: 1, help: 'texts that wait at most; then 429' },
    timeout: { type: 'int', default: defaultLimits.timeout, min: 1, help: 'seconds that a request may take' },
    grace: { type: 'int', default: 30, min: 0, help: 'seconds that what runs has to end after Ctrl-C or SIGTERM' },
    quiet: { type: 'boolean', help: 'no line for each request' },
  },
} as const;

main(async () => {
  const { values } = parseOptions(command);
  const { model, adapter, apiKey, grace, quiet, guard, maxBody: maxBodyBytes, ...given } = values;
  const { maxTokens, maxTexts, queue, timeout } = given;
  const own = process.env['TAPEFORM_API_KEY'];
  const log = (line: string): void => console.error(line);
  const server = await serve({
    ...given,
    models: model.length > 0 ? model : ['chat-small', 'help-search-small', 'spam-small'].map(shippedModel),
    adapters: adapter,
    guard: guard === undefined ? undefined : await readGuardRules(guard),
    apiKeys: [...apiKey, ...(own ? [own] : [])],
    allowHosts: given.allowHost,
    corsOrigins: given.cors,
    limits: { maxTokens, maxTexts, maxBodyBytes, queue, timeout },
    ...(quiet ? {} : { log }),
    // What a lost device computed is not to be trusted: who started the server starts it again.
    onDeviceError: (error) => {
      log(describeError(error));
      process.exit(1);
    },
  });
  for (const model of server.models)
    console.error(`${printable(model.name)}  ${model.kind === 'task' ? model.tasks.join(', ') : model.kind}`);
  console.log(`listening  ${server.url}`);
  await new Promise<void>((resolve) => onInterrupt(resolve));
  console.error('stopping  what runs is ended, nothing else is taken; Ctrl-C again ends at once');
  await server.close(grace);
  process.exit(0);
});
