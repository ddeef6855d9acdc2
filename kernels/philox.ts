import { philoxConstants } from '../common/random.ts';

const { multipliers, increments } = philoxConstants;
const halves = (x: number): string => `${x >>> 16}u, ${x & 0xffff}u`;

/**
 * WGSL of Philox 4x32-10 (Salmon et al. 2011), the same as `philox4x32`: `philox(counter, key) -> vec4<u32>`,
 * and `unit(words) -> vec4<f32>`, uniform in [0, 1) with 24 bits, the most that f32 holds evenly.
 */
export const philoxWgsl = `
fn mulHigh(aHigh: u32, aLow: u32, b: u32) -> u32 {
  let bLow = b & 0xffffu; let bHigh = b >> 16u;
  let middle = aHigh * bLow + ((aLow * bLow) >> 16u);
  let carry = aLow * bHigh + (middle & 0xffffu);
  return aHigh * bHigh + (middle >> 16u) + (carry >> 16u);
}
fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
  var c = counter;
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    c = vec4<u32>(
      mulHigh(${halves(multipliers[1])}, c.z) ^ c.y ^ k.x, ${multipliers[1]}u * c.z,
      mulHigh(${halves(multipliers[0])}, c.x) ^ c.w ^ k.y, ${multipliers[0]}u * c.x);
    k += vec2<u32>(${increments[0]}u, ${increments[1]}u);
  }
  return c;
}
fn unit(words: vec4<u32>) -> vec4<f32> { return vec4<f32>(words >> vec4<u32>(8u)) * ${2 ** -24}; }`;
