import type { Counts, Instructions } from './instructions.ts';

/** What a loop does, counted alike in the text of a kernel and in the SPIR-V that Dawn makes of it. */
export interface Comparable {
  /** Multiply-adds and other arithmetic, of vectors element by element. */
  readonly arithmetic: number;
  readonly special: number;
  readonly loads: number;
  readonly stores: number;
  /** Bytes of workgroup memory, without those of matrices. */
  readonly shared: number;
  readonly barriers: number;
  /** Products of matrices, and matrices loaded and stored. */
  readonly products: number;
}

/** The loops of a kernel whose length the text does not tell, as the plan counts them. */
export function comparableOf(
  { loops }: Instructions,
  matrix: readonly [M: number, N: number, K: number],
): Comparable[] {
  const [M, N, K] = matrix;
  const of = ({ fma, alu, special, scalarLoads, vectorLoads, stores, shared, barriers, matrixFlops }: Counts) => ({
    arithmetic: fma + alu,
    special,
    loads: scalarLoads + vectorLoads,
    stores,
    shared,
    barriers,
    products: matrixFlops / (2 * M * N * K),
  });
  return loops.map(of);
}

type Sums = { -readonly [name in keyof Comparable]: Comparable[name] };

const nothing = (): Sums => ({ arithmetic: 0, special: 0, loads: 0, stores: 0, shared: 0, barriers: 0, products: 0 });

function add(to: Sums, from: Comparable, times: number): void {
  for (const key of Object.keys(to) as (keyof Sums)[]) to[key] += times * from[key];
}

interface Instruction {
  readonly id: string | undefined;
  readonly op: string;
  readonly operands: readonly string[];
}

const arithmetic = new RegExp(
  String.raw`^Op(?:[ISUF](?:Add|Sub|Mul|Div|Mod|Rem|Negate)(?:Carry)?|Shift\w+|Bitwise\w+|Not|Logical\w+|Select|` +
    String.raw`I(?:Not)?Equal|[US](?:Less|Greater)\w+|F(?:Ord|Unord)\w+|Convert\w+|FConvert)$`,
);
const specials = /^(?:Exp2?|Log2?|Tanh|Sqrt|InverseSqrt|Cos|Sin|Pow)$/;

/**
 * Counts the loops in disassembled SPIR-V, each a pass of what lies between its header and its end, every
 * branch taken. Loops inside whose bounds are constants count as often as they run.
 */
export function loopsOfSpirv(text: string): Comparable[] {
  const all = text.split('\n').flatMap((line): Instruction[] => {
    const match = /^\s*(?:(%\w+) = )?(Op\w+)(?: (.*))?$/.exec(line);
    return match ? [{ id: match[1], op: match[2]!, operands: match[3]?.split(' ') ?? [] }] : [];
  });
  const made = new Map(all.flatMap((x) => (x.id === undefined ? [] : [[x.id, x] as const])));
  const typeOf = (id: string): Instruction | undefined => made.get(made.get(id)?.operands[0] ?? '');
  /** Elements and bytes of a type. */
  const size = (type: Instruction | undefined): { width: number; bytes: number } => {
    if (type?.op === 'OpTypeVector') {
      const width = Number(type.operands[1]);
      return { width, bytes: width * size(made.get(type.operands[0]!)).bytes };
    }
    return { width: 1, bytes: type?.operands[0] === '16' ? 2 : 4 };
  };
  const constant = (id: string | undefined): number | undefined => {
    const own = made.get(id ?? '');
    return own?.op === 'OpConstant' ? Number(own.operands[1]) : undefined;
  };

  const functions = new Map<string, Instruction[]>();
  let current: Instruction[] | undefined;
  for (const x of all) {
    if (x.op === 'OpFunction') functions.set(x.id!, (current = []));
    else if (x.op === 'OpFunctionEnd') current = undefined;
    else current?.push(x);
  }
  const known = new Map<string, Comparable>();
  const ofFunction = (name: string): Comparable => {
    let counts = known.get(name);
    if (!counts) known.set(name, (counts = count(functions.get(name)!, undefined)));
    return counts;
  };

  /** Iterations of a loop that counts a variable up to a constant. */
  const tripsOf = (body: readonly Instruction[], before: readonly Instruction[]): number | undefined => {
    const inner = body.findIndex(({ op }) => op === 'OpLoopMerge');
    const own = inner < 0 ? body : body.slice(0, inner);
    const test = own.find(({ op }) => /^Op[US]LessThan$/.test(op));
    const variable = made.get(test?.operands[1] ?? '')?.operands[1];
    const limit = constant(test?.operands[2]);
    if (limit === undefined || variable === undefined) return undefined;
    const next = body.findLast(({ op, operands }) => op === 'OpStore' && operands[0] === variable);
    const step = constant(made.get(next?.operands[1] ?? '')?.operands[2]);
    if (step === undefined) return undefined;
    const first = before.findLast(({ op, operands }) => op === 'OpStore' && operands[0] === variable);
    return Math.ceil((limit - (constant(first?.operands[1]) ?? 0)) / step);
  };

  const one = ({ op, operands, id }: Instruction, counts: Sums): void => {
    const { width } = size(made.get(operands[0] ?? ''));
    // A product and what is added to it are one instruction on GPUs.
    const contracts =
      /^Op[IF](?:Add|Sub)$/.test(op) && operands.slice(1).some((x) => /^Op[IF]Mul$/.test(made.get(x)?.op ?? ''));
    if (arithmetic.test(op)) counts.arithmetic += contracts ? 0 : width;
    else if (op === 'OpDot') counts.arithmetic += size(typeOf(operands[1]!)).width;
    else if (op === 'OpExtInst') {
      if (specials.test(operands[2]!)) counts.special += width;
      else counts.arithmetic += width;
    } else if (op === 'OpControlBarrier') counts.barriers++;
    else if (op === 'OpCooperativeMatrixMulAddKHR') counts.products++;
    else if (op === 'OpFunctionCall') add(counts, ofFunction(operands[1]!), 1);
    else if (op === 'OpLoad' || op === 'OpStore') {
      const pointer = typeOf(op === 'OpLoad' ? operands[1]! : operands[0]!);
      const { bytes } = size(made.get(pointer?.operands[1] ?? ''));
      if (pointer?.operands[0] === 'Workgroup') counts.shared += bytes;
      else if (pointer?.operands[0] === 'StorageBuffer') {
        if (id === undefined) counts.stores++;
        else counts.loads++;
      }
    }
  };

  /** `loops` takes the loops of unknown length; without it they count as one iteration. */
  const count = (body: readonly Instruction[], loops: Comparable[] | undefined): Sums => {
    const counts = nothing();
    for (let i = 0; i < body.length; i++) {
      const x = body[i]!;
      if (x.op !== 'OpLoopMerge') {
        one(x, counts);
        continue;
      }
      const end = body.findIndex(({ op, id }, at) => at > i && op === 'OpLabel' && id === x.operands[0]);
      const inside = body.slice(i + 1, end);
      const times = tripsOf(inside, body.slice(0, i));
      const own = count(inside, times === undefined ? undefined : loops);
      if (times === undefined && loops) loops.push(own);
      else add(counts, own, times ?? 1);
      i = end;
    }
    return counts;
  };

  // The entry point calls main, and does little else.
  const entry = all.find(({ op }) => op === 'OpEntryPoint')!.operands[1]!;
  const called = functions.get(entry)!.find(({ op }) => op === 'OpFunctionCall')?.operands[1];
  const loops: Comparable[] = [];
  count(functions.get(called ?? entry)!, loops);
  return loops;
}
