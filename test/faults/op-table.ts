// Every op on every element type and size class: equal to its reference, or refused in one line.
import { printOpTable, runOpTable } from '../support/op-table.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';

export const name = 'ops on every type and size: equal or refused in one line';

export async function run({ short }: FaultOptions): Promise<FaultOutcome> {
  const table = await runOpTable({ short });
  if (!short) console.log(printOpTable(table));
  const { tried, survived, failures } = table;
  return { tried, survived, failures };
}
