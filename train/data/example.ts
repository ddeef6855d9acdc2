/** One labelled text, or pair of texts, of a classification task. */
export interface Example {
  readonly text: string;
  readonly textPair?: string;
  /** Index in the list of label names. */
  readonly label: number;
}
