import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { crc32, crc32c } from '../../common/checksum.ts';

const test = suite('checksums');
const digits = Buffer.from('123456789');

test('CRC-32: the check value of its catalogues, of parts as of the whole, and of nothing', () => {
  assert.is(crc32(digits), 0xcbf43926);
  assert.is(crc32(digits.subarray(0, 4), digits.subarray(4)), 0xcbf43926);
  assert.is(crc32(), 0);
});

test('CRC-32C: the check value of its catalogues, and RFC 3720 B.4', () => {
  assert.is(crc32c(digits), 0xe3069283);
  assert.is(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.is(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
});

test.run();
