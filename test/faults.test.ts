// The short form of every section of `npm run test:faults`.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { faultSections, loadSection, outcomesOf } from './support/faults.ts';

const test = suite('faults');

for (const file of faultSections())
  test(`${file}, short`, async () => {
    const outcomes = await outcomesOf(await loadSection(file), { seed: 1, short: true });
    assert.ok(outcomes.length > 0, 'it tried nothing');
    for (const { what, tried, survived, failures } of outcomes)
      assert.ok(
        tried > 0 && survived === tried,
        `${what}: ${survived} of ${tried}: ${failures.slice(0, 5).join('; ')}`,
      );
  });

test.run();
