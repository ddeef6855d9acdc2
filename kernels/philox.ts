/** Four 32-bit words, each an integer in [0, 2^32). */
export type U32x4 = readonly [number, number, number, number];
/** Two 32-bit words, each an integer in [0, 2^32). */
export type U32x2 = readonly [number, number];

// Multipliers and key increments of Philox 4x32 (the golden ratio and sqrt(3) - 1 as 32-bit fractions).
const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/**
 * Philox 4x32-10: four independent uniform u32 words as a pure function of counter and key, so that any
 * element of a random stream is computed alone, on the host or in any GPU invocation, with the same result.
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
export function philox4x32(counter: U32x4, key: U32x2): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const hi0 = mulHigh(M0, c0);
    const lo0 = Math.imul(M0, c0);
    const hi1 = mulHigh(M1, c2);
    const lo1 = Math.imul(M1, c2);
    c0 = (hi1 ^ c1 ^ k0) >>> 0;
    c1 = lo1 >>> 0;
    c2 = (hi0 ^ c3 ^ k1) >>> 0;
    c3 = lo0 >>> 0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** Upper 32 bits of the 64-bit product of two u32, by 16-bit halves: every partial sum stays below 2^32. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + (middle >>> 16) + (carry >>> 16)) >>> 0;
}

/**
 * The same function in WGSL, and uniform numbers from its words: `philox(counter, key) -> vec4<u32>`,
 * `unit(vec4<u32>) -> vec4<f32>` in [0, 1) with 24 bits, the most that f32 holds evenly.
 */
export const philoxWgsl = `
fn mulHigh(a: u32, b: u32) -> u32 {
  let aLow = a & 0xffffu; let aHigh = a >> 16u; let bLow = b & 0xffffu; let bHigh = b >> 16u;
  let middle = aHigh * bLow + ((aLow * bLow) >> 16u);
  let carry = aLow * bHigh + (middle & 0xffffu);
  return aHigh * bHigh + (middle >> 16u) + (carry >> 16u);
}
fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
  var c = counter;
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    c = vec4<u32>(
      mulHigh(${M1}u, c.z) ^ c.y ^ k.x, ${M1}u * c.z,
      mulHigh(${M0}u, c.x) ^ c.w ^ k.y, ${M0}u * c.x);
    k += vec2<u32>(${W0}u, ${W1}u);
  }
  return c;
}
fn unit(words: vec4<u32>) -> vec4<f32> { return vec4<f32>(words >> vec4<u32>(8u)) * ${2 ** -24}; }`;
