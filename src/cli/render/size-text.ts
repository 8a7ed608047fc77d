const binary = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** `100.00 GiB`, `512 B`. */
export function sizeText(bytes: number): string {
  const { value, step } = scaled(bytes);
  return step === 0 ? `${bytes} B` : `${value.toFixed(2)} ${binary[step]}`;
}

/** `12.1 M`, for columns. */
export function shortSizeText(bytes: number): string {
  const { value, step } = scaled(bytes);
  return step === 0 ? `${bytes} B` : `${value.toFixed(1)} ${binary[step]?.[0] ?? ""}`;
}

function scaled(bytes: number): { value: number; step: number } {
  let value = bytes;
  let step = 0;
  while (value >= 1024 && step < binary.length - 1) {
    value /= 1024;
    step++;
  }
  return { value, step };
}
