import type { SimEvent } from "./sim-event.ts";

interface Line {
  readonly at: number;
  readonly text: string;
}

const KEPT = 20_000;

/** Everything that happened, as text: the last part of it to read, all of it in one number. */
export class Trace {
  #hash = 0x811c9dc5;
  #count = 0;
  #lines: Line[] = [];

  add(at: number, event: SimEvent): void {
    const { type, ...fields } = event;
    this.note(at, `${type.padEnd(15)} ${Object.entries(fields).map(format).join(" ")}`);
  }

  note(at: number, text: string): void {
    this.#count++;
    let hash = this.#hash;
    const line = `${at.toFixed(3)} ${text}`;
    // FNV-1a: enough to tell two runs apart.
    for (let i = 0; i < line.length; i++) hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193);
    this.#hash = hash;
    this.#lines.push({ at, text });
    if (this.#lines.length >= 2 * KEPT) this.#lines = this.#lines.slice(KEPT);
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, "0");
  }

  get events(): number {
    return this.#count;
  }

  /** The last `count` lines. */
  tail(count: number): string[] {
    return this.#lines.slice(-count).map(({ at, text }) => `${at.toFixed(3).padStart(12)}  ${text}`);
  }
}

function format([key, value]: readonly [string, unknown]): string {
  if (typeof value === "object" && value !== null && "lo" in value && "hi" in value) {
    return `${key}=[${String(value.lo)}, ${String(value.hi)})`;
  }
  return `${key}=${String(value)}`;
}
