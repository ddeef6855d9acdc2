/**
 * Keys and values of a cache in 8 bits: a head's numbers of a token as signed bytes, four to a word, behind
 * them the steps of its groups, two to a word. A step is the upper half of an f32 (bfloat16), at least
 * max |x| / 127 of its group, and x is taken for round(x / step) * step.
 *
 * Groups were chosen by what attention computes, relative error over 30 layers of SmolLM2 (256 tokens, heads
 * of 64): 2.0% with one step a head, 1.4% with groups of 32, 1.1% with groups of 16. Keys make nearly all of
 * it: some of their channels are always large (Liu et al. 2024, "KIVI"). Two halves take the room of one f32.
 */
export const groupOfStep = 32;

/** Words of a head's `channels`, a multiple of 4, of one token. */
export const wordsOf = (channels: number): number => channels / 4 + Math.ceil(channels / (2 * groupOfStep));

/** WGSL: `fn NAMEFour(at: i32, c: i32)`, numbers 4 c, ..., 4 c + 3 of what begins at word `at`. */
export const readFour = (name: string, channels: number): string => `
fn ${name}Four(at: i32, c: i32) -> vec4<f32> {
  let steps = ${name}[at + ${channels / 4} + (c >> 4u)];
  let step = bitcast<f32>(select(steps & 0xffff0000u, steps << 16u, (c & 8) == 0));
  return vec4<f32>(unpack4xI8(${name}[at + c])) * step;
}`;

/**
 * WGSL: the step of a group whose largest magnitudes are `top`, as the upper half of a word. Of zeros, or of
 * numbers too small for a quotient, it is 1. A number that is none is to have made `top` one that is none.
 */
export const stepBits = `
fn stepBits(top: vec4<u32>) -> u32 {
  let largest = max(max(top.x, top.y), max(top.z, top.w));
  let step = bitcast<f32>(largest) / 127.0;
  if (largest >= 0x7f800000u) { return 0x7fc00000u; }
  return (select(bitcast<u32>(step), 0x3f800000u, step < 1e-30) + 0xffffu) & 0xffff0000u;
}`;
