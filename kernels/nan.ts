/**
 * Emits `fn NAME(x: T) -> B`: whether a number is NaN, by its bits; false for integers. `x != x` will not do:
 * WGSL becomes an ordered comparison in SPIR-V, which is false for NaN, and compilers may assume that there
 * is no NaN at all.
 */
export function isNanFunction(name: string, computed: 'f32' | 'i32' | 'u32', width: 1 | 4): string {
  const vec = (type: string): string => (width === 4 ? `vec4<${type}>` : type);
  const test =
    computed === 'f32'
      ? `(bitcast<${vec('u32')}>(x) & ${vec('u32')}(0x7fffffffu)) > ${vec('u32')}(0x7f800000u)`
      : `${vec('bool')}(false)`;
  return `fn ${name}(x: ${vec(computed)}) -> ${vec('bool')} { return ${test}; }`;
}
