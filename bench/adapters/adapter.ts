import type { Cost } from '../../gpu/index.ts';
import type { OwnRow, Row } from '../rows/row.ts';

/**
 * A row made ready in one library: compiled, its inputs and weights on the device where the library can leave
 * them there.
 */
export interface Prepared {
  /**
   * Does the work once. May return before the device is done where the library runs on the host's device
   * (`host.ts`).
   */
  run(): void | Promise<void>;
  /** The last run's result, or its loss. */
  read(): Promise<ArrayLike<number>>;
  dispose?(): void;
}

/** Exported as `adapter` by the module of each library. */
export interface Adapter {
  /** Loads the library; called once, in a process of its own. */
  open(): Promise<Library>;
}

export interface Library {
  /** Throws where the library cannot do the row, with the reason in one line. */
  prepare(row: Row): Prepared | Promise<Prepared>;
  /** Submits what the library has recorded, before the host waits for the device. */
  flush?(): void;
  /** For our own library only: a row of its kernels, */
  prepareOwn?(row: OwnRow): Prepared;
  /** the work of what `run` records, */
  cost?(run: () => Promise<void>): Promise<Cost>;
  /** and where the time of one run goes, as a table. */
  profile?(run: () => Promise<void>): Promise<string>;
}

/** For libraries that the project does not type: a package installed below bench/peers. */
export async function loadPeer<T>(name: string): Promise<T> {
  const { load } = (await import(new URL('../peers/load.mjs', import.meta.url).href)) as {
    load: (name: string) => Promise<{ default?: T } & T>;
  };
  try {
    const loaded = await load(name);
    return loaded.default ?? loaded;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Error(`${name} is not installed; run npm run bench:peers`, { cause: error });
  }
}
