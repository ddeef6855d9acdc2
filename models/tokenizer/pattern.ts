// Finding all matches of an expression of tokenizer.json in time linear in the text: files come from
// strangers, and JavaScript's own engine never ends on `(a+)+$` and forty letters.
import type { Expression } from './regular-expression.ts';
import { canBeEmpty, codeBefore, lengthOf, parseExpression } from './regular-expression.ts';

/** Finds what to split at or to replace. */
export interface Pattern {
  /** The matches as [start, end) in UTF-16 units, in order; they may be empty. */
  matches(text: string): Iterable<readonly [start: number, end: number]>;
  /** The same in JavaScript (flags g and u), where that is known to be linear and takes no empty match. */
  readonly native: RegExp | null;
  /** Whether a match may be empty. */
  readonly canBeEmpty: boolean;
}

/** GPT-2's (encoder.py), which a ByteLevel pre-tokenizer uses by itself. */
export const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** Matches of Oniguruma's expression. Error, one line: it has what is refused, see `parseExpression`. */
export function expressionPattern(expression: string): Pattern {
  const parsed = parseExpression(expression);
  const native = parsed.source !== null && isLinear(parsed) ? new RegExp(parsed.source, 'gu') : null;
  if (native) return nativePattern(native);
  const program = compile(parsed);
  return { native, canBeEmpty: canBeEmpty(parsed), matches: (text) => searchAll(program, text) };
}

/** Matches of a text; of '' an empty one at every place, as Oniguruma has it. */
export function textPattern(wanted: string): Pattern {
  return expressionPattern(wanted.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
}

/** The text with `content` in the place of every match. */
export function replaceMatches(text: string, pattern: Pattern, content: string): string {
  let result = '';
  let done = 0;
  for (const [start, end] of text === '' ? [] : pattern.matches(text)) {
    result += text.slice(done, start) + content;
    done = end;
  }
  return done === 0 && result === '' ? text : result + text.slice(done);
}

/** Matches of JavaScript's own, with the flags g and u: for those that are linear and take no empty match. */
export function nativePattern(native: RegExp): Pattern {
  return { native, canBeEmpty: false, matches: (text) => nativeMatches(text, native) };
}

function* nativeMatches(text: string, pattern: RegExp): Generator<readonly [number, number]> {
  for (const { 0: match, index } of text.matchAll(pattern)) yield [index, index + match.length];
}

// ---- Which expressions JavaScript's own engine, which tries one path after the other, finds in linear time.

/** Paths that may be tried before a branch has read more than its bounded beginning. */
const FEW_PATHS = 100;

/**
 * Whether trying one path after the other is linear in the text: once a branch has begun to read without
 * bound, it must not fail any more; or what it has read in vain must be taken by the branch after it. So the
 * patterns of GPT-2, Llama 3, Qwen, DeepSeek and o200k pass, `(a+)+$` does not, nor does `a*b`: n letters a
 * would be read n times.
 */
function isLinear(expression: Expression): boolean {
  const branches = (expression.kind === 'choice' ? expression.parts : [expression]).map((branch) =>
    branch.kind === 'sequence' ? branch.parts : [branch],
  );
  return branches.every((branch, index) => {
    if (branch.every(canBeEmpty)) return false;
    const open = branch.findIndex((part) => pathsOf(part) === Infinity);
    if (open < 0) return branch.reduce((paths, part) => paths * pathsOf(part), 1) <= FEW_PATHS;
    if (branch.slice(0, open).reduce((paths, part) => paths * pathsOf(part), 1) > FEW_PATHS) return false;
    const [first, second, ...others] = branch.slice(open);
    if (!isRun(first) || !others.every(cannotFail)) return false;
    if (second === undefined || (cannotFail(second) && first.least <= FEW_PATHS)) return true;
    // A*B+ or A+(?!B): the next branch must begin with A+ after the same beginning, and not fail.
    const isPair = first.least === 0 ? isSetOrRun(second) : first.least === 1 && isNotNext(second);
    const next = branches[index + 1];
    if (!isPair || !next || !sameSources(branch.slice(0, open), next.slice(0, open))) return false;
    const [run, after] = next.slice(open);
    const takesRun = isRun(run) && run.least === 1 && run.part.source === first.part.source;
    const third = branches[index + 2]?.[0];
    return (
      takesRun &&
      (after === undefined || cannotFail(after) || (isNotNext(after) && third !== undefined && isSameRun(third, run)))
    );
  });
}

type Repeat = Extract<Expression, { kind: 'repeat' }>;

const isRun = (part: Expression | undefined): part is Repeat =>
  part?.kind === 'repeat' && part.part.kind === 'set' && part.most === Infinity && !part.lazy;
const isSetOrRun = (part: Expression): boolean =>
  part.kind === 'set' || (isRun(part) && part.least === 1 && part.part.source !== null);
const isNotNext = (part: Expression): boolean =>
  part.kind === 'look' && part.ahead && part.negative && part.part.kind === 'set';
const isSameRun = (part: Expression, run: Repeat): boolean =>
  isRun(part) && part.least === 1 && part.part.source === run.part.source;
const sameSources = (some: readonly Expression[], others: readonly Expression[]): boolean =>
  some.every(({ source }, i) => source === others[i]?.source);

/** May match nothing, and without trying many paths. */
const cannotFail = (part: Expression): boolean =>
  part.kind === 'repeat' && !part.lazy && part.least === 0 && (part.part.kind === 'set' || pathsOf(part) <= FEW_PATHS);

/** How many ways a part may read a text; Infinity where it reads without bound. */
function pathsOf(part: Expression): number {
  switch (part.kind) {
    case 'set':
      return 1;
    case 'sequence':
      return part.parts.reduce((paths, one) => paths * pathsOf(one), 1);
    case 'choice':
      return part.parts.reduce((paths, one) => paths + pathsOf(one), 0);
    case 'repeat': {
      if (part.most === Infinity) return Infinity;
      const once = pathsOf(part.part);
      let paths = 0;
      for (let times = part.least; times <= part.most; times++) paths += once ** times;
      return paths;
    }
    case 'look':
      return part.part.kind === 'set' ? 1 : Infinity;
    case 'atomic':
    case 'anchor':
      return Infinity;
  }
}

// ---- All other expressions: every path is tried in the same order, but none twice.

/** One step of a program; `to` is the step after it. */
type Step =
  | { readonly kind: 'set'; readonly has: (code: number) => boolean; to: Step }
  | { readonly kind: 'fork'; readonly index: number; to: Step; other: Step }
  | { readonly kind: 'anchor'; readonly holds: (text: string, at: number) => boolean; to: Step }
  | { readonly kind: 'look'; readonly program: Program; readonly back: number; readonly negative: boolean; to: Step }
  | { readonly kind: 'atomic'; readonly program: Program; to: Step }
  | { readonly kind: 'end' };

interface Program {
  readonly start: Step;
  /** Number of forks: only these are remembered, for the way from one to the next is a single one. */
  readonly forks: number;
}

const MOST_STEPS = 100_000;

function compile(expression: Expression): Program {
  let forks = 0;
  let steps = 0;
  const build = (part: Expression, to: Step): Step => {
    if (++steps > MOST_STEPS) throw new Error('it is too large');
    switch (part.kind) {
      case 'set':
        return { kind: 'set', has: part.has, to };
      case 'anchor':
        return { kind: 'anchor', holds: part.holds, to };
      case 'sequence':
        return part.parts.reduceRight((next, one) => build(one, next), to);
      case 'choice':
        return part.parts
          .map((one) => build(one, to))
          .reduceRight((other, one) => ({ kind: 'fork', index: forks++, to: one, other }));
      case 'atomic':
        return { kind: 'atomic', program: compile(part.part), to };
      case 'look':
        return {
          kind: 'look',
          program: compile(part.part),
          back: part.ahead ? 0 : lengthOf(part.part)!,
          negative: part.negative,
          to,
        };
      case 'repeat': {
        const fork = (again: Step, done: Step): Step =>
          part.lazy
            ? { kind: 'fork', index: forks++, to: done, other: again }
            : { kind: 'fork', index: forks++, to: again, other: done };
        let next = to;
        if (part.most === Infinity) {
          const loop = { kind: 'fork', index: forks++, to, other: to } as Extract<Step, { kind: 'fork' }>;
          const body = build(part.part, loop);
          if (part.lazy) loop.other = body;
          else loop.to = body;
          next = loop;
        } else for (let i = part.least; i < part.most; i++) next = fork(build(part.part, next), to);
        for (let i = 0; i < part.least; i++) next = build(part.part, next);
        return next;
      }
    }
  };
  return { start: build(expression, { kind: 'end' }), forks };
}

/** The forks that a run has come to, by their place in the text; what came to one before has failed. */
class Visited {
  private readonly pages: (Uint32Array | undefined)[] = [];
  private readonly words: number;

  constructor(forks: number) {
    this.words = Math.ceil(forks / 32);
  }

  /** Whether it is the first time. */
  isNew(fork: number, at: number): boolean {
    const page = (this.pages[at >> PAGE] ??= new Uint32Array(this.words << PAGE));
    const word = (at & (PLACES - 1)) * this.words + (fork >> 5);
    const bit = 1 << (fork & 31);
    if (page[word]! & bit) return false;
    page[word]! |= bit;
    return true;
  }

  /** Forgets the forks at a place, and lets go of what lies far before it. */
  forget(at: number): void {
    const page = this.pages[at >> PAGE];
    const word = (at & (PLACES - 1)) * this.words;
    page?.fill(0, word, word + this.words);
    for (let before = (at >> PAGE) - 1; before >= 0 && this.pages[before]; before--) this.pages[before] = undefined;
  }
}

const PAGE = 10; // bits of a place within a page
const PLACES = 1 << PAGE;

/** Steps that a search may take: many for every character, and enough for short texts. */
const stepsFor = (text: string): number => 10_000_000 + 500 * text.length;

interface Search {
  readonly text: string;
  left: number;
}

/** All matches, as Oniguruma's find_iter has them: no empty one where the last match ends. */
function* searchAll(program: Program, text: string): Generator<readonly [number, number]> {
  const state: Search = { text, left: stepsFor(text) };
  const visited = new Visited(program.forks);
  let from = 0;
  let lastEnd = -1;
  while (from <= text.length) {
    let start = from;
    let end = run(program, start, state, visited);
    while (end < 0 && start < text.length) {
      start += widthAt(text, start);
      end = run(program, start, state, visited);
    }
    if (end < 0) return;
    visited.forget(end);
    if (end === start && start === lastEnd) {
      from += widthAt(text, from);
      continue;
    }
    yield [start, end];
    from = lastEnd = end;
  }
}

const widthAt = (text: string, at: number): number => (text.codePointAt(at)! > 0xffff ? 2 : 1);

/** Where the first path that leads through ends; -1 where none does. */
function run(program: Program, start: number, state: Search, visited: Visited): number {
  const { text } = state;
  const forks: Step[] = [];
  const places: number[] = [];
  let step: Step | undefined = program.start;
  let at = start;
  while (step) {
    if (--state.left < 0)
      throw new Error(`an expression of the tokenizer takes too many steps on a text of ${text.length} characters`);
    let next: Step | null = null;
    switch (step.kind) {
      case 'set':
        if (at < text.length) {
          const code = text.codePointAt(at)!;
          if (step.has(code)) {
            next = step.to;
            at += code > 0xffff ? 2 : 1;
          }
        }
        break;
      case 'fork':
        if (visited.isNew(step.index, at)) {
          forks.push(step.other);
          places.push(at);
          next = step.to;
        }
        break;
      case 'anchor':
        if (step.holds(text, at)) next = step.to;
        break;
      case 'look':
        if (holdsAround(step.program, step.back, at, state) !== step.negative) next = step.to;
        break;
      case 'atomic': {
        const end = run(step.program, at, state, new Visited(step.program.forks));
        if (end >= 0) {
          next = step.to;
          at = end;
        }
        break;
      }
      case 'end':
        return at;
    }
    if (next) step = next;
    else {
      step = forks.pop();
      at = places.pop()!;
    }
  }
  return -1;
}

/** Whether a match begins at `at`; with `back`, whether one of so many characters ends there. */
function holdsAround(program: Program, back: number, at: number, state: Search): boolean {
  let start = at;
  for (let i = 0; i < back; i++) {
    if (start === 0) return false;
    start -= codeBefore(state.text, start) > 0xffff ? 2 : 1;
  }
  return run(program, start, state, new Visited(program.forks)) >= 0;
}
