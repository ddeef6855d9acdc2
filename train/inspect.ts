/**
 * Looks into a model.
 *
 *   npx tsx train/inspect.ts attention "The state of the Union"     its heads' attention, a page of pictures
 *   npx tsx train/inspect.ts lens "The state of the"                what it would say behind each layer
 *   npx tsx train/inspect.ts heads                                  heads that repeat what came before
 *   npx tsx train/inspect.ts ablate "The state of the Union"        what each head counts for a text
 *   npx tsx train/inspect.ts weights                                its weights: histograms, norms, ranks
 *   npx tsx train/inspect.ts activations                            how large the numbers inside are
 *   npx tsx train/inspect.ts nearest " people" " law"               tokens whose embeddings lie nearest
 *   npx tsx train/inspect.ts map --data spam-assassin               where texts lie in its space
 *   npx tsx train/inspect.ts probes --data spam-assassin            what can be read off its layers
 *   npx tsx train/inspect.ts sae --layer 2                          directions that a layer uses, and when
 *   npx tsx train/inspect.ts patch --answer " her" --wrong " his" "Ann took" "Bob took"
 *
 * Each writes a page; all but attention print tables too.
 */
import { basename } from 'node:path';
import { writeFileAtomic } from '../common/atomic-files.ts';
import { printable } from '../common/printable.ts';
import { alignTable } from '../common/text-table.ts';
import { select, sub } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { CausalLM, loadModel, loadTokenizer, readModelFolder, resolveModelFolder } from '../models/index.ts';
import { shippedModel } from '../models/io/shipped.ts';
import { endWithReader, main, parseOptions, UsageError } from './cli/cli.ts';
import type { ExplainedText } from './explain/read-text.ts';
import { attentionPage } from './inside/attention-page.ts';
import type { ShownAttention } from './inside/attention-page.ts';
import { heatMapPage } from './inside/heat-map-page.ts';
import type { NamedMap } from './inside/heat-map-page.ts';
import { inductionScores, logProbMetric } from './inside/induction.ts';
import { activationPatching, headAblation, patched } from './inside/interventions.ts';
import type { LayerMap } from './inside/interventions.ts';
import { lensView } from './inside/lens-view.ts';
import type { LanguageModel } from './inside/lens.ts';
import { attentionPatterns, readInputs } from './inside/patterns.ts';
import { activationView } from './inside/activation-view.ts';
import { mapView } from './inside/map-view.ts';
import { probeView } from './inside/probe-view.ts';
import { saeView } from './inside/sae-view.ts';
import { weightView } from './inside/weight-view.ts';
import { nearestTokens } from './inside/weights.ts';
import type { Look as LookAt } from './inside/view.ts';

const command = {
  name: 'inspect',
  usage: 'npx tsx train/inspect.ts VIEW',
  summary:
    'Looks into a model. Views: attention, lens, heads, ablate, patch, weights, activations, nearest, map, probes, ' +
    'sae.',
  positionals: { name: 'text', help: 'the view, then the texts to look at; of patch the clean and the corrupted one' },
  options: {
    model: {
      type: 'string',
      help: 'folder, Hugging Face cache or hub; default the small GPT that comes with the project',
    },
    textPair: {
      type: 'list',
      help: 'attention: the second text of a pair, or what an encoder-decoder writes; once for each text, in order',
    },
    truncation: { type: 'boolean', help: 'cut texts that are longer than the model reads' },
    answer: { type: 'string', help: 'patch: the token that follows the clean text' },
    wrong: { type: 'string', help: 'patch: the token that follows the corrupted one' },
    activation: { type: 'choice', choices: patched, default: 'hook_resid_pre', help: 'patch: what is put back' },
    tuned: {
      type: 'path',
      help: 'lens: file of a tuned lens, to show it too; it is made of --data where there is none',
    },
    data: {
      type: 'string',
      help:
        'map, probes: texts with labels, or words with tags; a file, or spam-assassin. sae, activations, lens ' +
        '--tuned: texts to read, a file, folder or name; default sotu',
    },
    rows: { type: 'int', min: 4, help: 'of --data, drawn at random; default 300 texts, 1000 to learn from, or 32' },
    steps: { type: 'int', min: 1, help: 'of training; default of a lens 400, of an autoencoder 600' },
    autoencoder: { type: 'path', help: 'sae: file of the autoencoder; it is made of --data where there is none' },
    features: { type: 'int', min: 1, help: 'sae: directions to choose from; default four times the width' },
    active: { type: 'int', default: 16, min: 1, help: 'sae: how many at most are active on a token' },
    layer: {
      type: 'int',
      min: 0,
      help:
        'map, sae: the layer behind which is looked at; default the last. attention: the first whose queries and ' +
        'keys the page has, where those of all do not fit; default 0',
    },
    seed: { type: 'int', default: 0, min: 0, help: 'of what is drawn at random' },
    out: { type: 'path', help: 'the page, one HTML file that needs no other; default VIEW.html' },
  },
} as const;

const readOptions = () => parseOptions(command);
type Options = ReturnType<typeof readOptions>['values'];

type Look = LookAt<Options>;

/** How many texts each view takes, and what it prints and draws. */
const views: Readonly<Record<string, { readonly texts: readonly [number, number]; run(look: Look): Promise<string> }>> =
  {
    attention: { texts: [1, Infinity], run: attention },
    lens: { texts: [1, 1], run: lensView },
    heads: { texts: [0, 0], run: heads },
    ablate: { texts: [1, 1], run: ablate },
    patch: { texts: [2, 2], run: patch },
    weights: { texts: [0, 0], run: weightView },
    nearest: { texts: [1, Infinity], run: nearest },
    map: { texts: [0, Infinity], run: mapView },
    probes: { texts: [0, 0], run: probeView },
    sae: { texts: [0, 0], run: saeView },
    activations: { texts: [0, Infinity], run: activationView },
  };

main(async () => {
  endWithReader();
  const { values: options, positionals } = readOptions();
  const [word = '', ...texts] = positionals;
  const view = Object.hasOwn(views, word) ? views[word] : undefined;
  if (!view) throw new UsageError(`${command.name}: there is no view "${word}"; use ${Object.keys(views).join(', ')}`);
  const [least, most] = view.texts;
  if (texts.length < least || texts.length > most)
    throw new UsageError(
      `${command.name}: ${word} takes ${most === Infinity ? 'one text or more' : `${most} texts`}, got ${texts.length}`,
    );
  if (options.textPair.length > 0 && options.textPair.length !== texts.length)
    throw new UsageError(
      `${command.name}: ${texts.length} texts but ${options.textPair.length} of --text-pair; give one for each text`,
    );
  if (word === 'patch' && (options.answer === undefined || options.wrong === undefined))
    throw new UsageError(`${command.name}: patch needs --answer and --wrong, the tokens that are told apart`);
  const folder = await resolveModelFolder(options.model ?? shippedModel('gpt-small'), {});
  const { model, tokenizer } = await readModelFolder(folder, async () => ({
    model: await loadModel(folder),
    tokenizer: await loadTokenizer(folder),
  }));
  const out = options.out ?? `${word}.html`;
  await writeFileAtomic(out, await view.run({ model, tokenizer, name: basename(folder), texts, options }));
  console.log(`page   ${out}`);
});

async function attention({ model, tokenizer, texts, name, options }: Look): Promise<string> {
  const { textPair, truncation } = options;
  const shown: ShownAttention[] = [];
  for (const [i, first] of texts.entries()) {
    const text: ExplainedText = textPair.length > 0 ? [first, textPair[i]!] : first;
    const stacks = await attentionPatterns(model, tokenizer, text, { truncation });
    shown.push({ text: [text].flat().join(' | '), stacks });
    for (const { name: stack, layers, from, to } of stacks)
      console.log(`${stack}: ${layers.length} layers, ${from.length} tokens attend to ${to.length}`);
  }
  return attentionPage(shown, `Attention of ${name}`, { layer: options.layer ?? 0 });
}

async function nearest({ model, tokenizer, texts, name }: Look): Promise<string> {
  const found = await Promise.all(texts.map((text) => nearestTokens(model, tokenizer, text)));
  const shown = (token: string): string => printable(token.replace(/^[Ġ▁]/, ' '));
  const columns = found[0]!.map((_, i) => `${i + 1}`);
  const cells = found.map((list, i) => [
    printable(texts[i]!),
    ...list.map(({ token, similarity }) => `${shown(token)} ${similarity.toFixed(2)}`),
  ]);
  console.log(alignTable(['', ...columns], cells, new Set()));
  const map: NamedMap = {
    title: 'Tokens whose embeddings lie nearest, by cosine',
    ...{ rows: texts, columns },
    values: found.flatMap((list) => list.map(({ similarity }) => similarity)),
    words: found.flatMap((list) => list.map(({ token }) => shown(token))),
    scale: 1,
  };
  return heatMapPage([map], `Embeddings of ${name}`);
}

const layerNames = ({ layers }: LayerMap): string[] => Array.from({ length: layers }, (_, i) => `layer ${i}`);
const headNames = ({ width }: LayerMap): string[] => Array.from({ length: width }, (_, i) => `head ${i}`);

/** Values stand in the cells of maps of few columns. */
const digitsFor = ({ width }: LayerMap): Pick<NamedMap, 'digits'> => (width <= 16 ? { digits: 2 } : {});

const headMap = (title: string, note: string, map: LayerMap, scale?: number): NamedMap => ({
  ...{ title, note, rows: layerNames(map), columns: headNames(map), values: map.values, ...digitsFor(map) },
  ...(scale === undefined ? {} : { scale }),
});

/** A map as lines for a terminal. */
function mapLines(map: LayerMap, columns: readonly string[], show: (x: number) => string): string {
  const rows = layerNames(map).map((name, i) => [
    name,
    ...Array.from(map.values.subarray(i * map.width, (i + 1) * map.width), show),
  ]);
  const head = ['', ...columns];
  return alignTable(head, rows, new Set(head.keys()));
}

function printHeads(title: string, map: LayerMap): void {
  const lines = mapLines(map, headNames(map), (x) => (Number.isNaN(x) ? '' : x.toFixed(3)));
  console.log(`\n${title}\n${lines}`);
}

async function heads({ model, name, options }: Look): Promise<string> {
  if (!(model instanceof CausalLM))
    throw new UsageError(`${command.name}: heads is for decoders, and ${name} is a ${model.constructor.name}`);
  const { induction, previous, duplicate, copying, logProbs } = await inductionScores(model as never, {
    seed: options.seed,
  });
  console.log(
    `random tokens that come twice: mean log-probability ${logProbs[0].toFixed(2)} the first time, ` +
      `${logProbs[1].toFixed(2)} the second`,
  );
  const maps: [string, string, LayerMap][] = [
    ['Induction', 'Attention to the token behind the one that came before.', induction],
    ['Previous token', 'Attention to the token before.', previous],
    ['Same token', 'Attention to the same token, where it came before.', duplicate],
    ['Copying', 'What the log-probability of repeated tokens loses without the head.', copying],
  ];
  for (const [title, , map] of maps) printHeads(title, map);
  return heatMapPage(
    maps.map(([title, note, map]) => headMap(title, note, map, map === copying ? undefined : 1)),
    `Heads of ${name} on random tokens that come twice`,
  );
}

async function ablate({ model, tokenizer, texts, name, options }: Look): Promise<string> {
  const { inputs } = await readInputs(model, tokenizer, texts[0]!, { truncation: options.truncation });
  const ids = Int32Array.from(await inputs['inputIds']!.data(), Number);
  if (!(model instanceof CausalLM))
    throw new UsageError(`${command.name}: ablate is for decoders, and ${name} is a ${model.constructor.name}`);
  if (ids.length < 2) throw new UsageError(`${command.name}: ablate needs a text of at least two tokens`);
  const map = await headAblation(model as never, inputs, logProbMetric(ids, 1));
  const title = "What the text's mean log-probability loses without a head";
  printHeads(title, map);
  return heatMapPage([headMap(title, texts[0]!, map)], `Heads of ${name}`);
}

async function patch({ model, tokenizer, texts, name, options }: Look): Promise<string> {
  const [clean, corrupted] = await Promise.all(texts.map((text) => readInputs(model, tokenizer, text)));
  const [answer, wrong] = [options.answer!, options.wrong!].map((token) => {
    const [id, ...more] = Array.from(tokenizer.idsOf(token));
    if (id === undefined || more.length > 0)
      throw new UsageError(
        `${command.name}: "${token}" is ${more.length + (id === undefined ? 0 : 1)} tokens; give one`,
      );
    return id;
  }) as [number, number];
  const metric = (logits: Tensor): Tensor => {
    const last = select(logits, 1, -1); // (B, V)
    return sub(select(last, 1, answer), select(last, 1, wrong));
  };
  const { activation } = options;
  const inputs = { clean: clean!.inputs, corrupted: corrupted!.inputs };
  const found = await activationPatching(model as LanguageModel, inputs, metric, { activation });
  const columns = corrupted!.tokens.map(({ text }) => text);
  const about =
    `logit of "${options.answer}" less that of "${options.wrong}": clean ${found.clean.toFixed(3)}, ` +
    `corrupted ${found.corrupted.toFixed(3)}`;
  console.log(`${about}\nwhat comes back with ${activation} of the clean text:`);
  console.log(mapLines(found, columns, (x) => x.toFixed(2)));
  const map = { title: `What comes back with ${activation} of the clean text`, note: about };
  return heatMapPage(
    [{ ...map, rows: layerNames(found), columns, values: found.values, ...digitsFor(found) }],
    `Patching of ${name}`,
  );
}
