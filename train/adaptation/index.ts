export { adaptVocabulary } from './adapt-vocabulary.ts';
export { domainWords } from './domain-words.ts';
export type { DomainWord, DomainWordsOptions } from './domain-words.ts';
