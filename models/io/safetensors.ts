// The safetensors reader and writer: streaming, checked, whole or not at all.
export { SavedWeights, INDEX_FILE, WEIGHTS_FILE } from './saved-weights.ts';
export { DTYPE_BYTES, elementCount } from './safetensors-format.ts';
export type { Dtype, TensorEntry } from './safetensors-format.ts';
export { SafetensorsFile } from './safetensors-reader.ts';
export { isWeightsFile, weightFiles, writeWeights, writeSafetensors } from './safetensors-writer.ts';
export type { ShardOptions, TensorToWrite } from './safetensors-writer.ts';
export { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16, toFloat32, toInt32 } from './tensor-data.ts';
export type { LoadedTensor, TensorData } from './tensor-data.ts';
