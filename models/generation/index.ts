export { generationConfigFile, readGenerationConfig, writeGenerationConfig } from './config-file.ts';
export type { Decoder, Generative } from './decoder.ts';
export { generate, streamTokens } from './generate.ts';
export type { Finish, Generated, GeneratedToken } from './generate.ts';
export { loadTextGenerator } from './load.ts';
export type { TextGenerator } from './load.ts';
export type { GenerationOptions } from './options.ts';
export { generateText, streamText } from './text.ts';
export type { GeneratedText, TextPiece, TextTokenizer } from './text.ts';
