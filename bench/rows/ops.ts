/**
 * The operations that a library must offer to run the rows: each row's program is written once against this,
 * each adapter gives its library's own, fastest way of doing these. Shapes in comments; T is the library's
 * tensor.
 */
export interface Ops<T> {
  /** a (..., M, K), b (..., K, N), or (..., N, K) with transposeB -> (..., M, N). */
  matmul(a: T, b: T, transposeB: boolean): T;
  /** x (..., I), weight (O, I), bias (O): x @ weight^T + bias -> (..., O). Without a bias, the product. */
  linear(x: T, weight: T, bias?: T): T;
  add(a: T, b: T): T;
  relu(x: T): T;
  /** By the error function ("none"), or by its approximation with tanh. */
  gelu(x: T, approximate: 'none' | 'tanh'): T;
  /** Over the last axis. */
  softmax(x: T): T;
  /** Over the last axis. */
  layerNorm(x: T, weight: T, bias: T, eps: number): T;
  /** Elements from..to of the last axis. */
  slice(x: T, from: number, to: number): T;
  /** Scaled dot-product attention of q, k, v (B, T, D) in `heads` heads -> (B, T, D). */
  attention(q: T, k: T, v: T, heads: number, causal: boolean): T;
  /** Rows of table (V, D) by ids (B, T), or the first T rows of it by a number T -> (B, T, D) or (T, D). */
  embedding(table: T, ids: T | number): T;
  /** Mean over all rows of logits (..., C) and class numbers (...) -> scalar. */
  crossEntropy(logits: T, labels: T): T;
}
