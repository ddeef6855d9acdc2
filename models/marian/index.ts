export { MarianConfig } from './config.ts';
export type { MarianSettings } from './config.ts';
export { MarianModel, MarianPreTrainedModel } from './model.ts';
export { MarianMTModel } from './mt-model.ts';
export type { MarianDecoderInputs } from './stack.ts';
