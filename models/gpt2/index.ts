export { GPT2Config, gpt2Config } from './config.ts';
export type { GPT2Settings, GPT2Size } from './config.ts';
export { GPT2LMHeadModel } from './lm-head.ts';
export { GPT2Model, GPT2PreTrainedModel } from './model.ts';
