import { Parser } from 'htmlparser2';

/**
 * Text of an HTML document: no scripts, styles, comments or attributes; block elements and breaks become line
 * ends. `behindEnd`: with what stands behind `</html>`, as browsers show it; default true.
 */
export function htmlText(html: string, { behindEnd = true }: { readonly behindEnd?: boolean } = {}): string {
  // Comments that never end would swallow the rest, as they did in no mail reader.
  const source = html.replace(/<!--[\s\S]*?-->/g, '').replace(/<!--[^>]*>/g, '');
  const parts: string[] = [];
  let depth = 0;
  let silent = 0; // of these elements, those inside of a silent one, it included
  let ended = false;
  const add = (text: string): void => {
    if (silent === 0 && !ended) parts.push(text);
  };
  const parser = new Parser({
    onopentag: (name) => {
      depth++;
      if (silent > 0 || SILENT.has(name)) silent++;
      add(INLINE.has(name) ? '' : '\n');
    },
    ontext: add,
    onclosetag: (name) => {
      add(INLINE.has(name) ? '' : '\n');
      if (silent > 0) silent--;
      if (--depth === 0) ended = !behindEnd;
    },
  });
  parser.end(`<html><body>${source}</body></html>`);
  return parts.join('');
}

const SILENT = new Set(['script', 'style', 'title', 'noscript', 'template', 'object', 'select']);
const INLINE = new Set(
  (
    'a abbr acronym b basefont bdo big blink cite code del em font i ins kbd label mark nobr q s samp small span ' +
    'strike strong sub sup tt u var wbr'
  ).split(' '),
);
