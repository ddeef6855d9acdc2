import PostalMime from 'postal-mime';
import { htmlText } from './html-text.ts';

/**
 * The text a reader of an e-mail sees, on one line: the text/plain part, else the text of the HTML part; MIME
 * structure, transfer encodings and character sets decoded; no headers, no attachments, no footers of mailing
 * lists. '' where there is no text.
 */
export async function emailBody(message: string): Promise<string> {
  // U+FFFD stands where an earlier reader lost the bytes: nothing is left to decode there.
  const source = message.replaceAll('\uFFFD', '');
  const email = await PostalMime.parse(source);
  const plain = readable(email.text ?? '');
  const html = email.html ? readable(mailText(email.html)) : '';
  // A plain part much shorter than the HTML one is a stub ("This is an HTML message!").
  return (plain.length * 2 < html.length ? html : plain) || readable(rawBody(source));
}

/** What servers append behind the end of a document names the list or the free mailer, and so the class. */
const mailText = (html: string): string => htmlText(html, { behindEnd: false });

/**
 * Whitespace folded to single spaces; HTML that was sent as plain text stripped; '' where no letter or digit
 * is left.
 */
function readable(text: string): string {
  const body = text.replace(/^\s*--\S+\s+(?=content-)/i, '').replace(PART_HEADERS, '');
  const stripped = /<(html|body|table|font|div|p|br)\b[^>]*>/i.test(body) ? mailText(body) : body;
  // Controls, zero-width characters and U+FFFD (a part that names the wrong character set) carry nothing a
  // tokenizer keeps.
  const folded = withoutListFooters(stripped)
    .replaceAll('\uFFFD', '')
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim();
  return /[\p{L}\p{N}]/u.test(folded) ? folded : '';
}

/**
 * Returns the body of a message whose MIME structure is broken, without boundaries and part headers.
 */
function rawBody(message: string): string {
  const [, ...blocks] = message.split(/\r?\n\r?\n/);
  return blocks.map((block) => block.replace(/^--.*$/gm, '').replace(PART_HEADERS, '')).join('\n\n');
}

/** Headers of a MIME part at the beginning of a text. */
const PART_HEADERS = /^\s*(content-[a-z-]+:.*(\r?\n[ \t]+\S.*)*(\r?\n|$))+/i;

// A footer may come quoted in a reply.
const QUOTE = '(?:[>|] ?)*[ \\t]*';

/**
 * The lines that list servers append to every message of a list. In a corpus whose two classes came over
 * different lists they tell the class without a look at the message.
 */
const FOOTERS = [
  // SourceForge: a rule, "This sf.net email is sponsored by", the advertisement up to the next rule or blank
  // line.
  `^${QUOTE}-{20,}\\s*\\n${QUOTE}This sf\\.net email is sponsored.*(?:\\n(?!${QUOTE}(?:_{20,}.*)?$).*)*`,
  // Mailman: a rule, "X mailing list", its address, its page.
  `^${QUOTE}_{20,}\\s*\\n${QUOTE}.*mailing list.*(?:\\n${QUOTE}<?\\S+@\\S+>?[ \\t]*$)?(?:\\n${QUOTE}.*/listinfo.*)?`,
  // Lists of the Irish Linux Users' Group.
  `^${QUOTE}(?:--\\s*\\n${QUOTE})?Irish Linux Users' Group.*(?:\\n${QUOTE}.*/listinfo/.*)?(?:\\n${QUOTE}List ` +
    'maintainer:.*)?',
  // Yahoo Groups: the advertisement between two rules, the way out, the terms.
  `^${QUOTE}-+ Yahoo! Groups Sponsor -+~-->[^]*?-+~->`,
  `^${QUOTE}To unsubscribe from this group, send an email to:\\s*\\n.*`,
  `^${QUOTE}Your use of Yahoo! Groups is subject to.*`,
  // Any list: its page alone on a line, and the part boundary of the SpamAssassin-Sightings list.
  `^${QUOTE}https?://\\S+/listinfo/\\S+\\s*$`,
  `^-*(?:DeathToSpam)+-*$`,
].map((source) => new RegExp(source, 'gim'));

/** The text without the footers of mailing lists, its lines otherwise as they were. */
export function withoutListFooters(text: string): string {
  return FOOTERS.reduce((rest, footer) => rest.replace(footer, ''), text.replaceAll('\r\n', '\n'));
}
