import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { picturesOfFont } from './bitmap-font.ts';
import { debianPackage } from './debian-package.ts';

/** An emoji: its picture, and what Unicode says about it. */
export interface Emoji {
  readonly text: string;
  /** Its English name: "red apple". */
  readonly name: string;
  /** Words that it is found by, without the name. */
  readonly keywords: readonly string[];
  /** "Food & Drink". */
  readonly group: string;
  /** "food-fruit". */
  readonly subgroup: string;
  /** A PNG of 136 x 128 pixels with transparency. */
  readonly png: Uint8Array;
}

/**
 * Emoji of one code point (no flags, skin tones or families, which would be near one another): pictures of
 * Noto Color Emoji (OFL-1.1), names and groups of Unicode's emoji-test.txt, keywords of CLDR, from the Debian
 * packages fonts-noto-color-emoji, unicode-data and unicode-cldr-core, fetched once. Errors: those of
 * `debianPackage`; a package without what is needed.
 */
export async function loadEmoji(say?: (line: string) => void): Promise<{ emoji: Emoji[]; origin: string }> {
  const font = await debianPackage('fonts-noto-color-emoji', say);
  const unicode = await debianPackage('unicode-data', say);
  const cldr = await debianPackage('unicode-cldr-core', say);
  const fontFile = join(font.folder, 'usr/share/fonts/truetype/noto/NotoColorEmoji.ttf');
  const pictures = picturesOfFont(await readFile(fontFile), fontFile);
  const keywords = readAnnotations(
    await readFile(join(cldr.folder, 'usr/share/unicode/cldr/common/annotations/en.xml'), 'utf8'),
  );
  const listed = readEmojiTest(await readFile(join(unicode.folder, 'usr/share/unicode/emoji/emoji-test.txt'), 'utf8'));
  const emoji = listed.flatMap((entry): Emoji[] => {
    const png = pictures.get(entry.text.codePointAt(0)!);
    const words = (keywords.get(entry.text) ?? []).filter((word) => word !== entry.name);
    return png ? [{ ...entry, keywords: words, png }] : [];
  });
  const packages = [font, unicode, cldr].map(({ name, version }) => `${name} ${version}`);
  return { emoji, origin: `emoji of ${packages.join(', ')}` };
}

/** Fully qualified emoji of one code point (a variation selector aside) of Unicode's emoji-test.txt. */
export function readEmojiTest(text: string): Pick<Emoji, 'text' | 'name' | 'group' | 'subgroup'>[] {
  let [group, subgroup] = ['', ''];
  return text.split('\n').flatMap((line) => {
    group = /^# group: (.+)$/.exec(line)?.[1] ?? group;
    subgroup = /^# subgroup: (.+)$/.exec(line)?.[1] ?? subgroup;
    const [, codes, name] = /^([0-9A-F ]+?) *; fully-qualified +# \S+ E[\d.]+ (.+)$/.exec(line) ?? [];
    if (codes === undefined || name === undefined) return [];
    const points = codes.split(' ').filter((code) => code !== 'FE0F');
    if (points.length !== 1) return [];
    return [{ text: String.fromCodePoint(parseInt(points[0]!, 16)), name, group, subgroup }];
  });
}

/** The keywords of each text of a file of CLDR's annotations. */
export function readAnnotations(xml: string): Map<string, string[]> {
  const plain = (text: string): string =>
    text.replace(
      /&(amp|lt|gt|quot|apos);/g,
      (_, name: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"' })[name] ?? "'",
    );
  const found = xml.matchAll(/<annotation cp="([^"]+)">([^<]*)<\/annotation>/g);
  return new Map(
    [...found].map(([, text, words]) => [
      plain(text!),
      plain(words!)
        .split('|')
        .map((word) => word.trim())
        .filter(Boolean),
    ]),
  );
}
