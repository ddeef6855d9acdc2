import { testEncoderFamily } from '../support/encoder-golden.ts';

await testEncoderFamily('albert');
