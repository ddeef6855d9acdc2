/**
 * Explains a decision of a model: how much each word of a text counts for it.
 *
 *   npx tsx train/explain.ts "You have won a free prize!"          the small spam model of the project
 *   npx tsx train/explain.ts --model runs/topics --target sports --method partition-shap "A text"
 *   npx tsx train/explain.ts --out page.html --also occlusion --also lime "A text" "Another"
 *   npx tsx train/explain.ts --model runs/spam-assassin --examples spam-assassin "You have won!"
 *   npx tsx train/explain.ts --counterfactual "You have won a free prize!"
 *   npx tsx train/explain.ts --model models/pretrained/gpt-small --target " law" --contrast " war" "The"
 *   npx tsx train/explain.ts --model models/pretrained/gpt-small --new-tokens 3 "The state of the"
 *   npx tsx train/explain.ts --model runs/squad --text-pair "The fox ran home." "Who ran?"
 */
import { basename } from 'node:path';
import { writeFileAtomic } from '../common/atomic-files.ts';
import { showsColours } from '../common/output.ts';
import { progress } from '../common/progress.ts';
import { checkOutputFile } from '../common/staged-file.ts';
import type { Progress } from '../common/progress.ts';
import { CausalLM, loadModel, loadTokenizer, readModelFolder, resolveModelFolder } from '../models/index.ts';
import { shippedModel } from '../models/io/shipped.ts';
import type { AnyTokenizer, Module, SequenceClassificationModel, TextEncoder } from '../models/index.ts';
import { loadMaskFiller } from '../models/pipelines/fill-mask.ts';
import { loadTextClassifier } from '../models/pipelines/text-classification.ts';
import { shippedBert } from './cli/fine-tune.ts';
import { embeddedCorpus } from './classifier/data.ts';
import { endWithReader, main, parseOptions, UsageError } from './cli/cli.ts';
import { readTable } from './data/read-table.ts';
import { loadSpamAssassin } from './data/spam-assassin.ts';
import { explain, explainMethods } from './explain/explain.ts';
import type { Explanation, ExplainMethod } from './explain/explain.ts';
import { outputScales } from './explain/output.ts';
import { explanationPage } from './explain/page.ts';
import { counterfactual, counterfactualLines, counterfactualPage } from './explain/counterfactual.ts';
import type { Counterfactual } from './explain/counterfactual.ts';
import { influenceFacts, influenceLayers, influenceLines, influencePage, influences } from './explain/influence.ts';
import { baselines } from './explain/read-text.ts';
import type { ExplainedText } from './explain/read-text.ts';
import { showExplanation } from './explain/show.ts';

const command = {
  name: 'explain',
  usage: 'npx tsx train/explain.ts',
  summary: 'Explains what a model makes of texts: how much each token counts for its output.',
  positionals: { name: 'text', help: 'texts to explain', min: 1 },
  options: {
    model: {
      type: 'string',
      help: 'folder, Hugging Face cache or hub; default the small spam model that comes with the project',
    },
    method: { type: 'choice', choices: explainMethods, default: 'integrated-gradients', help: 'how it is shared out' },
    target: { type: 'string', help: 'label, next token, or start or end of an answer; default what the model chooses' },
    contrast: { type: 'string', help: 'why the target and not this label or token: the difference is explained' },
    at: { type: 'string', help: 'of a tagger: the word whose label is explained; of masked tokens: the place' },
    textPair: { type: 'list', help: 'the second text of a pair; once for each text, in their order' },
    newTokens: { type: 'int', default: 1, min: 1, help: 'of a decoder: explain so many tokens, one after the other' },
    scale: { type: 'choice', choices: outputScales, default: 'logit', help: 'which number of the output' },
    baseline: {
      type: 'choice',
      choices: baselines,
      help: 'what stands for a token that is taken away; default the first that the tokenizer has',
    },
    steps: { type: 'int', min: 1, help: 'gradients: points or samples (default 50)' },
    evaluations: { type: 'int', min: 3, help: 'kernel-shap, partition-shap, lime: runs of the model at most' },
    window: { type: 'int', min: 1, help: 'occlusion: tokens that are taken away at once (default 1)' },
    noise: { type: 'number', min: 0, help: 'smooth-grad, gradient-shap: deviation, as a share of the range' },
    seed: { type: 'int', default: 0, min: 0, help: 'of what is drawn at random' },
    batchSize: { type: 'int', default: 16, min: 1, help: 'rows at once' },
    truncation: { type: 'boolean', help: 'cut texts that are longer than the model reads' },
    examples: {
      type: 'string',
      help: 'instead: which of the texts that a classifier learnt from count, JSONL, CSV or TSV, or spam-assassin',
    },
    layers: {
      type: 'choice',
      choices: influenceLayers,
      default: 'last',
      help: 'with --examples: gradients of the last layer, or of all linear ones, which takes longer',
    },
    checkpoint: { type: 'list', help: 'with --examples: folders of the classifier while it learnt, besides --model' },
    counterfactual: {
      type: 'boolean',
      help: 'instead: the fewest words by whose change a classifier decides otherwise',
    },
    filler: {
      type: 'string',
      help: 'with --counterfactual: the model of masked tokens that proposes words; default the small BERT',
    },
    top: { type: 'int', default: 10, min: 1, help: 'tokens, or examples, in the table' },
    out: { type: 'path', help: 'also write a page, one HTML file that needs no other' },
    also: { type: 'list', help: 'with --out: a further method to choose on the page; may be given several times' },
    json: { type: 'boolean', help: 'print each explanation as a line of JSON' },
  },
} as const;

type Values = ReturnType<typeof parseOptions<typeof command.options>>['values'];

main(async () => {
  endWithReader();
  const { values, positionals } = parseOptions(command);
  const {
    model: name = shippedModel('spam-small'),
    textPair,
    newTokens,
    scale,
    top,
    out,
    also,
    json,
    ...options
  } = values;
  if (textPair.length > 0 && textPair.length !== positionals.length)
    throw new UsageError(
      `${command.name}: ${positionals.length} texts but ${textPair.length} of --text-pair; give one for each text`,
    );
  for (const method of also)
    if (!(explainMethods as readonly string[]).includes(method))
      throw new UsageError(`${command.name}: --also must be one of ${explainMethods.join(', ')}, got "${method}"`);
  if (also.length > 0 && out === undefined) throw new UsageError(`${command.name}: --also goes with --out page.html`);
  if (out !== undefined) await checkOutputFile(out);
  const folder = await resolveModelFolder(name, {});
  const { model, tokenizer } = await readModelFolder(folder, async () => ({
    model: await loadModel(folder),
    tokenizer: await loadTokenizer(folder),
  }));
  if (newTokens > 1 && !(model instanceof CausalLM))
    throw new UsageError(`${command.name}: --new-tokens is for decoders, and ${name} is a ${model.constructor.name}`);
  if (values.examples !== undefined) return learntFrom({ model, tokenizer }, folder, positionals, values);
  if (values.counterfactual) return turnedBy({ model, tokenizer }, folder, positionals, values);
  const shown: Explanation[] = [];
  for (const [i, first] of positionals.entries()) {
    let text: ExplainedText = textPair.length > 0 ? [first, textPair[i]!] : first;
    for (let token = 0; token < newTokens; token++) {
      const [explanation] = await withBar((onProgress) =>
        explain(model, tokenizer, [text], { ...options, output: scale, onProgress }),
      );
      print(explanation!, { top, json });
      shown.push(explanation!);
      // Of the same target, whatever the text's own best would be by a margin of rounding.
      const same = { ...options, target: targetOf(explanation!, options.target), output: scale };
      for (const method of also as readonly ExplainMethod[])
        shown.push(
          ...(await withBar((onProgress) => explain(model, tokenizer, [text], { ...same, method, onProgress }))),
        );
      // The text as it reads then; its last tokens may be cut otherwise than the model wrote them.
      if (typeof text === 'string') text += explanation!.target.name;
    }
  }
  if (out === undefined) return;
  await writeFileAtomic(out, explanationPage(shown, `What ${basename(folder)} makes of its texts`));
  if (!json) console.log(`page   ${out}`);
});

/** By which words decisions about texts are turned. */
async function turnedBy(
  classifier: { readonly model: Module; readonly tokenizer: AnyTokenizer },
  folder: string,
  texts: readonly string[],
  { filler: name = shippedBert(), batchSize, json, out }: Values,
): Promise<void> {
  checkClassifier('--counterfactual', classifier.model);
  const filler = await loadMaskFiller(name);
  const found: Counterfactual[] = [];
  for (const text of texts) {
    const each = await counterfactual(classifier as Classifier, filler, text, { batchSize });
    console.log(json ? JSON.stringify(each) : `${counterfactualLines(each)}\n`);
    found.push(each);
  }
  if (out === undefined) return;
  await writeFileAtomic(out, counterfactualPage(found, `What turns the decisions of ${basename(folder)}`));
  if (!json) console.log(`page   ${out}`);
}

type Classifier = TextEncoder<SequenceClassificationModel>;

function checkClassifier(flag: string, model: Module): void {
  const { name } = model.constructor;
  if (!name.endsWith('ForSequenceClassification'))
    throw new UsageError(`${command.name}: ${flag} is for classifiers, and this is a ${name}`);
}

/** Which examples count for the decisions about texts. */
async function learntFrom(
  last: { readonly model: Module; readonly tokenizer: AnyTokenizer },
  folder: string,
  texts: readonly string[],
  values: Values,
): Promise<void> {
  const { examples: data = '', checkpoint, top: count, batchSize, target, json, out } = values;
  checkClassifier('--examples', last.model);
  const states = [...(await Promise.all(checkpoint.map((each) => loadTextClassifier(each)))), last as Classifier];
  const { labels } = states.at(-1)!.model.config;
  const examples =
    data === embeddedCorpus ? (await loadSpamAssassin()).train : (await readTable(data, { labels })).examples;
  const number = target === undefined ? undefined : labels.indexOf(target);
  if (number === -1) throw new UsageError(`${command.name}: there is no label "${target}"; use ${labels.join(', ')}`);
  const { layers, seed } = values;
  const found = await withBar((onProgress) =>
    influences(states, examples, texts, { target: number, batchSize, layers, seed, onProgress }),
  );
  for (const influence of found) {
    if (json) console.log(JSON.stringify(influenceFacts(influence, { examples, labels, count })));
    else console.log(`${influenceLines(influence, { examples, labels, count })}\n`);
  }
  if (out === undefined) return;
  const title = `What ${basename(folder)} learnt its decisions from`;
  await writeFileAtomic(out, influencePage(found, { examples, labels, count }, title));
  if (!json) console.log(`page   ${out}`);
}

/** The target by its number; of questions it is a side of the answer. */
const targetOf = ({ target }: Explanation, asked: string | undefined): string | number | undefined =>
  /^(start|end) at /.test(target.name) ? asked : target.number;

/** Runs with a bar that is drawn from the first batch on. */
async function withBar<T>(run: (onProgress: (done: number, total: number) => void) => Promise<T>): Promise<T> {
  let bar: Progress | undefined;
  try {
    return await run((done, total) => {
      bar ??= process.stderr.isTTY ? progress({ total }) : undefined;
      bar?.update(done, { total });
    });
  } finally {
    bar?.stop();
  }
}

function print(explanation: Explanation, { top, json }: { readonly top: number; readonly json: boolean }): void {
  if (json) return console.log(JSON.stringify(explanation));
  // console.log would spell the colours out.
  process.stdout.write(`${showExplanation(explanation, { colours: showsColours(), top })}\n\n`);
}
