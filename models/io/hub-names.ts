// Names of models on the hub, of their branches and commits.

/** Whether `id` can be the name of a model on the hub: `name` or `organisation/name`. */
export function isHubName(id: string): boolean {
  return /^\w[\w.-]*(\/\w[\w.-]*)?$/.test(id) && !/\.\.|--/.test(id) && id.length <= 96;
}

// Models that were on the hub before names had organisations; the hub redirects these.
const LEGACY_NAMES: readonly (readonly [RegExp, string])[] = [
  [/^bert-(base|large)-/, 'google-bert'],
  [/^distil(bert|roberta|gpt2)/, 'distilbert'],
  [/^(roberta|xlm)-/, 'FacebookAI'],
  [/^(gpt2|openai-gpt)/, 'openai-community'],
  [/^albert-/, 'albert'],
  [/^t5-/, 'google-t5'],
  [/^xlnet-/, 'xlnet'],
  [/^all-.*-v\d$/, 'sentence-transformers'],
];

/**
 * `bert-base-uncased` -> `google-bert/bert-base-uncased`; a name that has its organisation is returned as it
 * is.
 */
export function canonicalName(id: string): string {
  if (id.includes('/')) return id;
  const organisation = LEGACY_NAMES.find(([pattern]) => pattern.test(id))?.[1];
  return organisation ? `${organisation}/${id}` : id;
}

/** Whether a value that a hub or a file gives is a commit: 40 hex digits. */
export function isCommit(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{40}$/.test(value);
}

/** Throws unless `revision` can name a branch, a tag or a commit: `main`, `v1.0`, `refs/pr/3`. */
export function checkRevision(revision: string): void {
  const fits = /^\w[\w.+-]*(\/\w[\w.+-]*)*$/.test(revision) && !revision.includes('..') && revision.length <= 200;
  if (!fits) throw new Error(`revision ${JSON.stringify(revision)}: give a branch, a tag or a commit, such as "main"`);
}
