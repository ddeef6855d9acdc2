export { adaptVocabulary } from './vocabulary.ts';
export { domainWords } from './vocabulary.ts';
export type { DomainWord, DomainWordsOptions } from './vocabulary.ts';
