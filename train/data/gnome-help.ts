/**
 * GNOME's help (CC-BY-SA-3.0), as Debian and Ubuntu package it: each page says in a line what it is about.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DOMParser } from 'linkedom';
import { debianPackage } from './debian-package.ts';

export interface HelpPage {
  /** Path below the help's folder: "gnome-help/clock-timezone.page". */
  readonly page: string;
  /** What the page says of itself, in a line. */
  readonly summary: string;
  /** Its paragraphs, list items and the titles of its sections, a line each; not its own title. */
  readonly text: string;
}

/** The English pages. */
export async function gnomeHelp(): Promise<{ readonly origin: string; readonly pages: readonly HelpPage[] }> {
  const { name, version, folder } = await debianPackage('gnome-user-docs');
  const root = join(folder, 'usr/share/help/C');
  const names = (await readdir(root, { recursive: true })).filter((path) => path.endsWith('.page')).sort();
  const pages: HelpPage[] = [];
  for (const page of names) {
    const read = readPage(await readFile(join(root, page), 'utf8'));
    if (read) pages.push({ page, ...read });
  }
  return { origin: `${name} ${version}`, pages };
}

/** A page of Mallard, GNOME's markup; undefined where it has no description or no text. */
export function readPage(xml: string): Omit<HelpPage, 'page'> | undefined {
  const document = new DOMParser().parseFromString(xml, 'text/xml');
  const page = document.querySelector('page');
  const info = page?.querySelector('info');
  const plain = (element: { readonly textContent: string | null } | null | undefined): string =>
    (element?.textContent ?? '').replace(/\s+/g, ' ').trim();
  const summary = plain(info?.querySelector('desc'));
  const title = [...(page?.children ?? [])].find(({ localName }) => localName === 'title');
  const lines: string[] = [];
  for (const element of page?.querySelectorAll('title, p') ?? []) {
    if (element === title || info?.contains(element)) continue;
    const line = plain(element);
    if (line !== '') lines.push(line);
  }
  return summary === '' || lines.length === 0 ? undefined : { summary, text: lines.join('\n') };
}
