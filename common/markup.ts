// What comes from data (labels, texts, names of files, commands) inside of pages that the project writes.
import { printable } from './printable.ts';

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text inside HTML or SVG, in an attribute too. */
export function escapeHtml(text: string): string {
  return printable(text).replace(/[&<>"']/g, (character) => entities[character]!);
}

/**
 * Text on one line of Markdown, in a cell of a table too: neither markup nor HTML comes out of it.
 * `escapeMarkdown('a|b <b>')` is `a\|b &lt;b&gt;`.
 */
export function escapeMarkdown(text: string): string {
  return printable(text)
    .replace(/[\\`*_{}[\]|~!]/g, '\\$&')
    .replace(/^(\s*\d*)([#+=.)-])/, '$1\\$2')
    .replace(/[&<>]/g, (character) => entities[character]!);
}

/** Text as code inside a line of Markdown; in a table's cell, `|` would end it. */
export function codeSpan(text: string, { inTable = false } = {}): string {
  const code = printable(text).replaceAll('`', "'");
  return `\`${inTable ? code.replaceAll('|', '\\|') : code}\``;
}

/** Lines of code in Markdown, within a fence that none of them closes. */
export function codeBlock(text: string): string[] {
  const longest = (text.match(/`+/g) ?? []).reduce((most, run) => Math.max(most, run.length), 2);
  const fence = '`'.repeat(longest + 1);
  return [fence, ...text.split('\n').map(printable), fence];
}
