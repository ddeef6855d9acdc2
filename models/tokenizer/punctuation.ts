// What BERT's and the Punctuation pre-tokenizer take for punctuation: all ASCII symbols too, also those that
// Unicode calls symbols ($ + < = > ^ ` | ~).

/** One character of punctuation. */
export const PUNCTUATION = /[\p{P}$+<=>^`|~]/gu;

/** A run without white space and punctuation; every character of punctuation is a word of its own. */
export const BERT_WORD = /[^\p{White_Space}\p{P}$+<=>^`|~]+|[\p{P}$+<=>^`|~]/gu;
