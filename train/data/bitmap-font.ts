/**
 * The pictures of a font whose characters are PNG files (CBDT and CBLC, cmap of format 12; OpenType 1.9), by
 * their code points. Characters of several code points, such as flags, are left out. Error, one line: the
 * file is no such font, or ends early.
 */
export function picturesOfFont(bytes: Uint8Array, name: string): Map<number, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const tables = new Map<string, number>();
    for (let i = 0; i < view.getUint16(4); i++) {
      const at = 12 + 16 * i;
      tables.set(String.fromCharCode(...bytes.subarray(at, at + 4)), view.getUint32(at + 8));
    }
    const [cmap, cblc, cbdt] = ['cmap', 'CBLC', 'CBDT'].map((table) => tables.get(table));
    if (cmap === undefined || cblc === undefined || cbdt === undefined)
      throw new Error(`${name} is no font of pictures: it has no tables cmap, CBLC and CBDT`);
    const pictures = picturesByGlyph(view, cblc, cbdt);
    return new Map(
      [...glyphsByCode(view, cmap)].flatMap(([code, glyph]): [number, Uint8Array][] => {
        const place = pictures.get(glyph);
        return place ? [[code, bytes.subarray(...place)]] : [];
      }),
    );
  } catch (error) {
    if (error instanceof RangeError)
      throw new Error(`${name} ends early, or is damaged: a table lies outside of it`, { cause: error });
    throw error;
  }
}

function glyphsByCode(view: DataView, cmap: number): Map<number, number> {
  const glyphs = new Map<number, number>();
  for (let i = 0; i < view.getUint16(cmap + 2); i++) {
    const table = cmap + view.getUint32(cmap + 4 + 8 * i + 4);
    if (view.getUint16(table) !== 12) continue;
    for (let group = 0; group < view.getUint32(table + 12); group++) {
      const at = table + 16 + 12 * group;
      const [first, last, glyph] = [view.getUint32(at), view.getUint32(at + 4), view.getUint32(at + 8)];
      if (last - first > 0x10ffff) throw new RangeError('a range of the cmap');
      for (let code = first; code <= last; code++) glyphs.set(code, glyph + code - first);
    }
  }
  return glyphs;
}

/** Where the PNG of each glyph begins and ends. */
function picturesByGlyph(view: DataView, cblc: number, cbdt: number): Map<number, [start: number, end: number]> {
  const pictures = new Map<number, [number, number]>();
  const list = cblc + view.getUint32(cblc + 8);
  for (let i = 0; i < view.getUint32(cblc + 8 + 8); i++) {
    const [first, last] = [view.getUint16(list + 8 * i), view.getUint16(list + 8 * i + 2)];
    const table = list + view.getUint32(list + 8 * i + 4);
    const [format, imageFormat] = [view.getUint16(table), view.getUint16(table + 2)];
    const images = cbdt + view.getUint32(table + 4);
    // Small metrics are 5 bytes, big ones 8; then the length and the PNG.
    const metrics = { 17: 5, 18: 8, 19: 0 }[imageFormat];
    if (metrics === undefined || (format !== 1 && format !== 3)) continue;
    const offset = (k: number): number =>
      format === 1 ? view.getUint32(table + 8 + 4 * k) : view.getUint16(table + 8 + 2 * k);
    for (let glyph = first; glyph <= last; glyph++) {
      const k = glyph - first;
      if (offset(k + 1) === offset(k)) continue;
      const at = images + offset(k) + metrics;
      const length = view.getUint32(at);
      if (at + 4 + length > view.byteLength) throw new RangeError('a picture');
      pictures.set(glyph, [at + 4, at + 4 + length]);
    }
  }
  return pictures;
}
