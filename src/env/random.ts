export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** `size` unpredictable bytes, for UUIDs and incarnations. */
  bytes(size: number): Uint8Array;
}
