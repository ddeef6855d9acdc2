// Tokens as a tree of words, phrases and sentences, as shap's Text masker clusters them
// (shap.maskers._text.partition_tree).

/** A node of the tree: a token, or two neighbouring nodes. */
export interface TokenGroup {
  /** Features below: [first, stop). */
  readonly first: number;
  readonly stop: number;
  /** undefined for a token. */
  readonly parts?: readonly [TokenGroup, TokenGroup];
  /** A group that is not taken apart: pieces of one word. */
  readonly isWhole: boolean;
}

/** A token as the tree sees it. */
export interface TreeToken {
  /** Its text; that of a piece that goes on with a word begins with ##. */
  readonly text: string;
  /** Which of two texts it is of. */
  readonly side: number;
}

interface Draft extends TokenGroup {
  readonly tokens: readonly TreeToken[];
}

/** How readily neighbours become one group: pieces of a word first, then short groups within a sentence. */
function mergeScore(a: Draft, b: Draft, open: ReadonlySet<TreeToken>): number {
  const [firstOfA, lastOfA] = [a.tokens[0]!, a.tokens.at(-1)!];
  const [firstOfB, lastOfB] = [b.tokens[0]!, b.tokens.at(-1)!];
  if (lastOfA.side !== firstOfB.side) return -Infinity;
  const isEnding = (text: string | undefined): boolean => text === 't' || text === 's';
  const isControl = ({ text }: TreeToken): boolean => text.startsWith('[') && text.endsWith(']');
  let score = -(a.tokens.length + b.tokens.length);
  if (firstOfB.text.startsWith('##')) score += 20;
  if (firstOfB.text === "'" && (b.tokens.length === 1 || (b.tokens.length === 2 && isEnding(b.tokens[1]!.text))))
    score += 15;
  if (lastOfA.text === "'" && isEnding(firstOfB.text)) score += 15;
  if (isControl(firstOfA) !== isControl(lastOfB)) score -= 1000;
  if (firstOfB.text === '(' && open.has(firstOfB)) score -= 100;
  if (lastOfA.text === ')' && open.has(lastOfA)) score -= 100;
  if (firstOfA.text === '(') score -= 2;
  const connectors = ['but', 'and', 'or'];
  if (connectors.includes(lastOfA.text) || connectors.includes(firstOfB.text)) score -= 2;
  if (lastOfA.text === ',') score -= 10;
  if (firstOfB.text === ',') score -= b.tokens.length > 1 ? 10 : 1;
  if (/^[.?!]$/.test(lastOfA.text)) score -= 20;
  if (/^[.?!]$/.test(firstOfB.text)) score -= b.tokens.length > 1 ? 20 : 1;
  return score;
}

/** The tree over tokens in their order; neighbours that go together best are joined first. */
export function tokenHierarchy(tokens: readonly TreeToken[]): TokenGroup {
  // Brackets whose partner is not in their group yet.
  const open = new Set(tokens.filter(({ text }) => text === '(' || text === ')'));
  const groups = tokens.map((token, i): Draft => ({ first: i, stop: i + 1, isWhole: false, tokens: [token] }));
  const scores = groups.slice(1).map((group, i) => mergeScore(groups[i]!, group, open));
  while (groups.length > 1) {
    const at = scores.indexOf(Math.max(...scores));
    const [a, b] = [groups[at]!, groups[at + 1]!];
    const joined: Draft = {
      first: a.first,
      stop: b.stop,
      parts: [a, b],
      isWhole: scores[at]! > 10,
      tokens: [...a.tokens, ...b.tokens],
    };
    const [first, last] = [joined.tokens[0]!, b.tokens.at(-1)!];
    const isBalanced = first.text === '(' && last.text === ')' && (open.has(first) || open.has(last));
    if (isBalanced) {
      open.delete(first);
      open.delete(last);
    }
    groups.splice(at, 2, joined);
    scores.splice(at, 1);
    // A bracket may stand at the edge of any group, whose scores then change too.
    for (const i of isBalanced ? scores.keys() : [at - 1, at])
      if (i >= 0 && i < scores.length) scores[i] = mergeScore(groups[i]!, groups[i + 1]!, open);
  }
  return groups[0]!;
}
