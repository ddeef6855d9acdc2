/**
 * The style of all pages. Colours of curves are told apart by the colour-blind too (Okabe and Ito, 2008), as
 * are their dashes.
 */
export const pageStyle = `
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --paper: #f6f8fa; --card: #fff; --line: #d1d9e0;
  --grid: #e7ebef; --c0: #0072b2; --c1: #c75300; --c2: #00795a; --c3: #a6437b; --c4: #846700; --c5: #5b5bd0;
  --right: 0 114 178; --wrong: 213 94 0; }
@media (prefers-color-scheme: dark) { :root { --ink: #f0f3f6; --soft: #a9b1ba; --paper: #0d1117; --card: #161b22;
  --line: #3d444d; --grid: #262c34; --c0: #56b4e9; --c1: #ff9d4d; --c2: #2fc99a; --c3: #f091c9; --c4: #e6c340;
  --c5: #b3b3ff; --right: 86 180 233; --wrong: 255 157 77; } }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  color: var(--ink); background: var(--paper); }
main { max-width: 82rem; margin: 0 auto; padding: 1rem clamp(.75rem, 3vw, 2rem) 4rem; }
h1 { font-size: 1.5rem; margin: .5rem 0 0; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin: 0; }
h3 { font-size: 1rem; margin: 1rem 0 .5rem; } .card > h3 { margin-top: 0; }
small { font-weight: normal; color: var(--soft); }
section { margin-top: 2rem; } section > svg { max-width: 100%; height: auto; }
p { margin: .25rem 0 .75rem; } .hint, .about { color: var(--soft); font-size: .875rem; }
header { display: flex; justify-content: space-between; align-items: center; gap: 1rem; margin-bottom: .5rem; }
code, pre { font: .85em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem; }
code { overflow-wrap: anywhere; } .wrap { white-space: pre-wrap; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0 0; }
.tiles > div, .chart, .card { --behind: var(--card); background: var(--behind); border: 1px solid var(--line);
  border-radius: .5rem; padding: .75rem; min-width: 0; }
dt { color: var(--soft); font-size: .8rem; overflow-wrap: anywhere; }
dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.3; }
dd small { font-size: .8rem; display: block; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: .75rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); gap: .75rem;
  align-items: start; }
.stack { display: grid; gap: .75rem; min-width: 0; }
.chart { margin: 0; } figcaption { display: flex; align-items: baseline; gap: .75rem; font-weight: 600; }
figcaption > :first-child { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.place { font-weight: normal; font-size: .8rem; color: var(--soft); font-variant-numeric: tabular-nums; }
button { font: inherit; font-size: .8rem; color: var(--ink); background: none; border: 1px solid var(--line);
  border-radius: .35rem; padding: .1rem .5rem; cursor: pointer; min-height: 1.75rem; }
figcaption button[aria-pressed=true] { background: var(--ink); color: var(--card); }
.key { display: flex; flex-wrap: wrap; gap: .1rem .75rem; margin-top: .25rem; }
.key button { border-color: transparent; padding: 0 .25rem; text-align: left; overflow-wrap: anywhere;
  max-width: 100%; }
.key button[aria-pressed=false] { text-decoration: line-through; color: var(--soft); }
.key output { font-weight: 600; font-variant-numeric: tabular-nums; } .key svg { vertical-align: middle; }
.plot { min-height: 190px; cursor: crosshair; touch-action: pan-y; user-select: none; border-radius: .25rem; }
.plot svg { display: block; } .plot text { font-size: 12px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.line { fill: none; stroke: var(--color); stroke-width: 2; stroke-linejoin: round; }
.faint { stroke-width: 1; opacity: .35; } .band { fill: var(--color); opacity: .18; }
:is(.plot, .key, .reliability) circle { fill: var(--color); stroke: var(--card); stroke-width: 1; }
.grid { stroke: var(--grid); } .mark { stroke: var(--soft); stroke-dasharray: 2 3; } .here { stroke: var(--soft); }
.over rect { fill: var(--ink); opacity: .12; }
:focus-visible { outline: 2px solid var(--c0); outline-offset: 2px; }
details { margin-top: .25rem; } summary { cursor: pointer; font-size: .875rem; color: var(--soft); }
.scroll { overflow: auto; } details .scroll { max-height: 24rem; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: .3rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid); }
th { font-weight: 600; } thead th { color: var(--soft); white-space: nowrap; }
.numbers tbody th { min-width: 8rem; overflow-wrap: anywhere; }
.numbers th:first-child { position: sticky; left: 0; background: var(--behind, var(--paper)); }
.numbers th:not(:first-child), .numbers td { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.facts { width: 100%; } .facts th { white-space: nowrap; font-weight: normal; color: var(--soft); width: 1%; }
.facts td { overflow-wrap: anywhere; }
.confusion td { text-align: center; min-width: 4rem; border: 2px solid var(--card); font-variant-numeric: tabular-nums;
  background: rgb(var(--wrong) / calc(.55 * var(--share))); }
.confusion .hit { background: rgb(var(--right) / calc(.55 * var(--share))); }
.confusion small { color: inherit; display: block; }
.confusion th { border: 0; } .confusion th[scope=col] { text-align: center; }
.reliability { width: 100%; max-width: 26rem; height: auto; display: block; }
.reliability text { font-size: 11px; fill: var(--soft); } .reliability .bar { fill: rgb(var(--right) / .55); }
.reliability .gap { stroke: rgb(var(--wrong)); }
.reliability .count { fill: var(--soft); opacity: .5; } .reliability circle { fill: rgb(var(--right)); }
.diagonal { stroke: var(--soft); stroke-dasharray: 4 3; fill: none; }
.samples { list-style: none; margin: 0; padding: 0; display: grid; gap: .5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.samples li { background: var(--card); border: 1px solid var(--line); border-left: .35rem solid var(--line);
  border-radius: .35rem; padding: .5rem .75rem; overflow-wrap: anywhere; }
.samples .right { border-left-color: rgb(var(--right)); }
.samples .wrong { border-left: .35rem double rgb(var(--wrong)); }
.samples p { margin: 0; } .samples small { display: block; }
.samples .text { color: var(--soft); white-space: pre-line; }
@media (max-width: 480px) { dd { font-size: 1.1rem; }
  .facts th, .facts td { display: block; width: auto; white-space: normal; border: 0; padding: .1rem 0; }
  .facts tr { display: block; border-bottom: 1px solid var(--grid); padding: .25rem 0; } }
@media print { .tools, .hint { display: none; } body { background: none; } }
`;
