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
  `^${QUOTE}(?:--\\s*\\n${QUOTE})?Irish Linux Users' Group.*(?:\\n${QUOTE}.*/listinfo/.*)?(?:\\n${QUOTE}List maintainer:.*)?`,
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
