import { brief } from '../../common/printable.ts';
import { checkBeta, unknownAverage } from './counts.ts';
import type { Scores } from './counts.ts';
import { checkLengths, weightedMean } from './rows.ts';
import { scoreTable } from './score-table.ts';

/**
 * How tags mark entities. IOB1 and IOE1 mark a begin or an end only where two entities of one type touch;
 * IOB2 and IOE2 always; IOBES (BIOES) marks both, and single tokens with S; BILOU is the same with L and U.
 */
export type Scheme = 'IOB1' | 'IOB2' | 'IOE1' | 'IOE2' | 'IOBES' | 'BILOU';

export interface TagOptions {
  /**
   * Counts only entities that are whole under this scheme, seqeval's mode "strict"; `auto` finds it from the
   * tags of yTrue: IOB2, IOE2, IOBES or BILOU. Without it broken ones are mended as the CoNLL evaluation
   * does, seqeval's default: an I after an O begins an entity.
   */
  readonly scheme?: Scheme | 'auto';
  /** The mark stands behind the type, PER-B, and not before it, B-PER. */
  readonly suffix?: boolean;
}

export interface EntityScoreOptions extends TagOptions {
  /** micro (default) counts entities, macro takes the mean over types, weighted that by support. */
  readonly average?: 'micro' | 'macro' | 'weighted';
  /** The score where its denominator is 0; default 0. */
  readonly zeroDivision?: 0 | 1;
  /** How much more recall counts than precision in `f1`; default 1. */
  readonly beta?: number;
}

export interface EntityScores extends Scores {
  /** How many entities yTrue has. */
  readonly support: number;
}

/** Tokens start to end - 1 of a row. */
export interface Entity {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

/** Tags of the tokens of each row. */
export type TagRows = readonly (readonly string[])[];

/**
 * Precision, recall and F1 of entities, as seqeval computes them: an entity counts where type, start and end
 * are right. Of rows without any entity, macro is NaN, as there. Errors: rows of other lengths; a tag that
 * the scheme does not know, or, without a scheme, any but O and B, I, E or S with a type, of which seqeval
 * warns.
 *
 * @example
 * entityScores([['B-PER', 'I-PER', 'O']], [['B-PER', 'I-PER', 'O']]).f1; // 1
 */
export function entityScores(yTrue: TagRows, yPred: TagRows, options: EntityScoreOptions = {}): EntityScores {
  return averageOf('entityScores', countTypes('entityScores', yTrue, yPred, options), options);
}

/**
 * The scores of each type of entity, by name; seqeval's `average=None`.
 *
 * @example
 * const scores = perTypeScores([['B-PER', 'B-LOC']], [['B-PER', 'O']]);
 * scores.map(({ type, recall }) => [type, recall]); // [['LOC', 0], ['PER', 1]]
 */
export function perTypeScores(
  yTrue: TagRows,
  yPred: TagRows,
  options: Omit<EntityScoreOptions, 'average'> = {},
): (EntityScores & { readonly type: string })[] {
  return countTypes('perTypeScores', yTrue, yPred, options).map((counts) => ({
    type: counts.type,
    ...scoresOf('perTypeScores', [counts], options),
  }));
}

/**
 * Scores of each type and the averages, line by line as seqeval's `classification_report`.
 *
 * @example
 * console.log(entityReport([['B-PER', 'I-PER', 'O']], [['B-PER', 'I-PER', 'O']]));
 */
export function entityReport(
  yTrue: TagRows,
  yPred: TagRows,
  options: Omit<EntityScoreOptions, 'average' | 'beta'> & { readonly digits?: number } = {},
): string {
  const counts = countTypes('entityReport', yTrue, yPred, options);
  const line = (name: string, scores: EntityScores) => ({ name, scores, support: scores.support });
  const averages = (['micro', 'macro', 'weighted'] as const).map((average) =>
    line(`${average} avg`, averageOf('entityReport', counts, { ...options, average })),
  );
  const types = counts.map((each) => line(each.type, scoresOf('entityReport', [each], options)));
  return scoreTable('entityReport', [...types, null, ...averages], options.digits ?? 2);
}

/**
 * Share of tokens with the right tag; seqeval's `accuracy_score`.
 *
 * @example
 * tokenAccuracy([['B-PER', 'O']], [['B-PER', 'B-LOC']]); // 0.5
 */
export function tokenAccuracy(yTrue: TagRows, yPred: TagRows): number {
  checkTags('tokenAccuracy', yTrue, yPred);
  let [right, total] = [0, 0];
  yTrue.forEach((tags, row) => {
    total += tags.length;
    tags.forEach((tag, i) => (right += Number(tag === yPred[row]![i])));
  });
  if (total === 0) throw new Error('tokenAccuracy: all rows are empty; pass at least one token');
  return right / total;
}

/**
 * The entities of a row of tags: of [B-PER, I-PER, O] one, { type: 'PER', start: 0, end: 2 }. Errors: as of
 * `entityScores`.
 *
 * @example
 * entitiesOf(['B-PER', 'I-PER', 'O']); // [{ type: 'PER', start: 0, end: 2 }]
 */
export function entitiesOf(tags: readonly string[], options: TagOptions = {}): Entity[] {
  return entitiesIn('entitiesOf', 'tags', tags, options.suffix ?? false, schemeOf('entitiesOf', [tags], options));
}

interface TypeCounts {
  readonly type: string;
  truePositives: number;
  predicted: number;
  support: number;
}

/** The counts of each type that occurs, by name as Python sorts. */
function countTypes(op: string, yTrue: TagRows, yPred: TagRows, options: TagOptions): TypeCounts[] {
  checkTags(op, yTrue, yPred);
  const scheme = schemeOf(op, yTrue, options);
  const types = new Map<string, TypeCounts>();
  const of = (type: string): TypeCounts => {
    const counts = types.get(type) ?? { type, truePositives: 0, predicted: 0, support: 0 };
    types.set(type, counts);
    return counts;
  };
  const keysOf = (name: string, tags: readonly string[]): Map<string, string> => {
    const entities = entitiesIn(op, name, tags, options.suffix ?? false, scheme);
    return new Map(entities.map(({ type, start, end }) => [`${start} ${end} ${type}`, type]));
  };
  yTrue.forEach((tags, row) => {
    const truth = keysOf(`yTrue[${row}]`, tags);
    const predicted = keysOf(`yPred[${row}]`, yPred[row]!);
    for (const type of truth.values()) of(type).support++;
    for (const [key, type] of predicted) {
      of(type).predicted++;
      if (truth.has(key)) of(type).truePositives++;
    }
  });
  return [...types.values()].sort((a, b) => byCodePoints(a.type, b.type));
}

function scoresOf(
  op: string,
  counts: readonly TypeCounts[],
  { zeroDivision = 0, beta = 1 }: EntityScoreOptions,
): EntityScores {
  checkBeta(op, beta);
  const sum = (of: 'truePositives' | 'predicted' | 'support'): number => counts.reduce((n, each) => n + each[of], 0);
  const ratio = (divisor: number): number => (divisor === 0 ? zeroDivision : sum('truePositives') / divisor);
  const [precision, recall, support] = [ratio(sum('predicted')), ratio(sum('support')), sum('support')];
  // From the two ratios, unlike scikit-learn's: with zeroDivision 1 the results differ.
  const f1 = ((1 + beta ** 2) * precision * recall) / (beta ** 2 * precision + recall || 1);
  return { precision, recall, f1: beta === Infinity ? recall : f1, support };
}

function averageOf(op: string, counts: readonly TypeCounts[], options: EntityScoreOptions): EntityScores {
  const { average = 'micro', zeroDivision = 0 } = options;
  const pooled = scoresOf(op, counts, options);
  if (average === 'micro') return pooled;
  if (average !== 'macro' && average !== 'weighted') throw unknownAverage(op, average, 'micro, macro or weighted');
  const { support } = pooled;
  if (average === 'weighted' && support === 0) {
    const scores = counts.length === 0 ? zeroDivision : 0;
    return { precision: scores, recall: zeroDivision, f1: scores, support };
  }
  const each = counts.map((one) => scoresOf(op, [one], options));
  const weights = average === 'weighted' ? each.map((one) => one.support) : undefined;
  const mean = (of: keyof Scores): number =>
    weightedMean(
      each.map((one) => one[of]),
      weights,
    );
  return { precision: mean('precision'), recall: mean('recall'), f1: mean('f1'), support };
}

function checkTags(op: string, yTrue: TagRows, yPred: TagRows): void {
  checkLengths(op, { yTrue, yPred });
  yTrue.forEach((tags, row) => {
    if (tags.length !== yPred[row]!.length)
      throw new Error(`${op}: yTrue[${row}] has ${tags.length} tags but yPred[${row}] has ${yPred[row]!.length}`);
  });
}

/** The mark and the type of a tag, B-PER or PER-B. */
interface Mark {
  readonly mark: string;
  readonly type: string;
}

const outside: Mark = { mark: 'O', type: '_' };

interface SchemeRules {
  readonly marks: string;
  /**
   * Pairs of marks, the one before and this one, "." for any, followed by "=" where the types must be equal,
   * "!" where they must differ, "*" where they may do either.
   */
  readonly start: readonly string[];
  readonly inside: readonly string[];
  readonly end: readonly string[];
}

const rules = (marks: string, start: string, inside: string, end: string): SchemeRules => ({
  marks,
  start: start.split(' '),
  inside: inside.split(' '),
  end: end.split(' '),
});

/** As seqeval's scheme.py has them, also where IOE1 misses entities. */
const schemes: Readonly<Record<Scheme, SchemeRules>> = {
  IOB1: rules('IOB', 'OI* II! BI* IB= BB=', 'BI= II=', 'II! IO* IB* BO* BI! BB='),
  IOB2: rules('IOB', '.B*', 'BI= II=', 'IO* II! IB* BO* BI! BB*'),
  IOE1: rules('IOE', 'OI* II! EI* EE=', 'II= IE=', 'II! IO* IE! EI= EE='),
  IOE2: rules('IOE', 'OI* OE* EI* EE* II! IE!', 'IE= II=', 'E.*'),
  IOBES: rules('IOBES', '.B* .S*', 'BI= BE= II= IE=', 'S.* E.*'),
  BILOU: rules('BILOU', '.B* .U*', 'BI= BL= II= IL=', 'U.* L.*'),
};

function schemeOf(op: string, rows: TagRows, { scheme, suffix = false }: TagOptions): SchemeRules | undefined {
  if (scheme === undefined) return undefined;
  const name = scheme === 'auto' ? detectScheme(op, rows, suffix) : scheme;
  if (!Object.hasOwn(schemes, name))
    throw new Error(`${op}: unknown scheme "${String(name)}"; use ${Object.keys(schemes).join(', ')} or auto`);
  return schemes[name];
}

/** The scheme whose marks are just these, as seqeval's `auto_detect` finds it. */
function detectScheme(op: string, rows: TagRows, suffix: boolean): Scheme {
  const marks = new Set<string>();
  rows.forEach((tags, row) =>
    tags.forEach((tag, i) => marks.add(markOf(op, `yTrue[${row}][${i}]`, tag, suffix, 'IOBESLU').mark)),
  );
  const has = (needed: string): boolean => [...needed].every((mark) => marks.has(mark));
  const only = (allowed: string): boolean => [...marks].every((mark) => allowed.includes(mark));
  if (has('B') && only('IOB')) return 'IOB2';
  if (has('E') && only('IOE')) return 'IOE2';
  if ((has('BE') && only('IOBES')) || (has('S') && only('S'))) return 'IOBES';
  if ((has('BL') && only('BILOU')) || (has('U') && only('U'))) return 'BILOU';
  throw new Error(`${op}: yTrue has the marks ${[...marks].sort().join(', ')}, of no scheme; name it in scheme`);
}

/**
 * The mark and type of a tag under a scheme, whose marks it must have; dashes around the type do not count.
 */
function markOf(op: string, where: string, tag: string, suffix: boolean, marks: string): Mark {
  const characters = Array.from(tag);
  const mark = characters.at(suffix ? -1 : 0) ?? '';
  if (mark === '' || !marks.includes(mark))
    throw new Error(`${op}: ${where} is ${brief(tag)}; the scheme has the marks ${[...marks].join(', ')}`);
  const type = (suffix ? characters.slice(0, -1) : characters.slice(1)).join('').replace(/^-+|-+$/g, '');
  return { mark, type: type || '_' };
}

/** The mark and type of a tag of no scheme. */
function lenientMarkOf(op: string, where: string, tag: string, suffix: boolean): Mark {
  if (tag === 'O') return outside;
  const found = suffix ? /^(?:(.*)-)?([BIES])$/su.exec(tag) : /^([BIES])(?:-(.*))?$/su.exec(tag);
  if (!found) {
    const example = suffix ? 'PER-B' : 'B-PER';
    throw new Error(
      `${op}: ${where} is ${brief(tag)}; a tag is O or, as ${example}, a type with B, I, E or S; see scheme, suffix`,
    );
  }
  const [mark, type] = suffix ? [found[2]!, found[1]] : [found[1]!, found[2]];
  return { mark, type: type || '_' };
}

function entitiesIn(
  op: string,
  name: string,
  tags: readonly string[],
  suffix: boolean,
  scheme: SchemeRules | undefined,
): Entity[] {
  const read = (tag: string, i: number): Mark =>
    scheme ? markOf(op, `${name}[${i}]`, tag, suffix, scheme.marks) : lenientMarkOf(op, `${name}[${i}]`, tag, suffix);
  const marks = [...tags.map(read), outside];
  return scheme ? strictEntities(marks, scheme) : lenientEntities(marks);
}

function strictEntities(marks: readonly Mark[], { start, inside, end }: SchemeRules): Entity[] {
  const matches = (before: Mark, here: Mark, patterns: readonly string[]): boolean =>
    patterns.some(([first, second, types]) => {
      if ((first !== '.' && first !== before.mark) || (second !== '.' && second !== here.mark)) return false;
      return types === '*' || (types === '=') === (before.type === here.type);
    });
  const entities: Entity[] = [];
  let before = outside;
  for (let i = 0; i < marks.length;) {
    const first = i++;
    const { type } = marks[first]!;
    if (matches(before, marks[first]!, start)) {
      while (matches(marks[i - 1]!, marks[i]!, inside)) i++;
      if (matches(marks[i - 1]!, marks[i]!, end)) entities.push({ type, start: first, end: i });
    }
    before = marks[i - 1]!;
  }
  return entities;
}

/** Entities as the CoNLL evaluation finds them, however tags follow each other. */
function lenientEntities(marks: readonly Mark[]): Entity[] {
  const entities: Entity[] = [];
  let [before, start] = [outside, 0];
  marks.forEach((here, i) => {
    const pair = before.mark + here.mark;
    const isOther = before.type !== here.type;
    if (/^[ES]|^[BI][BSO]/.test(pair) || (before.mark !== 'O' && isOther))
      entities.push({ type: before.type, start, end: i });
    if (/[BS]$|^[ESO][EI]/.test(pair) || (here.mark !== 'O' && isOther)) start = i;
    before = here;
  });
  return entities;
}

/** The order of Python's strings, which JavaScript's differs from above U+FFFF. */
function byCodePoints(a: string, b: string): number {
  const [x, y] = [Array.from(a), Array.from(b)];
  const at = x.findIndex((character, i) => character !== y[i]);
  if (at === -1) return x.length - y.length;
  return at < y.length ? x[at]!.codePointAt(0)! - y[at]!.codePointAt(0)! : 1;
}
