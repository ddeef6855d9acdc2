import ts from 'typescript';

/** Columns of the widest line that holds code, and of the widest that holds a comment alone. */
const widest = { code: 120, comment: 110 } as const;

/** A line with more columns than it may have; lines count from 1. */
export interface WideLine {
  readonly line: number;
  readonly columns: number;
  readonly limit: number;
}

export interface LineFacts {
  /** Lines that hold code: no blank lines, no lines of comments alone. */
  readonly code: number;
  readonly tooWide: readonly WideLine[];
}

/** Counts a file's lines of code and finds its lines that are too wide. */
export function lineFacts(source: ts.SourceFile): LineFacts {
  const lines = source.text.split('\n');
  const hasCode = new Uint8Array(lines.length);
  const visit = (node: ts.Node): void => {
    if (ts.isJSDoc(node)) return;
    const children = node.getChildren(source);
    if (children.length > 0) return children.forEach(visit);
    if (node.getEnd() === node.getStart(source)) return;
    const first = source.getLineAndCharacterOfPosition(node.getStart(source)).line;
    const last = source.getLineAndCharacterOfPosition(node.getEnd()).line;
    hasCode.fill(1, first, last + 1);
  };
  visit(source);
  return {
    code: lines.filter((line, i) => hasCode[i] === 1 && line.trim() !== '').length,
    tooWide: wideLines(lines, (i) => (hasCode[i] ? widest.code : widest.comment)),
  };
}

/** The lines that are wider than they may be: by default each as wide as code. */
export function wideLines(lines: readonly string[], limitOf: (i: number) => number = () => widest.code): WideLine[] {
  return lines
    .map((text, i) => ({ line: i + 1, columns: [...text].length, limit: limitOf(i) }))
    .filter(({ columns, limit }) => columns > limit);
}
