import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { manualSeed, Tensor } from '../../autograd/index.ts';

/**
 * Runs modules of examples, see `moduleOf` in examples.ts, one after the other in this process: files.json of
 * the folder named first lists their paths. Prints the failures as JSON. Examples write into `here` in the
 * folder.
 */

type Check = (value: unknown, expected: string) => Promise<void>;
interface Examples {
  readonly examples: readonly (readonly [name: string, run: (check: Check) => Promise<void>])[];
}

/** A value as comments write it: what is awaited is there, tensors and typed arrays are nested arrays. */
async function settled(given: unknown): Promise<unknown> {
  const value = await given;
  if (value instanceof Tensor) {
    let rows: unknown[] = Array.from(await value.data(), (x) => (value.dtype === 'bool' ? Boolean(x) : x));
    for (const length of value.shape.slice(1).reverse())
      rows = Array.from({ length: rows.length / length }, (_, i) => rows.slice(i * length, (i + 1) * length));
    return value.ndim === 0 ? rows[0] : rows;
  }
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number>);
  if (Array.isArray(value)) return Promise.all(value.map(settled));
  if (value instanceof Map || value instanceof Set) return settled([...value]);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(async ([key, part]) => [key, await settled(part)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** Whether a settled value is the one written; of numbers with three decimals or more, rounded to them. */
function same(value: unknown, written: ts.Expression): boolean {
  if (ts.isNumericLiteral(written)) {
    if (typeof value !== 'number') return false;
    const decimals = /\.(\d+)$/.exec(written.getText())?.[1]?.length ?? 0;
    const expected = Number(written.text);
    return Math.abs(value - expected) <= (decimals < 3 ? 1e-6 * Math.max(1, expected) : 0.501 * 10 ** -decimals);
  }
  if (ts.isPrefixUnaryExpression(written) && written.operator === ts.SyntaxKind.MinusToken)
    return typeof value === 'number' && same(-value, written.operand);
  if (ts.isArrayLiteralExpression(written)) {
    const { elements } = written;
    return Array.isArray(value) && value.length === elements.length && elements.every((x, i) => same(value[i], x));
  }
  if (ts.isObjectLiteralExpression(written)) {
    if (typeof value !== 'object' || value === null) return false;
    const parts = written.properties.map((property) =>
      ts.isPropertyAssignment(property) && (ts.isIdentifier(property.name) || ts.isStringLiteral(property.name))
        ? ([property.name.text, property.initializer] as const)
        : undefined,
    );
    const found = value as Record<string, unknown>;
    const isWhole = Object.keys(found).filter((key) => found[key] !== undefined).length === parts.length;
    return isWhole && parts.every((part) => part !== undefined && same(found[part[0]], part[1]));
  }
  if (ts.isStringLiteral(written)) return value === written.text;
  const words: Record<string, unknown> = { true: true, false: false, null: null, undefined, NaN, Infinity };
  return written.getText() in words && Object.is(value, words[written.getText()]);
}

const check: Check = async (given, expected) => {
  const value = await settled(given);
  const source = ts.createSourceFile('expected.ts', `(${expected});`, ts.ScriptTarget.Latest, true);
  const [statement] = source.statements;
  const isValue =
    source.statements.length === 1 &&
    ts.isExpressionStatement(statement!) &&
    ts.isParenthesizedExpression(statement.expression);
  if (!isValue || !same(value, (statement.expression as ts.ParenthesizedExpression).expression))
    throw new Error(`it is ${JSON.stringify(value)}, not "${expected}"`);
};

const failures: string[] = [];
console.log = console.info = () => undefined; // what they print is for their readers
const folder = process.argv[2]!;
process.chdir(join(folder, 'here'));
for (const path of JSON.parse(readFileSync(join(folder, 'files.json'), 'utf8')) as string[]) {
  const { examples } = (await import(path)) as Examples;
  for (const [name, run] of examples) {
    manualSeed(0);
    try {
      await run(check);
    } catch (error) {
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
process.stdout.write(JSON.stringify(failures));
