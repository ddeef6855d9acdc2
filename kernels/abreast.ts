import type { Target } from '../gpu/device.ts';
import { maxParamBytes, spread } from '../gpu/dispatch.ts';
import type { Dispatch } from '../gpu/dispatch.ts';
import { declareParams, declareStorage, directivesOf, gridParameters, sourceOf } from './kernel.ts';
import type { KernelSource, Param } from './kernel.ts';

interface Part {
  readonly source: KernelSource;
  /** Its arrays in workgroup memory, which `declarations` has, too. */
  readonly shared: readonly SharedArray[];
}

interface SharedArray {
  readonly name: string;
  readonly type: string;
  readonly length: number;
}

const sharedArrays = /var<workgroup> (\w+): array<(.+), (\d+)>;/g;

/** Undefined for several abreast, and for workgroup variables that are no arrays: these share no room. */
function partOf(dispatch: Dispatch): Part | undefined {
  const source = sourceOf(dispatch);
  const { declarations = '' } = source ?? {};
  const isOther = declarations.replace(sharedArrays, '').includes('var<workgroup>');
  if (!source || isOther) return undefined;
  const alias = /^alias V = (.*);$/m.exec(declarations)?.[1];
  const shared = [...declarations.matchAll(sharedArrays)].map(([, name, type, length]) => ({
    name: name!,
    type: alias ? type!.replace(/\bV\b/, alias) : type!,
    length: Number(length),
  }));
  return { source, shared };
}

/** Bytes of WGSL types that workgroup arrays are made of. */
function bytesOfElement(type: string): number {
  const [, width = '1', element = type] = /^vec(\d)<(\w+)>$/.exec(type) ?? [];
  return (width === '3' ? 4 : Number(width)) * (element === 'f16' ? 2 : 4);
}

/** One array for those of the same type, as long as the longest: a workgroup runs one part alone. */
function shareArrays(parts: readonly Part[]) {
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
  const parts = dispatches.flatMap((dispatch) => partOf(dispatch) ?? []);
  if (parts.length < dispatches.length) return false;
  const total = (count: (source: KernelSource) => number): number =>
    parts.reduce((sum, { source }) => sum + count(source), 0);
  const [first] = parts;
  const isAlike = ({ source }: Part): boolean =>
    source.workgroup === first!.source.workgroup && (source.attributes ?? '') === (first!.source.attributes ?? '');
  const most = Math.max(...parts.map((part) => shareArrays([part]).bytes));
  return (
    parts.every(isAlike) &&
    total(({ bindings }) => bindings.length) <= maxStorageBuffers &&
    4 * (total(({ params }) => Object.keys(params).length) + parts.length + 3) <= maxParamBytes &&
    shareArrays(parts).bytes <= Math.min(workgroupMemory, 1.25 * most)
  );
}

/**
 * One dispatch of several that need nothing of each other: its first workgroups compute the first of them,
 * the next ones the second, and so on. Each computes what it would alone, to the bit. Their tensors are bound
 * in the same order. The dispatches must fit (`fitAbreast`).
 */
export function abreast(dispatches: readonly Dispatch[]): Dispatch {
  const parts = dispatches.map((dispatch) => partOf(dispatch)!);
  const { pool, placeOf } = shareArrays(parts);
  const [{ workgroup, attributes = '' }] = parts.map(({ source }) => source) as [KernelSource];
  const words: number[] = []; // where the parameters of each part begin
  const fields: [name: string, Pick<Param, 'type'>][] = [];
  const renamed = parts.map(({ source }, i) => {
    const { bindings, params, laneName = 'lane', declarations = '', body } = source;
    const declared = declarations.matchAll(/\b(?:fn|const|alias|struct|var<private>) (\w+)/g);
    const own = [...bindings.map(({ name }) => name), ...[...declared].map(([, name]) => name!)];
    const names = new Map([
      ...own.map((name) => [name, `${name}_${i}`] as const),
      ...[...placeOf[i]!].map(([name, at]) => [name, `shared${at}`] as const),
    ]);
    const inText = (text: string): string =>
      text.replace(/\bp\.(\w+)/g, `p.$1_${i}`).replace(/(?<![.\w])[A-Za-z]\w*/g, (word) => names.get(word) ?? word);
    words.push(fields.length);
    for (const [name, { type }] of Object.entries(params)) fields.push([`${name}_${i}`, { type }]);
    return {
      bindings: bindings.map(({ name, access, type }) => ({ name: `${name}_${i}`, access, type: inText(type) })),
      declarations: inText(declarations.replace(sharedArrays, '').trim()),
      body: `{
let group = place${i === 0 ? '' : ` - p.end${i - 1}`};
let id = group * ${workgroup}u + invocation;
let ${laneName} = invocation;
${inText(body)}
}`,
    };
  });
  const counts = dispatches.map(({ grid }) => grid[0] * grid[1] * grid[2]);
  const ends = counts.slice(0, -1).map((_, i) => counts.slice(0, i + 1).reduce((sum, count) => sum + count, 0));
  const params = new Uint32Array(Math.ceil((fields.length + ends.length) / 4) * 4);
  dispatches.forEach(({ params: own }, i) => {
    const count = Object.keys(parts[i]!.source.params).length;
    params.set(new Uint32Array(own.buffer, own.byteOffset, count), words[i]);
  });
  params.set(ends, fields.length);
  ends.forEach((_, i) => fields.push([`end${i}`, { type: 'u32' }]));
  const bindings = renamed.flatMap((part) => part.bindings);
  const builtins = [
    ...gridParameters,
    '@builtin(local_invocation_index) invocation: u32',
    ...parts.flatMap(({ source }) => source.builtins ?? []),
  ];
  const wgsl = [
    ...new Set(parts.flatMap(({ source }) => directivesOf(source))),
    ...declareStorage(bindings),
    declareParams(Object.fromEntries(fields), bindings.length),
    ...pool.map(({ type, length }, at) => `var<workgroup> shared${at}: array<${type}, ${length}>;`),
    ...renamed.map(({ declarations }) => declarations),
    `@compute @workgroup_size(${workgroup})${attributes}`,
    `fn main(${[...new Set(builtins)].join(', ')}) {`,
    'let place = wid.y * nwg.x + wid.x;',
    renamed.map(({ body }, i) => (i < ends.length ? `if (place < p.end${i}) ${body}` : body)).join(' else '),
    '}',
  ];
  return {
    name: dispatches.map(({ name }) => name).join(' | '),
    wgsl: wgsl.join('\n'),
    names: bindings.map(({ name }) => name),
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
