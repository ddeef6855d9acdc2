import { createHash } from 'node:crypto';

/**
 * SHA-256 of bytes and of the UTF-8 of texts, one behind the other. In a page sha256.browser.ts computes it.
 */
export function sha256(parts: Iterable<string | Uint8Array>): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}
