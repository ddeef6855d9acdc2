import type { Dtype, TensorData, TensorToWrite } from '../../models/io/safetensors.ts';

/** A tensor to write whose data is there already. */
export const toWrite = (name: string, dtype: Dtype, shape: number[], data: TensorData): TensorToWrite => ({
  name,
  dtype,
  shape,
  data: () => data,
});
