import * as assert from 'uvu/assert';

/** Fails unless both are alike, numbers within 1e-4 of the larger of 1 and what is wanted. */
export function near(actual: unknown, wanted: unknown, where: string): void {
  if (typeof wanted === 'number' && !Number.isInteger(wanted)) {
    assert.ok(Math.abs((actual as number) - wanted) <= 1e-4 * Math.max(1, Math.abs(wanted)), `${where}: ${actual}`);
  } else if (typeof wanted === 'object' && wanted !== null) {
    assert.equal(Object.keys(actual as object).sort(), Object.keys(wanted).sort(), where);
    for (const [key, value] of Object.entries(wanted))
      near((actual as Readonly<Record<string, unknown>>)[key], value, `${where}.${key}`);
  } else if (typeof wanted === 'number') {
    assert.ok(Math.abs((actual as number) - wanted) <= 1e-4, `${where}: ${actual}, want ${wanted}`);
  } else assert.is(actual, wanted, where);
}
