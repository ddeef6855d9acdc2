// What each layer would say, by the logit lens and, if asked, by the tuned lens: tables and a page of maps.
import { printable } from '../../common/printable.ts';
import { progress } from '../../common/progress.ts';
import { alignTable } from '../../common/text-table.ts';
import { CausalLM } from '../../models/index.ts';
import { pathKind } from '../../common/json-file.ts';
import { heatMapPage } from './heat-map-page.ts';
import type { NamedMap } from './heat-map-page.ts';
import { layerName, logitLens } from './lens.ts';
import type { LanguageModel, Lens } from './lens.ts';
import { saveModule } from './module-file.ts';
import { lensDivergences, trainTunedLens, TunedLens } from './tuned-lens.ts';
import { windowsFor } from './view.ts';
import type { Look } from './view.ts';

export interface LensViewOptions {
  readonly truncation: boolean;
  /** The file of the tuned lens, which is made where it is not there. */
  readonly tuned: string | undefined;
  readonly data: string | undefined;
  readonly rows: number | undefined;
  readonly steps: number | undefined;
  readonly seed: number;
}

function lensMap({ tokens, layers }: Lens, title: string, note: string): NamedMap {
  const best = layers.flatMap(({ places }) => places.map(([first]) => first!));
  return {
    ...{ title, note },
    rows: layers.map(({ name }) => name),
    columns: tokens.map(({ text }) => text),
    values: best.map(({ probability }) => probability),
    words: best.map(({ token }) => token.replace(/^[Ġ▁]/, ' ')),
    scale: 1,
  };
}

function printLens(lens: Lens, title: string): void {
  const last = lens.tokens.length - 1;
  const rows = lens.layers.map(({ name, places }) => [
    name,
    ...places[last]!.slice(0, 3).map(({ token, probability }) => `${printable(token)} ${probability.toFixed(3)}`),
  ]);
  console.log(
    `${title} "${printable(lens.tokens[last]!.text)}"\n${alignTable(['layer', '1st', '2nd', '3rd'], rows, new Set())}`,
  );
}

/** The tuned lens of a file; where there is none it is trained, tested and saved. */
async function tunedLens(look: Look<LensViewOptions>, path: string): Promise<{ lens: TunedLens; test?: NamedMap }> {
  const model = look.model as LanguageModel;
  if ((await pathKind(path)) !== 'none') return { lens: await TunedLens.load(path, model) };
  const { data = 'sotu', rows = 1000, steps = 400, seed } = look.options;
  const { learnt, tested } = await windowsFor(look, data, { rows, seed });
  const bar = progress({ total: steps });
  let lens: TunedLens;
  try {
    lens = await trainTunedLens(model, learnt, {
      ...{ steps, seed },
      onProgress: (step, _, loss) => bar.update(step, { label: 'tuned lens', loss }),
    });
  } finally {
    bar.stop();
  }
  const kinds = [await lensDivergences(model, tested), await lensDivergences(model, tested, lens)] as const;
  const names = kinds[0].map((_, layer) => layerName(layer));
  const cells = names.map((name, layer) => [name, ...kinds.map((of) => of[layer]!.toFixed(4))]);
  console.log(`KL from what the model says, nats a token, on ${tested.length} other rows of ${data}`);
  console.log(alignTable(['layer', 'logit lens', 'tuned lens'], cells, new Set([1, 2])));
  await saveModule(path, lens);
  console.log(`saved  ${path}\n`);
  const test: NamedMap = {
    title: 'How far each lens is from what the model says',
    note: `KL in nats a token, on ${tested.length} other rows of ${data}.`,
    rows: ['logit lens', 'tuned lens'],
    columns: names,
    values: kinds.flat(),
    digits: 3,
  };
  return { lens, test };
}

export async function lensView(look: Look<LensViewOptions>): Promise<string> {
  const { model, tokenizer, texts, name, options } = look;
  const tuned = options.tuned === undefined ? undefined : await tunedLens(look, options.tuned);
  const lensOf = (translator?: TunedLens): Promise<Lens> =>
    logitLens(model as LanguageModel, tokenizer, texts[0]!, { truncation: options.truncation, translator });
  const isDecoder = model instanceof CausalLM;
  const note = isDecoder ? 'Each cell says what follows its token.' : 'Each cell says what stands there.';
  const where = isDecoder ? 'behind' : 'for';
  const title = 'The most probable token, and its probability';
  const plain = await lensOf();
  printLens(plain, `what each layer says ${where}`);
  if (!tuned) return heatMapPage([lensMap(plain, title, note)], `Logit lens of ${name}`);
  const other = await lensOf(tuned.lens);
  console.log();
  printLens(other, `by the tuned lens, ${where}`);
  const maps = [
    lensMap(other, `Tuned lens: ${title.toLowerCase()}`, `${note} States are put into the last layer's words first.`),
    lensMap(plain, `Logit lens: ${title.toLowerCase()}`, note),
    ...(tuned.test ? [tuned.test] : []),
  ];
  return heatMapPage(maps, `Tuned and logit lens of ${name}`);
}
