import { suite } from 'uvu';
import { runOpTable } from './support/op-table.ts';

/** `npm run test:faults -- op-table` runs the table with all sizes and floats too, and prints it. */
const test = suite('ops on every type');

test('an op gives what its reference gives, or refuses in one line', async () => {
  const { failures, tried } = await runOpTable({ short: true });
  if (tried < 500) throw new Error(`only ${tried} were tried`);
  if (failures.length > 0) throw new Error(`${failures.length} of ${tried}:\n${failures.join('\n')}`);
});

test.run();
