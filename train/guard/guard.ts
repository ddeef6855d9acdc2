import { pipeline } from '../../models/index.ts';
import { longestRow } from '../../models/pipelines/encoder.ts';
import type { ClassLabel } from '../../models/pipelines/text-classification.ts';
import { guardRules } from './config.ts';
import type { GuardConfig, GuardRule } from './config.ts';
import { findingsOf, finderOf } from './finder.ts';
import type { Finder, Finding } from './finder.ts';
import { masked } from './personal-data.ts';
import { GuardStream } from './stream.ts';

export type Side = 'input' | 'output';

/** A text after the rules. */
export interface GuardedText {
  /** With what is masked masked; of a refused text what comes before the first finding that refuses it. */
  readonly text: string;
  readonly findings: readonly Finding[];
  /** The rule that refuses the text, if one does. */
  readonly refused?: string;
}

/** The labels of a text with their probabilities. */
type Classify = (text: string) => Promise<readonly ClassLabel[]>;

/** Runs work on the device when its turn has come, where others use it too. */
type Turn = <T>(work: () => Promise<T>) => Promise<T>;

interface Classifier {
  readonly name: string;
  readonly refuses: boolean;
  readonly label: string;
  readonly threshold: number;
  readonly classify: Classify;
}

interface Rules {
  readonly finders: readonly Finder[];
  readonly classifiers: readonly Classifier[];
}

/**
 * Rules before and behind a model: what clients send, and what it writes, is masked, refused, or counted. It
 * finds what its rules name, and nothing else: no guard knows what a text means.
 *
 * @example
 * const rules = [{ name: 'addresses', action: 'mask' as const, personalData: ['email' as const] }];
 * const guard = await createGuard({ rules });
 * (await guard.check('Write to ann@example.org', 'input')).text; // 'Write to [EMAIL]'
 */
export class Guard {
  readonly #rules: Readonly<Record<Side, Rules>>;

  /** `createGuard` makes it of a configuration. */
  constructor(rules: Readonly<Record<Side, Rules>>) {
    this.#rules = rules;
  }

  /** Whether any rule looks at this side. */
  has(side: Side): boolean {
    const { finders, classifiers } = this.#rules[side];
    return finders.length + classifiers.length > 0;
  }

  /** A whole text after the rules of a side. */
  async check(text: string, side: Side): Promise<GuardedText> {
    const { finders, classifiers } = this.#rules[side];
    const findings = findingsOf(finders, text);
    const own = await classified(classifiers, text);
    const all = [...findings, ...own];
    // A classifier speaks of the whole text, so it comes first.
    const refusal = own.find(({ action }) => action === 'refuse') ?? findings.find(({ action }) => action === 'refuse');
    const end = refusal?.start ?? text.length;
    const masks = findings.filter((found) => found.action === 'mask' && found.end <= end);
    return { text: masked(text.slice(0, end), masks), findings: all, ...(refusal ? { refused: refusal.rule } : {}) };
  }

  /**
   * A text of a side that comes in pieces. What the pieces give together is what `check` gives of the whole:
   * what may yet become something that a rule finds is held back, all of it where a classifier refuses.
   */
  stream(side: Side): GuardStream {
    const { finders, classifiers } = this.#rules[side];
    return new GuardStream(finders, {
      waits: classifiers.some(({ refuses }) => refuses),
      judge: (text) => classified(classifiers, text),
    });
  }
}

async function classified(classifiers: readonly Classifier[], text: string): Promise<Finding[]> {
  const found: Finding[] = [];
  if (text.trim() === '') return found;
  for (const { name, refuses, label, threshold, classify } of classifiers) {
    const score = (await classify(text)).find((own) => own.label === label)?.score ?? 0;
    if (score >= threshold)
      found.push({ rule: name, action: refuses ? 'refuse' : 'flag', start: 0, end: text.length, mask: '' });
  }
  return found;
}

/** Loads a model for classifiers; of a text longer than it reads, the part with the highest score counts. */
async function loadClassify(
  model: string,
  turn: Turn,
): Promise<{ readonly classify: Classify; readonly labels: readonly string[] }> {
  const classifier = await pipeline('text-classification', model);
  const { labels } = classifier.model.config;
  const most = longestRow(classifier);
  const classify: Classify = async (text) => {
    const parts = partsOf(text, (part) => classifier.tokenizer.idsOf(part, { addSpecialTokens: true }).length <= most);
    const judged = await turn(() => classifier(parts, { topK: null }));
    const highest = (label: string): number =>
      Math.max(...judged.map((part) => part.find((own) => own.label === label)?.score ?? 0));
    return labels.map((label) => ({ label, score: highest(label) }));
  };
  return { classify, labels };
}

/** A text in parts that fit, cut at spaces where it has some. */
function partsOf(text: string, fits: (part: string) => boolean): string[] {
  if (text.length < 2 || fits(text)) return [text];
  const middle = text.length >> 1;
  const space = text.lastIndexOf(' ', middle);
  const at = space > 0 ? space + 1 : middle;
  return [...partsOf(text.slice(0, at), fits), ...partsOf(text.slice(at), fits)];
}

/**
 * A guard by its configuration, with the models of its classifiers. Errors, each one line: those of the
 * configuration; a model that cannot be loaded, or has not the label.
 *
 * @example
 * const classifier = { model: 'models/pretrained/spam-small', label: 'spam', threshold: 0.9 };
 * const guard = await createGuard({ rules: [{ name: 'spam', action: 'refuse', classifier }] });
 * (await guard.check('Congratulations! You have won a FREE vacation!!!', 'input')).refused; // 'spam'
 */
export async function createGuard(
  config: GuardConfig | readonly GuardRule[],
  { turn = (work) => work() }: { readonly turn?: Turn } = {},
): Promise<Guard> {
  const rules = Array.isArray(config) ? (config as readonly GuardRule[]) : guardRules(config);
  const loaded = new Map<string, ReturnType<typeof loadClassify>>();
  const classifiers = new Map<GuardRule, Classifier>();
  for (const rule of rules) {
    if (!('classifier' in rule)) continue;
    const { model, label, threshold } = rule.classifier;
    if (!loaded.has(model)) loaded.set(model, loadClassify(model, turn));
    const { classify, labels } = await loaded.get(model)!;
    if (!labels.includes(label))
      throw new Error(`guard: ${rule.name} asks for the label "${label}", and ${model} has ${labels.join(', ')}`);
    classifiers.set(rule, { name: rule.name, refuses: rule.action === 'refuse', label, threshold, classify });
  }
  const of = (side: Side): Rules => {
    const own = rules.filter(({ on }) => on.includes(side));
    return {
      finders: own.flatMap((rule) => finderOf(rule) ?? []),
      classifiers: own.flatMap((rule) => classifiers.get(rule) ?? []),
    };
  };
  return new Guard({ input: of('input'), output: of('output') });
}
