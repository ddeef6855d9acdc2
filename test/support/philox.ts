const mask32 = 0xffffffffn;

/** Philox 4x32-10 in whole numbers of any size, straight from the paper (Salmon et al. 2011). */
function philox(counter: readonly bigint[], key: readonly bigint[]): bigint[] {
  let [c0, c1, c2, c3] = counter as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const [p0, p1] = [0xd2511f53n * c0, 0xcd9e8d57n * c2];
    [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & mask32, (p0 >> 32n) ^ c3 ^ k1, p0 & mask32];
    [k0, k1] = [(k0 + 0x9e3779b9n) & mask32, (k1 + 0xbb67ae85n) & mask32];
  }
  return [c0, c1, c2, c3];
}

/** Seed of the cases that draw. */
export const seed = 2 ** 40 + 12345;

/** Number i of a stream of that seed: 24 bits of word i % 4 of block i / 4. */
export function uniform(i: number, stream = 0n): number {
  const words = philox(
    [BigInt(Math.floor(i / 4)), 0n, stream & mask32, stream >> 32n],
    [BigInt(seed) & mask32, BigInt(seed) >> 32n],
  );
  return Number(words[i % 4]! >> 8n) / 2 ** 24;
}
