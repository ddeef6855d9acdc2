/**
 * LibreOffice's help in some thirty languages (MPL-2.0), as Debian and Ubuntu package it: the paragraphs of a
 * page have the same ids in all of them.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import { debianPackage } from './debian-package.ts';

/** A paragraph or heading of a page. */
export interface HelpParagraph {
  /** The page's path below the language's folder: "text/swriter/guide/tables.html". */
  readonly page: string;
  /** The same in every language. */
  readonly id: string;
  readonly text: string;
  /** What the page's author marked, in the order of the text. */
  readonly marks: readonly HelpMark[];
}

/** A marked part of a paragraph: a menu, a key, what is to be typed. */
export interface HelpMark {
  /** [start, end) in the text, in UTF-16 units; no white space at either end. */
  readonly start: number;
  readonly end: number;
  /** Class of the HTML's span: emph, menuitem, keycode, literal, input, avis, ... */
  readonly kind: string;
}

export interface Help {
  /** Package and version. */
  readonly origin: string;
  readonly paragraphs: readonly HelpParagraph[];
}

export interface HelpOptions {
  /**
   * Texts that differ by operating system or program are in the pages several times, one after another:
   * "CommandCtrl". `usual` keeps the default one alone, "Ctrl". Default all.
   */
  readonly variants?: 'all' | 'usual';
}

/** The help in a language, by the ending of its package: "en-us", "fr", "pt-br". */
export async function libreOfficeHelp(language: string, options: HelpOptions = {}): Promise<Help> {
  const { name, version, folder } = await debianPackage(`libreoffice-help-${language}`);
  const root = join(folder, 'usr/share/libreoffice/help');
  const own = (await readdir(root)).find((each) => each.toLowerCase() === language);
  if (own === undefined) throw new Error(`${root}: the package ${name} ${version} has no pages of "${language}"`);
  const pages = (await readdir(join(root, own, 'text'), { recursive: true })).filter((path) => path.endsWith('.html'));
  const paragraphs: HelpParagraph[] = [];
  for (const path of pages.sort()) {
    const page = join('text', path);
    for (const paragraph of paragraphsOf(await readFile(join(root, own, page), 'utf8'), options))
      paragraphs.push({ page, ...paragraph });
  }
  return { origin: `${name} ${version} (MPL-2.0)`, paragraphs };
}

/**
 * Paragraphs and headings that have an id of their own, in the order of the page; of an id that comes twice,
 * the first.
 */
export function paragraphsOf(html: string, options: HelpOptions = {}): Omit<HelpParagraph, 'page'>[] {
  const { document } = parseHTML(html);
  const paragraphs = new Map<string, Omit<HelpParagraph, 'page'>>();
  for (const element of document.querySelectorAll('#DisplayArea [id]')) {
    const { id } = element;
    if (!/^(par|hd)_id/.test(id) || paragraphs.has(id)) continue;
    const read = markedText(element, options);
    if (read.text !== '') paragraphs.set(id, { id, ...read });
  }
  return [...paragraphs.values()];
}

/** Classes of variants and of what holds them. */
const variant = /^(switchinline|MAC|UNIX|WIN|WRITER|CALC|IMPRESS|DRAW|CHART|MATH|BASE)$/;

/**
 * The text of an element, each run of white space one space, and its spans. Spans of one kind that touch are
 * one: a menu's path may be put together from several.
 */
function markedText(element: Element, { variants = 'all' }: HelpOptions): Pick<HelpParagraph, 'text' | 'marks'> {
  let text = '';
  const marks: HelpMark[] = [];
  const read = (node: Element, kind: string): void => {
    for (const child of shownOf(node, variants)) {
      if (child.nodeType !== child.TEXT_NODE) {
        const { localName, className } = child as Element;
        read(child as Element, localName === 'span' && className && !variant.test(className) ? className : kind);
        continue;
      }
      const start = text.length;
      text = (text + child.textContent).replace(/\s+/g, ' ').replace(/^ /, '');
      if (kind === '' || text.length <= start) continue;
      const last = marks.at(-1);
      if (last?.kind === kind && last.end === start) marks[marks.length - 1] = { ...last, end: text.length };
      else marks.push({ start, end: text.length, kind });
    }
  };
  read(element, '');
  text = text.trimEnd();
  const trimmed = marks.map(({ start, end, kind }): HelpMark => {
    const inside = text.slice(start, end);
    return { start: start + inside.length - inside.trimStart().length, end: start + inside.trimEnd().length, kind };
  });
  return { text, marks: trimmed.filter(({ start, end }) => start < end) };
}

/**
 * The nodes below one; of variants the default one, or else the first, where only the usual one is wanted.
 */
function shownOf(node: Element, variants: 'all' | 'usual'): Node[] {
  if (variants === 'all' || !/\bswitch(inline)?\b/.test(node.className)) return [...node.childNodes];
  const all = [...node.children];
  const usual = all.find(({ id }) => id.startsWith('default')) ?? all[0];
  return usual ? [usual] : [];
}
