export { TransformerEncoder, TransformerEncoderLayer } from './encoder.ts';
export type { TransformerEncoderOptions } from './encoder.ts';
