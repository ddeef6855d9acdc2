import { AdapterRows } from '../adapters/by-row.ts';
import { adaptersOf } from '../adapters/peft-model.ts';
import type { PeftModel } from '../adapters/peft-model.ts';
import { evalMode } from '../module.ts';
import type { Parameter } from '../parameter.ts';
import type { Decoder, Generative } from './decoder.ts';
import type { Settled } from './options.ts';
import { DecodingSession } from './session.ts';

interface Kept {
  readonly session: DecodingSession;
  /** A model converted to another type has other parameters, which a compiled step does not know. */
  readonly parameters: readonly Parameter[];
  /** Of texts that have an adapter each. */
  readonly rows: AdapterRows | undefined;
}

/**
 * Sessions that no generation uses now, the last used last: the next of the same size needs no new capture.
 */
const idle = new WeakMap<Generative, Kept[]>();

/** How often weights were written to, or adapters switched. */
const changesOf = (model: Generative, parameters: readonly Parameter[]): number =>
  parameters.reduce((sum, { storage }) => sum + storage.version, adaptersOf(model)?.version ?? 0);

/** Kept for each model: a cache takes memory. */
const most = 2;

/**
 * The least capacity, and how it grows: few sizes, so that prompts of about the same length share a session.
 */
export function capacityFor(tokens: number): number {
  return Math.max(64, 2 ** Math.ceil(Math.log2(tokens)));
}

/** A decoder whose rows have an adapter each. */
function withRows(decoder: Decoder, peft: () => PeftModel, rows: AdapterRows): Decoder {
  return {
    ...decoder,
    hidden: (inputIds, cache) => peft().withRows(rows, () => decoder.hidden(inputIds, cache)),
    logits: (hidden) => peft().withRows(rows, () => decoder.logits(hidden)),
    ...(decoder.source
      ? {
          source: {
            ...decoder.source,
            read: (inputIds, lengths, cache) =>
              peft().withRows(rows, () => decoder.source!.read(inputIds, lengths, cache)),
          },
        }
      : {}),
  };
}

/** What a session is made for, beside its size: the adapter of each row, and the type of its cache. */
export type SessionOptions = Pick<Settled, 'adapterNames' | 'cacheDtype'>;

/** Runs fn with a session of the model, in evaluation mode, and keeps the session for the next call. */
export async function* withSession<T>(
  model: Generative,
  batch: number,
  capacity: number,
  fn: (session: DecodingSession) => AsyncGenerator<T>,
  { adapterNames, cacheDtype }: SessionOptions,
): AsyncGenerator<T> {
  const parameters = model.parameters();
  const list = idle.get(model) ?? [];
  idle.set(model, list);
  const peft = adaptersOf(model);
  if (adapterNames && !peft)
    throw new Error('generate: adapterNames name adapters, and the model has none; load them first, or leave it out');
  const decoder = model.decoder();
  const wanted = Math.min(capacity, decoder.positions);
  const same = (kept: Kept): boolean =>
    kept.session.batch === batch &&
    (kept.rows === undefined) === (adapterNames === undefined) &&
    kept.session.capacity === wanted &&
    kept.session.cacheDtype === cacheDtype &&
    kept.session.ahead === (decoder.ahead?.count ?? 0) &&
    kept.parameters.length === parameters.length &&
    kept.parameters.every((p, i) => p === parameters[i]);
  const at = list.findLastIndex(same);
  const rows = at >= 0 ? list[at]!.rows : adapterNames && new AdapterRows(batch);
  const changes = (): number => changesOf(model, parameters);
  const own = rows ? withRows(decoder, () => adaptersOf(model)!, rows) : decoder;
  const session =
    at >= 0 ? list.splice(at, 1)[0]!.session : new DecodingSession(own, batch, wanted, changes, cacheDtype);
  if (rows) peft!.setRows(rows, adapterNames!);
  using _mode = evalMode(model);
  try {
    yield* fn(session);
  } finally {
    list.push({ session, parameters, rows });
    while (list.length > most) list.shift()!.session.free();
  }
}
