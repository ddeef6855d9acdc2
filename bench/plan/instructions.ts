/**
 * Work of one thread, or of one subgroup where a field says so, counted in the text of a kernel. An operation
 * on a vec4 counts four times, a product and what is added to it once. What Dawn adds is counted as its
 * SPIR-V has it (bench/spirv.ts): a bounds check of every index, a longer one of every matrix loaded or
 * stored, and a guard in loops that may not end.
 */
export interface Counts {
  /** f32 multiply-adds. */
  fma: number;
  /** Other arithmetic, comparisons and selections. */
  alu: number;
  /** exp, log, tanh and the like. */
  special: number;
  /** Loads of storage by elements that are no vectors, and by vectors. */
  scalarLoads: number;
  vectorLoads: number;
  stores: number;
  /** Bytes of those loads and stores. */
  bytes: number;
  /** Bytes read from and written to workgroup memory. */
  shared: number;
  barriers: number;
  /** Calls of Philox, four random numbers each. */
  draws: number;
  /** Operations of products of matrices, and bytes of matrices loaded and stored, of a subgroup. */
  matrixFlops: number;
  matrixBytes: number;
}

export interface Instructions {
  /** Outside of loops whose length the text does not tell, in the order of the text. */
  readonly once: Counts;
  /** An iteration of each of those loops. */
  readonly loops: readonly Counts[];
  readonly workgroup: number;
  /** Bytes of workgroup memory. */
  readonly shared: number;
  /**
   * 32-bit registers of a thread, an estimate: variables and matrices of a scope, half of its other values.
   */
  readonly registers: number;
  /** A product of which an operand is loaded element by element. */
  readonly loadsScalars: boolean;
}

/** Operations that Dawn adds to a matrix loaded or stored, and to an iteration of a loop that may not end. */
const matrixCheck = 9;
const loopGuard = 6;
/** Heads of loops that Dawn sees to end. */
const ends = /^for \(var (\w+) = .*; \1 < \d+u?; \1 ?(?:\+\+|\+= \d+u?)\)$/;

const zero = (): Counts => ({
  fma: 0,
  alu: 0,
  special: 0,
  scalarLoads: 0,
  vectorLoads: 0,
  stores: 0,
  bytes: 0,
  shared: 0,
  barriers: 0,
  draws: 0,
  matrixFlops: 0,
  matrixBytes: 0,
});

const add = (to: Counts, from: Counts, times = 1): void => {
  for (const key of Object.keys(to) as (keyof Counts)[]) to[key] += times * from[key];
};

interface Block {
  /** Text before the brace: `for (...)`, `if (...)`, empty. */
  readonly head: string;
  readonly items: readonly (string | Block)[];
}

/** Reads statements and blocks from `at` on, to the brace that closes them. */
function parse(text: string, at: number): { items: (string | Block)[]; end: number } {
  const items: (string | Block)[] = [];
  let [from, parentheses] = [at, 0];
  for (let i = at; i < text.length; i++) {
    const c = text[i];
    if (c === '(') parentheses++;
    else if (c === ')') parentheses--;
    else if (c === ';' && parentheses === 0) {
      items.push(text.slice(from, i).trim());
      from = i + 1;
    } else if (c === '{') {
      const { items: inner, end } = parse(text, i + 1);
      items.push({ head: text.slice(from, i).trim(), items: inner });
      i = end;
      from = end + 1;
    } else if (c === '}') return { items, end: i };
  }
  return { items, end: text.length };
}

/** How often a loop runs, where its head says so. */
function trips(head: string): number | undefined {
  const match = /^for \(var (\w+) = ([^;]+); \w+ < ([^;]+); \w+ ?(?:\+\+|\+= (\d+)u?)\)$/.exec(head);
  if (!match) return undefined;
  const [, , first, end, step = '1'] = match as unknown as [string, string, string, string, string | undefined];
  const number = (s: string): number | undefined => (/^\d+[ui]?$/.test(s) ? Number.parseInt(s) : undefined);
  const span = new RegExp(`^min\\(${first} \\+ (\\d+)u, \\w+\\)$`).exec(end);
  const length = span ? Number(span[1]) : number(end);
  if (length === undefined) return undefined;
  const start = span ? 0 : (number(first) ?? (/^(lane|member|part|slot|localIndex)$/.test(first) ? 0 : undefined));
  return start === undefined ? undefined : Math.ceil((length - start) / Number(step));
}

const sizes: Readonly<Record<string, number>> = { f32: 4, i32: 4, u32: 4, f16: 2 };

/** Bytes of a WGSL type: numbers and their vectors, arrays of them. */
function bytesOfType(type: string): number {
  const array = /^array<(.+), (\d+)>$/.exec(type);
  if (array) return bytesOfType(array[1]!) * Number(array[2]);
  const [, width = '1', element = type] = /^(?:vec(\d)<(\w+)>|\w+)$/.exec(type) ?? [];
  return Number(width) * (sizes[element] ?? 4);
}

/** Names that stand for a whole vector where they are not followed by an element. */
type Vectors = Set<string>;

const operators = / (?:[-+*/%^&|<>]|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/&|^]=) |\b(?:select|min|max|abs|clamp)\(/g;
/** A product that something is added to at once: one instruction. */
const contracted = / \* [\w.[\]]+ [-+] | [-+] [\w.[\]]+ \* /g;
const specials = /\b(?:exp|exp2|log|log2|tanh|sqrt|inverseSqrt|cos|sin|pow)\(/g;

/**
 * Replaces what is in each `vec4<T>(a, b, ..)` of several values, or of one number, the outermost first, and
 * gives it to `each`.
 */
function withoutLists(statement: string, isNumber: (text: string) => boolean, each: (list: string) => void): string {
  let rest = statement;
  for (let from = 0; ;) {
    const match = /\bvec[234]<\w+>\(/.exec(rest.slice(from));
    if (!match) return rest;
    const start = from + match.index + match[0].length;
    let [depth, commas, end] = [1, 0, start];
    for (; end < rest.length && depth > 0; end++) {
      if (rest[end] === '(') depth++;
      else if (rest[end] === ')') depth--;
      else if (rest[end] === ',' && depth === 1) commas++;
    }
    from = start;
    const list = rest.slice(start, end - 1);
    if (commas === 0 && !(/ /.test(list) && isNumber(list))) continue;
    each(list);
    rest = `${rest.slice(0, start)}list${rest.slice(end - 1)}`;
  }
}

/** Counts the work in a kernel's text: a static reading, which takes every branch but those of `== 0u`. */
export function instructionsOf(wgsl: string): Instructions {
  const vector = /alias V = (vec4<\w+>);/.exec(wgsl)?.[1];
  const text = (vector ? wgsl.replace(/\bV\b/g, vector) : wgsl).replace(/\/\/.*/g, '').replace(/\s+/g, ' ');
  const [staged, bound] = [new Map<string, string>(), new Map<string, string>()];
  for (const [, name, type] of text.matchAll(/var<workgroup> (\w+): ([^;]+);/g)) staged.set(name!, type!);
  for (const [, name, type] of text.matchAll(/var<storage, \w+> (\w+): array<([^;]+)>;/g)) bound.set(name!, type!);
  const functions = new Map<string, Block>();
  for (const match of text.matchAll(/fn (\w+)\([^{]*\{/g)) {
    functions.set(match[1]!, { head: '', items: parse(text, match.index + match[0].length).items });
  }
  const [, N = '0', M = '0'] = /subgroup_matrix_result<\w+, (\d+), (\d+)>/.exec(text) ?? [];
  const [, K = '0'] = /subgroup_matrix_left<\w+, (\d+), \d+>/.exec(text) ?? [];
  const [m, n, k] = [Number(M), Number(N), Number(K)];

  const known = new Map<string, Counts>();
  const wideNames = [...text.matchAll(/fn (\w+)\([^{]*\) -> vec4</g)].map(([, name]) => name!);
  const parametersOf = (name: string): string[] => {
    const [, list = ''] = new RegExp(`fn ${name}\\(([^)]*)\\)`).exec(text) ?? [];
    return [...list.matchAll(/(\w+): vec4</g)].map(([, own]) => own!);
  };
  const ofFunction = (name: string): Counts => {
    let counts = known.get(name);
    if (!counts)
      known.set(
        name,
        (counts = ofBlock(functions.get(name)!, undefined, new Set([...wideNames, ...parametersOf(name)]))),
      );
    return counts;
  };

  const isWide = (statement: string, vectors: Vectors): boolean =>
    /vec4</.test(statement) || [...statement.matchAll(/(?<![.\w])(\w+)(?![\w.]|\[)/g)].some(([, x]) => vectors.has(x!));

  const ofStatement = (whole: string, vectors: Vectors): Counts => {
    const counts = zero();
    const [, made, value = ''] = /^(?:let|var) (\w+)(?:: \w+)? = (.*)/.exec(whole) ?? [];
    if (made && /^vec4<|^[^.]*$/.test(value) && !/^\w+\(.*\)$/.test(value) && isWide(value, vectors)) vectors.add(made);
    else if (made && vectors.has(/^(\w+)\(/.exec(value)?.[1] ?? '')) vectors.add(made);
    // What makes a vector of several values is computed value by value.
    const statement = withoutLists(
      whole,
      (text) => !isWide(text, vectors),
      (list) => add(counts, ofStatement(list, vectors)),
    );
    const wide = isWide(statement, vectors) ? 4 : 1;
    const outside = statement.replace(/\[[^\]]*\]/g, '[]');
    const inside = [...statement.matchAll(/\[([^\]]*)\]/g)].map(([, index]) => index!).join(' ; ');
    const multiplies = outside.match(/\bfma\(/g)?.length ?? 0;
    const sums = multiplies === 0 && / \+= [^;]* \* /.test(outside) ? 1 : 0;
    const count = (where: string, pattern: RegExp): number => where.match(pattern)?.length ?? 0;
    counts.fma += wide * (multiplies + sums) + 4 * count(outside, /\bdot\(/g);
    counts.alu += wide * (count(outside, operators) - 2 * sums) + count(inside, operators);
    counts.alu -= wide * count(outside.replace(/ \+= .*/, ''), contracted) + count(inside, contracted);
    counts.special += wide * (outside.match(specials)?.length ?? 0);
    if (/^(workgroup|storage)Barrier\(/.test(statement)) counts.barriers++;
    for (const [, name] of statement.matchAll(/\b(\w+)\(/g)) {
      if (!functions.has(name!)) continue;
      add(counts, ofFunction(name!));
      if (name === 'philox') counts.draws++;
    }
    const written = /^(\w+)\[.*?\][.\w[\]]* [-+*/&|^]?= /.exec(statement)?.[1];
    for (const { 1: name, index } of statement.matchAll(/\b(\w+)\[/g)) {
      const shared = staged.get(name!);
      if (shared) counts.shared += bytesOfType(/^array<(.+), \d+>$/.exec(shared)![1]!);
      const type = bound.get(name!);
      if (type && index === 0 && name === written) counts.stores++;
      else if (type?.startsWith('vec')) counts.vectorLoads++;
      else if (type) counts.scalarLoads++;
      if (type) counts.bytes += bytesOfType(type);
      if (shared || type) counts.alu++;
    }
    for (const [, side] of statement.matchAll(/subgroupMatrixLoad<subgroup_matrix_(\w+)</g))
      counts.matrixBytes += side === 'left' ? 2 * m * k : side === 'right' ? 2 * k * n : 4 * m * n;
    if (statement.startsWith('subgroupMatrixStore')) counts.matrixBytes += 4 * m * n;
    counts.alu += matrixCheck * (statement.match(/\bsubgroupMatrix(?:Load|Store)</g)?.length ?? 0);
    // Halves that are loaded or stored are converted one by one.
    for (const [, type, name] of statement.matchAll(/\b((?:vec4<)?f(?:32|16))>?\((?:(\w+)\[)?/g)) {
      const converts = type!.endsWith('16') ? /\[.*\] = /.test(statement) : bound.get(name ?? '')?.includes('f16');
      if (converts) counts.alu += type!.startsWith('vec4') ? 4 : 1;
    }
    counts.matrixFlops += (statement.match(/subgroupMatrixMultiplyAccumulate\(/g)?.length ?? 0) * 2 * m * n * k;
    return counts;
  };

  /** `loops` takes the loops of unknown length; without it they count as one iteration. */
  const ofBlock = (block: Block, loops: Counts[] | undefined, vectors: Vectors): Counts => {
    const counts = zero();
    for (const item of mostly(block.items)) {
      if (typeof item === 'string') {
        add(counts, ofStatement(item, vectors));
        continue;
      }
      const { head } = item;
      if (/^if \(.*== 0u/.test(head)) continue;
      if (!/^(for|while)\b/.test(head)) {
        add(counts, ofStatement(head, vectors));
        add(counts, ofBlock(item, loops, vectors));
        continue;
      }
      const times = trips(head);
      const own = times === undefined ? ofBlock(item, undefined, vectors) : ofBlock(item, loops, vectors);
      own.alu += 2 + (ends.test(head) ? 0 : loopGuard);
      if (times === undefined && loops) loops.push(own);
      else add(counts, own, times);
    }
    return counts;
  };

  const loops: Counts[] = [];
  const once = ofBlock(functions.get('main')!, loops, new Set(wideNames));
  return {
    once,
    loops,
    workgroup: Number(/@workgroup_size\((\d+)\)/.exec(text)![1]),
    shared: [...staged.values()].reduce((sum, type) => sum + bytesOfType(type), 0),
    registers: Math.min(255, Math.round(24 + registersOf(functions.get('main')!))),
    loadsScalars: /fn element[AB]\(/.test(text),
  };
}

/**
 * Statements and blocks; of a chain of `else if` the longest branch alone, since a workgroup takes one of
 * them.
 */
function mostly(items: Block['items']): Block['items'] {
  const lengthOf = (item: string | Block): number =>
    typeof item === 'string' ? item.length : item.items.reduce((sum, x) => sum + lengthOf(x), 0);
  const kept: (string | Block)[] = [];
  for (const item of items) {
    const last = kept.at(-1);
    const isBranch = typeof item !== 'string' && item.head.startsWith('else if') && typeof last === 'object';
    if (!isBranch) kept.push(item);
    else if (lengthOf(item) > lengthOf(last)) kept[kept.length - 1] = item;
  }
  return kept;
}

/** Registers of a block: what it declares, and the most that a block within it holds beside that. */
function registersOf({ items }: Block): number {
  let [own, within] = [0, 0];
  for (const item of items) {
    if (typeof item !== 'string') {
      within = Math.max(within, registersOf(item));
      continue;
    }
    const [, kind, declared] = /^(var|let) \w+(: [^=]+| = .*)/.exec(item) ?? [];
    if (!declared) continue;
    const matrix = /subgroup_matrix_(\w+)<(\w+), (\d+), (\d+)>/.exec(declared);
    const words = matrix
      ? (Number(matrix[3]) * Number(matrix[4]) * (matrix[2] === 'f16' ? 2 : 4)) / 4 / 32
      : (/vec4|tile\d\[|slab\w\[/.test(declared) ? 4 : 1) * Number(/^: array<.+, (\d+)>/.exec(declared)?.[1] ?? 1);
    own += kind === 'var' || matrix ? words : words / 2;
  }
  return own + within;
}
