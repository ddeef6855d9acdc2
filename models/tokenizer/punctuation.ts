// What BERT's and the Punctuation pre-tokenizer take for punctuation: all ASCII symbols too, also those that
// Unicode calls symbols ($ + < = > ^ ` | ~).
import { PUNCTUATION as SIGNS } from './unicode-tables.ts';

/** One character of punctuation. */
export const PUNCTUATION = new RegExp(`[${SIGNS}]`, 'gu');

/** A run without white space and punctuation; every character of punctuation is a word of its own. */
export const BERT_WORD = new RegExp(`[^\\p{White_Space}${SIGNS}]+|[${SIGNS}]`, 'gu');
