import { escapeHtml } from '../../common/markup.ts';
import { sha256 } from '../../common/sha256.ts';

/** What a page adds to what all of them have. */
export interface HtmlPage {
  readonly title: string;
  /** HTML. */
  readonly body: string;
  readonly style: string;
  readonly script: string;
  /** Lets the script ask the server that the page comes from. Default false. */
  readonly asksServer?: boolean;
}

/**
 * One HTML file that needs no other; its policy (CSP) lets a browser load nothing and run no script but the
 * page's own. `body` is all between its tags.
 */
export function standalonePage({ title, body, style, script, asksServer = false }: HtmlPage): string {
  const hash = btoa(String.fromCharCode(...sha256([script])));
  const server = asksServer ? "; connect-src 'self'" : '';
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'${server}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${escapeHtml(title)}</title>
<style>${style}</style></head><body>
${body}
<script>${script}</script>
</body></html>
`;
}

/**
 * A page below its title: light or dark as the reader's system is, with a line at the bottom, `#said`, that
 * scripts write to and screen readers read out.
 */
export const htmlPage = ({ title, body, style, script }: HtmlPage): string =>
  standalonePage({
    title,
    body: `<main>
<h1>${escapeHtml(title)}</h1>
${body}
</main>
<p id="said" role="status" aria-live="polite"></p>`,
    style: `${baseStyle}${style}`,
    script,
  });

/** Orange and blue are told apart by the colour-blind. */
const baseStyle = `
:root { color-scheme: light dark; --ink: #1f2328; --paper: #fff; --line: #8c959f;
  --for: 230 120 0; --against: 0 114 178; }
@media (prefers-color-scheme: dark) { :root { --ink: #f0f3f6; --paper: #14171b; --line: #7d8590; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
main { max-width: 60rem; margin: 0 auto; padding: 1rem 1rem 5rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .25rem; } small { font-weight: normal; }
fieldset { border: 1px solid var(--line); border-radius: .4rem; display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
td, th { border: 1px solid var(--line); padding: .15rem .6rem; } th { text-align: left; }
td { text-align: right; font-variant-numeric: tabular-nums; }
:focus-visible { outline: 2px solid var(--ink); outline-offset: 2px; }
#said { position: fixed; inset: auto 0 0; margin: 0; padding: .5rem 1rem; min-height: 2.5rem; text-align: center;
  background: var(--paper); border-top: 1px solid var(--line); }
`;
