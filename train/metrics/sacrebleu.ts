/**
 * The release of sacrebleu that our BLEU, chrF and TER equal: the goldens of the tests are made with it, and
 * signatures name it.
 */
export const sacrebleuVersion = '2.6.0';

/**
 * The signature as sacrebleu writes it: `nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0`. `nrefs`
 * is `var` where the rows differ in their number of references.
 */
export function signatureOf(
  references: readonly (readonly string[])[],
  fields: Readonly<Record<string, string>>,
): string {
  const count = references[0]!.length;
  const nrefs = references.every((row) => row.length === count) ? String(count) : 'var';
  const all = { nrefs, ...fields, version: sacrebleuVersion };
  return Object.entries(all)
    .map(([name, value]) => `${name}:${value}`)
    .join('|');
}

export const yesNo = (value: boolean): string => (value ? 'yes' : 'no');
