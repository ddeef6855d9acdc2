import type { Runner } from './adapters/index.ts';
import type { RunnerProcess } from './process.ts';
import { sampleIndices } from './protocol.ts';
import type { Checked } from './protocol.ts';
import { titleOf } from './rows/index.ts';
import { isOwn } from './rows/row.ts';
import type { AnyRow, Row } from './rows/row.ts';
import { summarise } from './sample.ts';
import type { Summary } from './sample.ts';

/** One runner on one row: figures, or why there are none. */
export interface Outcome {
  readonly runner: Runner;
  /** This is the second process of a control. */
  readonly control: boolean;
  readonly checked?: Checked;
  readonly dispatches?: number;
  readonly time?: Summary;
  readonly failure?: string;
  readonly profile?: string;
}

/** A process to measure, and whether it repeats another as a control. */
export interface Entrant {
  readonly process: RunnerProcess;
  readonly control: boolean;
}

export interface MeasureOptions {
  /** Rounds of samples, alternating between all entrants. */
  readonly rounds: number;
  /** Time of a round, at least three samples. */
  readonly seconds: number;
  readonly profile: boolean;
  readonly progress: (text: string) => void;
}

/** Milliseconds that all samples of one runner on one row may take, after the first. */
const budget = 12_000;

/** Losses that are compared when steps of training are. */
const steps = 3;

/**
 * Measures a row: everybody is made ready and checked, one after the other, then rounds of samples are taken
 * in turn, every other round in reverse, so that what else goes on in the machine falls on all alike.
 */
export async function measureRow(
  row: AnyRow,
  entrants: readonly Entrant[],
  { rounds, seconds, profile, progress }: MeasureOptions,
): Promise<Outcome[]> {
  const states = entrants.map((entrant) => ({
    ...entrant,
    samples: [] as number[],
    usual: 0,
    out: {} as Partial<Outcome>,
  }));
  type State = (typeof states)[number];
  const attempt = async (state: State, what: string, work: () => Promise<Partial<Outcome>>): Promise<void> => {
    if (state.out.failure !== undefined) return;
    progress(`${state.process.runner.name}, ${what}`);
    try {
      state.out = { ...state.out, ...(await work()) };
    } catch (error) {
      state.out = { failure: error instanceof Error ? error.message : String(error) };
    }
  };

  let reference = referenceOf(row);
  for (const state of states) {
    await attempt(state, 'first run', async () => {
      await state.process.prepare(titleOf(row));
      const checked = await state.process.check(!isOwn(row) && row.training ? steps : 1);
      reference ??= checked.values;
      if (!isOwn(row)) compare(checked, reference, row);
      const { samples, dispatches } = await state.process.measure({ samples: 1, seconds: 0 }); // warm; not counted
      state.usual = samples[0]!;
      return { checked, dispatches };
    });
  }
  for (let i = 0; i < rounds; i++) {
    for (const state of i % 2 === 0 ? states : [...states].reverse()) {
      await attempt(state, `round ${i + 1} of ${rounds}`, async () => {
        // The slowest would hold up everybody.
        if (i >= Math.max(1, Math.floor(budget / state.usual))) return {};
        const samples = state.usual > 1000 ? 1 : 3;
        state.samples.push(...(await state.process.measure({ samples, seconds })).samples);
        return {};
      });
    }
  }
  for (const state of states) {
    if (profile && state.process.runner.kind === 'ours' && !state.control)
      await attempt(state, 'profile', async () => ({ profile: await state.process.profile() }));
    await state.process.dispose().catch(() => state.process.stop());
  }
  return states.map(({ process: { runner }, control, samples, out }) => ({
    runner,
    control,
    ...out,
    ...(out.failure === undefined ? { time: summarise(samples) } : {}),
  }));
}

/** The float64 reference at the indices that workers report; without one, the first result (ours) is. */
function referenceOf(row: AnyRow): readonly number[] | undefined {
  if (isOwn(row) || !row.reference) return undefined;
  const at = row.reference(row.inputs());
  return sampleIndices(row.size).map(at);
}

/** Throws unless every value is within the tolerance; NaN never is. */
function compare({ values, length }: Checked, reference: readonly number[], { size, tolerance }: Row): void {
  if (length !== size) throw new Error(`wrong result: ${length} elements, not ${size}`);
  if (values.length !== reference.length)
    throw new Error(`wrong result: ${values.length} values to compare, not ${reference.length}`);
  reference.forEach((expected, i) => {
    const error = Math.abs(values[i]! - expected) / Math.max(1, Math.abs(expected));
    if (!(error <= tolerance))
      throw new Error(`wrong result: ${values[i]} where ${expected} is due, off by more than ${tolerance}`);
  });
}
