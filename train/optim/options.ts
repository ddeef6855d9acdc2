/** Numbers that an option takes; without bounds from 0 on. */
export interface NumberRange {
  readonly min?: number;
  readonly above?: number;
  readonly max?: number;
  readonly below?: number;
  readonly whole?: boolean;
}

/** For options that are not just numbers from 0 on: a range, of a list's numbers too, or all words. */
export type Ranges<Options> = { readonly [K in keyof Options]?: NumberRange | readonly string[] };

/** Of betas and other decays. */
export const decay: NumberRange = { min: 0, below: 1 };

/**
 * Throws RangeError unless a value is a finite number of the range: `checkNumber('SGD', 'lr', -1)` throws
 * "SGD: lr must be a finite number from 0 on, got -1".
 */
export function checkNumber(owner: string, name: string, value: unknown, range: NumberRange = {}): void {
  const { above = -Infinity, max = Infinity, below = Infinity, whole = false } = range;
  const min = range.min ?? (range.above === undefined ? 0 : -Infinity);
  const number = value as number;
  const isNumber = whole ? Number.isSafeInteger(value) : Number.isFinite(value);
  if (isNumber && number >= min && number > above && number <= max && number < below) return;
  const last = below < Infinity ? `below ${below}` : max < Infinity ? `${max}` : '';
  const from = min > -Infinity ? ` from ${min}${last ? ` to ${last}` : ' on'}` : '';
  const over =
    above > -Infinity ? ` above ${above}${last ? ` and ${below < Infinity ? '' : 'at most '}${last}` : ''}` : '';
  const kind = whole ? 'a whole number' : 'a finite number';
  throw new RangeError(`${owner}: ${name} must be ${kind}${from}${over}, got ${shown(value)}`);
}

/** Throws RangeError for an option that is out of its range, or of another type than its default. */
export function checkOptions<Options extends object>(
  owner: string,
  options: Options,
  defaults: Readonly<Record<string, unknown>>,
  ranges: Ranges<Options> = {},
): void {
  for (const key of Object.keys(options) as (keyof Options & string)[]) {
    const [value, usual, range]: [unknown, unknown, Ranges<Options>[typeof key]] = [
      options[key],
      defaults[key],
      ranges[key],
    ];
    const refuse = (wanted: string): never => {
      throw new RangeError(`${owner}: ${key} must be ${wanted}, got ${shown(value)}`);
    };
    if (isWords(range)) {
      if (!range.some((word) => word === value)) refuse(`one of ${range.join(', ')}`);
    } else if (typeof usual === 'boolean') {
      if (typeof value !== 'boolean') refuse('true or false');
    } else if (Array.isArray(usual)) {
      if (!Array.isArray(value) || value.length !== usual.length) return refuse(`a list of ${usual.length} numbers`);
      value.forEach((x, i) => checkNumber(owner, `${key}[${i}]`, x, range));
    } else checkNumber(owner, key, value, range);
  }
}

const isWords = (range: NumberRange | readonly string[] | undefined): range is readonly string[] =>
  Array.isArray(range);

const shown = (value: unknown): string =>
  typeof value === 'string' || typeof value === 'object' ? JSON.stringify(value) : String(value);

/** Throws for an option that is not one of those known. */
export function refuseUnknown(owner: string, options: object, known: readonly string[]): void {
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new Error(`${owner}: no option "${unknown}"; it has ${known.join(', ')}`);
}
