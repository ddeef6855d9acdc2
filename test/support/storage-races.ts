const barrier = /\b(workgroupBarrier|workgroupUniformLoad)\b/g;

/**
 * Storage buffers that a kernel both reads and writes, and not all behind its last barrier. The function
 * `workgroupBarrier` orders workgroup memory alone, so what one thread writes there another one may read too
 * early or too late. A kernel needs a `storageBarrier`, or no thread may touch what is another's. Reads the
 * text of the WGSL.
 */
export function readAndWritten(wgsl: string): string[] {
  const barriers = [...wgsl.matchAll(barrier)].map(({ index }) => index);
  if (barriers.length === 0 || /\bstorageBarrier\b/.test(wgsl)) return [];
  const loops = loopsOf(wgsl).filter(([from, to]) => barriers.some((at) => at > from && at < to));
  const isBefore = (at: number): boolean => at < barriers.at(-1)! || loops.some(([from, to]) => at > from && at < to);
  const found = [...wgsl.matchAll(/var<storage, *read_write> *(\w+)/g)].map(([, name]) => name!);
  return found.filter((name) => {
    let [reads, writes, before] = [false, false, false];
    for (const { index } of wgsl.matchAll(new RegExp(`(?<![.\\w])${name}(?=\\[)`, 'g'))) {
      const rest = wgsl.slice(endOfIndices(wgsl, index + name.length)).trimStart();
      const isPlain = /^=(?!=)/.test(rest);
      const isUpdate = /^([-+*/%&|^]|<<|>>)=|^(\+\+|--)/.test(rest);
      writes ||= isPlain || isUpdate;
      reads ||= !isPlain;
      before ||= isBefore(index);
    }
    // Handed to a function by its address.
    for (const { 1: call, index } of wgsl.matchAll(new RegExp(`(\\w+)(?:<[^;()]*>)?\\(&${name}\\b`, 'g'))) {
      writes ||= call === 'subgroupMatrixStore' || call!.startsWith('atomic');
      reads ||= call !== 'subgroupMatrixStore';
      before ||= isBefore(index);
    }
    return reads && writes && before;
  });
}

/** Where each loop begins and ends. */
function loopsOf(text: string): (readonly [from: number, to: number])[] {
  return [...text.matchAll(/\b(for|while|loop)\b/g)].map(({ index }) => {
    let at = text.indexOf('{', index);
    for (let depth = 0; at < text.length; at++) {
      if (text[at] === '{') depth++;
      if (text[at] === '}' && --depth === 0) break;
    }
    return [index, at] as const;
  });
}

/** Where the indices and components behind a name end: of `x[i][j].y = 1` behind `.y`. */
function endOfIndices(text: string, from: number): number {
  let at = from;
  for (;;) {
    const component = /^\.[a-z_]\w*/.exec(text.slice(at));
    if (component) at += component[0].length;
    else if (text[at] === '[') {
      let depth = 0;
      do {
        if (text[at] === '[') depth++;
        if (text[at] === ']') depth--;
        at++;
      } while (depth > 0 && at < text.length);
    } else return at;
  }
}
