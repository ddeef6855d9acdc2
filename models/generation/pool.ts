import { adaptersOf } from '../adapters/peft-model.ts';
import type { Parameter } from '../parameter.ts';
import type { Generative } from './decoder.ts';
import { DecodingSession } from './session.ts';

interface Kept {
  readonly session: DecodingSession;
  /** A model converted to another type has other parameters, which a compiled step does not know. */
  readonly parameters: readonly Parameter[];
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

/** Runs fn with a session of the model, in evaluation mode, and keeps the session for the next call. */
export async function* withSession<T>(
  model: Generative,
  batch: number,
  capacity: number,
  fn: (session: DecodingSession) => AsyncGenerator<T>,
): AsyncGenerator<T> {
  const parameters = model.parameters();
  const list = idle.get(model) ?? [];
  idle.set(model, list);
  const decoder = model.decoder();
  const wanted = Math.min(capacity, decoder.positions);
  const same = (kept: Kept): boolean =>
    kept.session.batch === batch &&
    kept.session.capacity === wanted &&
    kept.parameters.length === parameters.length &&
    kept.parameters.every((p, i) => p === parameters[i]);
  const at = list.findLastIndex(same);
  const session =
    at >= 0
      ? list.splice(at, 1)[0]!.session
      : new DecodingSession(decoder, batch, wanted, () => changesOf(model, parameters));
  const { training } = model;
  model.eval();
  try {
    yield* fn(session);
  } finally {
    if (training) model.train();
    list.push({ session, parameters });
    while (list.length > most) list.shift()!.session.free();
  }
}
