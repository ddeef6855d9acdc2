import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { picturesOfFont } from '../../train/data/bitmap-font.ts';
import { readAnnotations, readEmojiTest } from '../../train/data/emoji.ts';

const test = suite('emoji');

/** Numbers of 2 or 4 bytes one behind the other. */
function words(...parts: (readonly [bytes: 2 | 4, ...values: number[]])[]): Buffer {
  return Buffer.concat(
    parts.flatMap(([bytes, ...values]) =>
      values.map((value) => {
        const buffer = Buffer.alloc(bytes);
        buffer.writeUIntBE(value, 0, bytes);
        return buffer;
      }),
    ),
  );
}

/** A font of glyphs 5 and 6, the characters U+1F600 and U+1F601, and glyph 7 without a picture. */
function font(imageFormat: 17 | 18 | 19, indexFormat: 1 | 3): Buffer {
  const metrics = { 17: 5, 18: 8, 19: 0 }[imageFormat];
  const images = ['first', 'second one'].map((text) =>
    Buffer.concat([Buffer.alloc(metrics), words([4, text.length]), Buffer.from(text)]),
  );
  const ends = [0, images[0]!.length, images[0]!.length + images[1]!.length];
  const offsets = [...ends, ends[2]!];
  const cbdt = Buffer.concat([words([4, 0x30000]), ...images]);
  const index = Buffer.concat([
    words([2, 5, 7], [4, 8]), // glyphs 5 to 7, their table behind these 8 bytes
    words([2, indexFormat, imageFormat], [4, 4], [indexFormat === 1 ? 4 : 2, ...offsets]),
  ]);
  const cblc = Buffer.concat([words([4, 0x30000, 1, 56, index.length, 1, 0]), Buffer.alloc(32), index]);
  const cmap = words([2, 0, 1, 3, 10], [4, 12], [2, 12, 0], [4, 28, 0, 1, 0x1f600, 0x1f602, 5]);
  const tables = Object.entries({ CBDT: cbdt, CBLC: cblc, cmap });
  let at = 12 + 16 * tables.length;
  const directory = tables.map(([name, data]) => {
    const entry = Buffer.concat([Buffer.from(name), words([4, 0, at, data.length])]);
    at += data.length;
    return entry;
  });
  const head = words([4, 0x10000], [2, tables.length, 0, 0, 0]);
  return Buffer.concat([head, ...directory, ...tables.map(([, data]) => data)]);
}

test('pictures of a font by their code points, in all its formats', () => {
  for (const imageFormat of [17, 18, 19] as const)
    for (const indexFormat of [1, 3] as const) {
      const found = picturesOfFont(font(imageFormat, indexFormat), 'x.ttf');
      const texts = [...found].map(([code, bytes]) => [code, Buffer.from(bytes).toString()]);
      const expected = Object.entries({ [0x1f600]: 'first', [0x1f601]: 'second one' });
      assert.equal(
        texts,
        expected.map(([code, text]) => [Number(code), text]),
      );
    }
  assert.throws(() => picturesOfFont(font(17, 1).subarray(0, 150), 'x.ttf'), /x\.ttf ends early, or is damaged/);
  assert.throws(() => picturesOfFont(words([4, 0x10000], [2, 0, 0, 0, 0]), 'x.ttf'), /x\.ttf is no font of pictures/);
});

test('names, groups and keywords of emoji', () => {
  const list = `# group: Food & Drink
# subgroup: food-fruit
1F34E                                      ; fully-qualified     # 🍎 E0.6 red apple
1F336 FE0F                                 ; fully-qualified     # 🌶️ E0.7 hot pepper
1F336                                      ; unqualified         # 🌶 E0.7 hot pepper
# group: People & Body
# subgroup: hands
1F44B 1F3FB                                ; fully-qualified     # 👋🏻 E1.0 waving hand: light skin tone`;
  assert.equal(readEmojiTest(list), [
    { text: '🍎', name: 'red apple', group: 'Food & Drink', subgroup: 'food-fruit' },
    { text: '🌶', name: 'hot pepper', group: 'Food & Drink', subgroup: 'food-fruit' },
  ]);
  const xml =
    '<annotation cp="🍎">apple | fruit &amp; more | red</annotation><annotation cp="🍎" type="tts">x</annotation>';
  assert.equal([...readAnnotations(xml)], [['🍎', ['apple', 'fruit & more', 'red']]]);
});

test.run();
