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
}

export interface Help {
  /** Package and version. */
  readonly origin: string;
  readonly paragraphs: readonly HelpParagraph[];
}

/** The help in a language, by the ending of its package: "en-us", "fr", "pt-br". */
export async function libreOfficeHelp(language: string): Promise<Help> {
  const { name, version, folder } = await debianPackage(`libreoffice-help-${language}`);
  const root = join(folder, 'usr/share/libreoffice/help');
  const own = (await readdir(root)).find((each) => each.toLowerCase() === language);
  if (own === undefined) throw new Error(`${root}: the package ${name} ${version} has no pages of "${language}"`);
  const pages = (await readdir(join(root, own, 'text'), { recursive: true })).filter((path) => path.endsWith('.html'));
  const paragraphs: HelpParagraph[] = [];
  for (const path of pages.sort()) {
    const page = join('text', path);
    for (const paragraph of paragraphsOf(await readFile(join(root, own, page), 'utf8')))
      paragraphs.push({ page, ...paragraph });
  }
  return { origin: `${name} ${version}`, paragraphs };
}

/**
 * Paragraphs and headings that have an id of their own, in the order of the page; of an id that comes twice,
 * the first.
 */
export function paragraphsOf(html: string): Omit<HelpParagraph, 'page'>[] {
  const { document } = parseHTML(html);
  const texts = new Map<string, string>();
  for (const element of document.querySelectorAll('#DisplayArea [id]')) {
    const text = (element.textContent ?? '').replace(/\s+/g, ' ').trim();
    if (/^(par|hd)_id/.test(element.id) && text !== '' && !texts.has(element.id)) texts.set(element.id, text);
  }
  return Array.from(texts, ([id, text]) => ({ id, text }));
}
