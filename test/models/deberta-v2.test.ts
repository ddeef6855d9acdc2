import { testEncoderFamily } from '../support/encoder-golden.ts';

await testEncoderFamily('deberta-v2');
await testEncoderFamily('deberta-v2-apart');
