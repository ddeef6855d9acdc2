// The page: what is seen and pressed. What is computed is in fine-tune.ts.
import { init, memoryFolder } from '../../index.browser.ts';
import { acquire } from '../../gpu/index.ts';
import { drawChart } from './chart.ts';
import { archive, labelsOf, read, resumeRun, startRun, train } from './fine-tune.ts';
import type { Reading, Run } from './fine-tune.ts';
import { modelFiles, sample } from './sample.ts';
import { readRows } from './table.ts';

const by = <E extends Element>(id: string): E => document.querySelector<E>(`#${id}`)!;
const texts = by<HTMLTextAreaElement>('texts');
const buttons = {
  start: by<HTMLButtonElement>('start'),
  stop: by<HTMLButtonElement>('stop'),
  resume: by<HTMLButtonElement>('resume'),
  download: by<HTMLButtonElement>('download'),
};
const ask = by<HTMLInputElement>('ask');
const chart = by<SVGSVGElement>('chart');
const state = by<HTMLElement>('state');

/** Where the run is kept in the page's own storage. */
const folder = 'run';

let run: Run | undefined;
let isTraining = false;
let isStopped = false;
let isReady = false;

function tell(error: unknown): void {
  by('problem').textContent = error instanceof Error ? error.message : String(error);
}

/** Runs what a button asks for; its errors are told in the page. */
const doing = (work: () => Promise<void>) => (): void => {
  by('problem').textContent = '';
  work().catch(tell);
};

let base: Promise<string> | undefined;
/** The base model, fetched once. */
function baseModel(): Promise<string> {
  base ??= Promise.all(
    modelFiles.map(async (name): Promise<[string, Blob]> => {
      const response = await fetch(`./model/${name}`);
      if (!response.ok) throw new Error(`model/${name} is not beside this page (HTTP ${response.status})`);
      return [name, await response.blob()];
    }),
  ).then((files) => memoryFolder(new Map(files)));
  base.catch(() => (base = undefined));
  return base;
}

function summarise(): void {
  const summary = by<HTMLElement>('summary');
  summary.classList.remove('fault');
  try {
    const rows = readRows(texts.value);
    const counts = labelsOf(rows).map((label) => `${label} ${rows.filter((row) => row.label === label).length}`);
    const shown = counts.length > 6 ? `${counts.slice(0, 6).join(', ')}, ...` : counts.join(', ');
    summary.textContent = `${rows.length} texts, ${counts.length} labels: ${shown}`;
  } catch (error) {
    summary.textContent = (error as Error).message;
    summary.classList.toggle('fault', texts.value.trim() !== '');
  }
  refresh();
}

function hasRows(): boolean {
  try {
    return readRows(texts.value).length > 0;
  } catch {
    return false;
  }
}

function refresh(): void {
  const done = run?.curve.losses.length ?? 0;
  const isOpen = run !== undefined && done < run.steps;
  buttons.start.disabled = !isReady || isTraining || !hasRows();
  buttons.start.textContent = run ? 'Start anew' : 'Start';
  buttons.stop.disabled = !isTraining;
  buttons.resume.hidden = !isOpen || isTraining;
  buttons.download.disabled = run === undefined || isTraining;
  ask.disabled = run === undefined || isTraining;
}

function showStep(): void {
  if (!run) return;
  const { curve, steps } = run;
  const { losses, accuracies } = curve;
  drawChart(chart, curve, steps);
  by<HTMLProgressElement>('progress').value = losses.length / steps;
  const accuracy = accuracies.at(-1);
  const right = accuracy ? `, ${Math.round(100 * accuracy.value)}% of the held-out texts right` : '';
  state.textContent = `Step ${losses.length} of ${steps}: loss ${losses.at(-1)?.toFixed(3) ?? '-'}${right}`;
}

/** A number of a field within its bounds. */
function numberOf(id: string): number {
  const field = by<HTMLInputElement>(id);
  const value = Number(field.value);
  if (field.value === '' || !field.checkValidity())
    throw new Error(`${field.labels![0]!.innerText.trim()}: ${field.validationMessage}`);
  return value;
}

async function trainOn(): Promise<void> {
  const current = run!;
  isTraining = true;
  isStopped = false;
  refresh();
  showStep();
  if (current.curve.losses.length === 0) state.textContent = 'Compiling kernels ...';
  try {
    await train(current, folder, showStep, () => isStopped);
  } finally {
    isTraining = false;
    refresh();
  }
  if (isStopped) buttons.resume.focus();
  showStep();
  state.textContent += current.curve.losses.length < current.steps ? '; stopped, and saved' : '; done, and saved';
  await answer();
}

buttons.start.addEventListener(
  'click',
  doing(async () => {
    const settings = {
      epochs: numberOf('epochs'),
      batchSize: numberOf('batch'),
      learningRate: numberOf('rate'),
      seed: 1,
    };
    state.textContent = 'Loading the model ...';
    buttons.start.disabled = true;
    try {
      run = await startRun(await baseModel(), texts.value, settings);
    } finally {
      refresh();
    }
    await trainOn();
  }),
);
buttons.stop.addEventListener('click', () => {
  isStopped = true;
  buttons.stop.disabled = true;
});
buttons.resume.addEventListener('click', doing(trainOn));
buttons.download.addEventListener(
  'click',
  doing(async () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([await archive(run!)], { type: 'application/zip' }));
    link.download = 'my-model.zip';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }),
);

// -- asking

let reading: Reading | undefined;
let chosen = 0;
let asked = 0;

async function answer(): Promise<void> {
  const number = ++asked;
  if (!run || isTraining || ask.value.trim() === '') return;
  const found = await read(run, ask.value);
  if (number !== asked) return; // typed on meanwhile
  reading = found;
  const { labels } = run.model.config;
  const order = [...labels.keys()].sort((a, b) => found.probabilities[b]! - found.probabilities[a]!).slice(0, 8);
  by('answers').replaceChildren(
    ...order.map((i) => {
      const percent = `${(100 * found.probabilities[i]!).toFixed(1)}%`;
      const [item, name, bar, share] = [...'li span div span'.split(' ')].map((tag) => document.createElement(tag));
      const fill = document.createElement('i');
      fill.style.width = percent;
      name!.className = 'name';
      name!.textContent = labels[i]!;
      bar!.className = 'bar';
      bar!.append(fill);
      share!.className = 'share';
      share!.textContent = percent;
      item!.append(name!, bar!, share!);
      return item!;
    }),
  );
  chosen = Math.min(chosen, found.tokens.length - 1);
  fillChoice('layer', found.attention.length);
  fillChoice('head', found.attention[0]!.length);
  by<HTMLElement>('attention').hidden = false;
  showAttention();
}

/** The mean of all, or one, counted from 1. */
function fillChoice(id: string, count: number): void {
  const select = by<HTMLSelectElement>(id);
  if (select.options.length === count + 1) return;
  select.replaceChildren(
    ...['all', ...Array.from({ length: count }, (_, i) => String(i + 1))].map((name) => new Option(name)),
  );
}

function showAttention(): void {
  if (!reading) return;
  const { tokens, attention } = reading;
  const pick = <T>(list: readonly T[], id: string): readonly T[] => {
    const i = by<HTMLSelectElement>(id).selectedIndex;
    return i > 0 ? [list[i - 1]!] : list;
  };
  const maps = pick(attention, 'layer').flatMap((heads) => pick(heads, 'head'));
  const weights = tokens.map((_, to) => maps.reduce((sum, map) => sum + map[chosen]![to]!, 0) / maps.length);
  const most = Math.max(...weights);
  const place = by('tokens');
  if (place.children.length !== tokens.length)
    place.replaceChildren(
      ...tokens.map((_, i) => {
        const button = document.createElement('button');
        button.type = 'button';
        button.addEventListener('click', () => {
          chosen = i;
          showAttention();
        });
        return button;
      }),
    );
  tokens.forEach((token, i) => {
    const button = place.children[i] as HTMLButtonElement;
    button.textContent = token;
    button.setAttribute('aria-pressed', String(i === chosen));
    button.style.setProperty('--share', (weights[i]! / most).toFixed(3));
    button.title = `${(100 * weights[i]!).toFixed(1)}%`;
  });
  const top = [...weights.keys()].sort((a, b) => weights[b]! - weights[a]!).slice(0, 3);
  const shares = top.map((i) => `${tokens[i]!} ${(100 * weights[i]!).toFixed(0)}%`);
  by('attended').textContent = `${tokens[chosen]!} attends to ${shares.join(', ')}`;
}

let waiting = 0;
ask.addEventListener('input', () => {
  clearTimeout(waiting);
  waiting = setTimeout(doing(answer), 250) as unknown as number;
});
for (const id of ['layer', 'head']) by(id).addEventListener('change', showAttention);

// -- texts

async function open(file: File | undefined): Promise<void> {
  if (!file) return;
  texts.value = await file.text();
  summarise();
}
texts.addEventListener('input', summarise);
by('sample').addEventListener('click', () => {
  texts.value = sample;
  summarise();
});
by<HTMLInputElement>('file').addEventListener('change', ({ target }) => {
  open((target as HTMLInputElement).files?.[0]).catch(tell);
});
for (const [name, isOver] of [
  ['dragover', true],
  ['dragleave', false],
  ['drop', false],
] as const)
  texts.addEventListener(name, (event) => {
    texts.classList.toggle('over', isOver);
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    if (name === 'drop') open(event.dataTransfer.files[0]).catch(tell);
  });

// -- begin

new ResizeObserver(() => {
  if (run) drawChart(chart, run.curve, run.steps);
  else drawChart(chart, { losses: [], accuracies: [] }, 1);
}).observe(chart);
summarise();
doing(async () => {
  await init().catch((error: unknown) => {
    by('device').textContent = 'This page cannot train here.';
    throw error;
  });
  const { info } = (await acquire()).adapter;
  const software = (await acquire()).target.software;
  const name = [info.description || info.device, info.vendor, info.architecture].filter(Boolean).join(', ');
  by('device').textContent = `WebGPU: ${name}${software ? ' (on the processor, not on graphics: slow)' : ''}`;
  isReady = true;
  run = await resumeRun(folder);
  if (run) {
    const { epochs, batchSize, learningRate } = run.settings;
    for (const [id, value] of Object.entries({ epochs, batch: batchSize, rate: learningRate }))
      by<HTMLInputElement>(id).value = String(value);
    texts.value = run.source;
    showStep();
    state.textContent += ' (kept from the last visit)';
  }
  summarise();
  await answer();
})();
