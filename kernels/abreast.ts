import { maxParamBytes } from '../gpu/bind-groups.ts';
import type { Target } from '../gpu/device.ts';
import { spread } from '../gpu/dispatch.ts';
import type { Dispatch } from '../gpu/dispatch.ts';

/** A kernel's text as `kernel` puts it together, taken apart. */
interface Text {
  readonly directives: readonly string[];
  /** `var<storage, read> x: array<f32>;` */
  readonly bindings: readonly string[];
  /** `n: u32` */
  readonly fields: readonly string[];
  readonly declarations: string;
  readonly workgroup: number;
  /** Of main. */
  readonly attributes: string;
  readonly builtins: readonly string[];
  readonly lane: string;
  readonly body: string;
  /** Arrays in workgroup memory. */
  readonly shared: readonly SharedArray[];
}

interface SharedArray {
  readonly name: string;
  readonly type: string;
  readonly length: number;
}

const form = new RegExp(
  String.raw`^([^]*?)@compute @workgroup_size\((\d+)\)(.*)\n` +
    String.raw`fn main\(.*?, .*?, @builtin\(local_invocation_index\) (\w+): u32(.*)\) \{\n.*\n.*\n([^]*)\}$`,
);
const sharedArrays = /var<workgroup> (\w+): array<(.+), (\d+)>;/g;

const known = new WeakMap<Dispatch, Text | undefined>();

function textOf(dispatch: Dispatch): Text | undefined {
  if (!known.has(dispatch)) known.set(dispatch, takeApart(dispatch.wgsl));
  return known.get(dispatch);
}

/** Undefined for workgroup variables that are no arrays, which could not share room. */
function takeApart(wgsl: string): Text | undefined {
  const [, head = '', workgroup, attributes = '', lane = '', more = '', body = ''] = form.exec(wgsl) ?? [];
  const lines = head.split('\n');
  const directives = lines.filter((line) => /^(enable|requires) /.test(line));
  const bindings = lines.flatMap((line) => /^@group\(0\) @binding\(\d+\) (var<storage.*)$/.exec(line)?.[1] ?? []);
  const fields = /^struct Params \{ (.*) \}$/m.exec(head)?.[1]?.split(', ') ?? [];
  const declarations = lines
    .filter((line) => !/^(enable|requires|struct Params|@group)\b/.test(line))
    .join('\n')
    .trim();
  const alias = /^alias V = (.*);$/m.exec(declarations)?.[1];
  const shared = [...declarations.matchAll(sharedArrays)].map(([, name, type, length]) => ({
    name: name!,
    type: alias ? type!.replace(/\bV\b/, alias) : type!,
    length: Number(length),
  }));
  const others = declarations.replace(sharedArrays, '').includes('var<workgroup>');
  if (workgroup === undefined || others) return undefined;
  const builtins = more.split(', ').filter((x) => x !== '');
  return {
    directives,
    bindings,
    fields,
    declarations,
    workgroup: +workgroup,
    attributes,
    builtins,
    lane,
    body,
    shared,
  };
}

/** Bytes of WGSL types that workgroup arrays are made of. */
function bytesOfElement(type: string): number {
  const [, width = '1', element = type] = /^vec(\d)<(\w+)>$/.exec(type) ?? [];
  return (width === '3' ? 4 : Number(width)) * (element === 'f16' ? 2 : 4);
}

/** One array for those of the same type, as long as the longest: a workgroup runs one part alone. */
function shareArrays(parts: readonly Text[]) {
  const pool: { readonly type: string; length: number; readonly users: Set<number> }[] = [];
  const placeOf = parts.map(({ shared }, i) => {
    const places = new Map<string, number>();
    for (const { name, type, length } of shared) {
      let at = pool.findIndex((x) => x.type === type && !x.users.has(i));
      if (at < 0) at = pool.push({ type, length: 0, users: new Set() }) - 1;
      const array = pool[at]!;
      array.length = Math.max(array.length, length);
      array.users.add(i);
      places.set(name, at);
    }
    return places;
  });
  return { pool, placeOf, bytes: pool.reduce((sum, { type, length }) => sum + bytesOfElement(type) * length, 0) };
}

/**
 * Whether kernels can run abreast, in one dispatch: workgroups of one size, room for all bindings and
 * parameters, and hardly more workgroup memory than the one that needs most, so that as many workgroups are
 * at work at once.
 */
export function fitAbreast(
  dispatches: readonly Dispatch[],
  { maxStorageBuffers, workgroupMemory }: Pick<Target, 'maxStorageBuffers' | 'workgroupMemory'>,
): boolean {
  const parts = dispatches.flatMap((dispatch) => textOf(dispatch) ?? []);
  if (parts.length < dispatches.length) return false;
  const total = (count: (x: Text) => number): number => parts.reduce((sum, x) => sum + count(x), 0);
  const most = Math.max(...parts.map((part) => shareArrays([part]).bytes));
  return (
    parts.every((x) => x.workgroup === parts[0]!.workgroup && x.attributes === parts[0]!.attributes) &&
    total(({ bindings }) => bindings.length) <= maxStorageBuffers &&
    4 * (total(({ fields }) => fields.length) + parts.length + 3) <= maxParamBytes &&
    shareArrays(parts).bytes <= Math.min(workgroupMemory, 1.25 * most)
  );
}

/**
 * One dispatch of several that need nothing of each other: its first workgroups compute the first of them,
 * the next ones the second, and so on. Each computes what it would alone, to the bit. Their tensors are bound
 * in the same order. The dispatches must fit (`fitAbreast`).
 */
export function abreast(dispatches: readonly Dispatch[]): Dispatch {
  const parts = dispatches.map((dispatch) => textOf(dispatch)!);
  const { pool, placeOf } = shareArrays(parts);
  const workgroup = parts[0]!.workgroup;
  const words: number[] = []; // where the parameters of each part begin
  const counts = dispatches.map(({ grid }) => grid[0] * grid[1] * grid[2]);
  const renamed = parts.map((part, i) => {
    const names = new Map<string, string>();
    const rename = (name: string, to = `${name}_${i}`): void => void names.set(name, to);
    for (const [, name] of part.bindings.join('\n').matchAll(/> (\w+):/g)) rename(name!);
    for (const [, name] of part.declarations.matchAll(/\b(?:fn|const|alias|struct|var<private>) (\w+)/g)) rename(name!);
    for (const [name, at] of placeOf[i]!) rename(name, `shared${at}`);
    const inText = (text: string): string =>
      text.replace(/\bp\.(\w+)/g, `p.$1_${i}`).replace(/(?<![.\w])[A-Za-z]\w*/g, (word) => names.get(word) ?? word);
    words.push(i === 0 ? 0 : words[i - 1]! + parts[i - 1]!.fields.length);
    return {
      bindings: part.bindings.map(inText),
      fields: part.fields.map((field) => field.replace(':', `_${i}:`)),
      declarations: inText(part.declarations.replace(sharedArrays, '')),
      body: `{
let group = place${i === 0 ? '' : ` - p.end${i - 1}`};
let id = group * ${workgroup}u + invocation;
let ${part.lane} = invocation;
${inText(part.body)}}`,
    };
  });
  const ends = counts.slice(0, -1).map((_, i) => counts.slice(0, i + 1).reduce((sum, count) => sum + count, 0));
  const fields = [...renamed.flatMap((x) => x.fields), ...ends.map((_, i) => `end${i}: u32`)];
  const bindings = renamed.flatMap((x) => x.bindings);
  const params = new Uint32Array(Math.ceil(fields.length / 4) * 4);
  dispatches.forEach(({ params: own }, i) => {
    const { byteOffset } = own;
    params.set(new Uint32Array(own.buffer, byteOffset, parts[i]!.fields.length), words[i]);
  });
  params.set(ends, fields.length - ends.length);
  const builtins = [
    '@builtin(workgroup_id) wid: vec3<u32>',
    '@builtin(num_workgroups) nwg: vec3<u32>',
    '@builtin(local_invocation_index) invocation: u32',
    ...parts.flatMap((part) => part.builtins),
  ];
  const wgsl = [
    ...new Set(parts.flatMap(({ directives }) => directives)),
    ...bindings.map((binding, i) => `@group(0) @binding(${i}) ${binding}`),
    `struct Params { ${fields.join(', ')} }`,
    `@group(0) @binding(${bindings.length}) var<uniform> p: Params;`,
    ...pool.map(({ type, length }, at) => `var<workgroup> shared${at}: array<${type}, ${length}>;`),
    ...renamed.map(({ declarations }) => declarations),
    `@compute @workgroup_size(${workgroup})${parts[0]!.attributes}`,
    `fn main(${[...new Set(builtins)].join(', ')}) {`,
    'let place = wid.y * nwg.x + wid.x;',
    renamed.map(({ body }, i) => (i < ends.length ? `if (place < p.end${i}) ${body}` : body)).join(' else '),
    '}',
  ];
  return {
    name: dispatches.map(({ name }) => name).join(' | '),
    wgsl: wgsl.join('\n'),
    names: dispatches.flatMap(({ names }, i) => names.map((name) => `${name}_${i}`)),
    access: dispatches.flatMap(({ access }) => access),
    params: new Uint8Array(params.buffer),
    draws: dispatches.flatMap(({ draws }, i) => draws.map((draw) => ({ ...draw, word: draw.word + words[i]! }))),
    grid: spread(counts.reduce((sum, count) => sum + count, 0)),
    cost: {
      flops: dispatches.reduce((sum, { cost }) => sum + cost.flops, 0),
      bytes: dispatches.reduce((sum, { cost }) => sum + cost.bytes, 0),
    },
    parts: dispatches,
  };
}
