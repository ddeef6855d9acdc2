import { parseHTML } from 'linkedom';

/**
 * Text of an HTML document: no scripts, styles, comments or attributes; block elements and breaks become line
 * ends.
 */
export function htmlText(html: string): string {
  // Comments that never end would swallow the rest, as they did in no mail reader.
  const source = html.replace(/<!--[\s\S]*?-->/g, '').replace(/<!--[^>]*>/g, '');
  // Without a document around it the parser keeps only the first element.
  const { document } = parseHTML(`<!doctype html><html><body>${source}</body></html>`);
  const parts: string[] = [];
  const walk = (node: Node): void => {
    if (node.nodeType === 3) parts.push(node.textContent ?? '');
    const name = node.nodeName.toLowerCase();
    if (node.nodeType !== 1 || SILENT.has(name)) return;
    const edge = INLINE.has(name) ? '' : '\n';
    parts.push(edge);
    for (const child of node.childNodes) walk(child);
    parts.push(edge);
  };
  walk(document.documentElement);
  return parts.join('');
}

const SILENT = new Set(['script', 'style', 'title', 'noscript', 'template', 'object', 'select']);
const INLINE = new Set(
  (
    'a abbr acronym b basefont bdo big blink cite code del em font i ins kbd label mark nobr q s samp small span ' +
    'strike strong sub sup tt u var wbr'
  ).split(' '),
);
