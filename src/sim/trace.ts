import type { SimEvent } from "./sim-event.ts";

/** `event`: or a remark. */
export interface TracedEvent {
  readonly at: number;
  readonly event: SimEvent | string;
}

/** Lines that are kept for a failure's story, unless more are asked for. */
export const TRACE_KEPT = 500;

/** FNV-1a over 32-bit words: enough to tell two runs apart. */
const mix = (hash: number, word: number): number => Math.imul(hash ^ word, 0x01000193);

const words = new Uint32Array(2);
const double = new Float64Array(words.buffer);

/**
 * Everything that happened: all of it in one number, the last part of it to read. Events are put into words only for a
 * reader.
 */
export class Trace {
  #hash = 0x811c9dc5;
  #count = 0;
  /** The newest lines, each in its place modulo the number kept. */
  readonly #lines: TracedEvent[] = [];
  readonly #kept: number;

  constructor(kept: number = TRACE_KEPT) {
    this.#kept = kept;
  }

  add(at: number, event: SimEvent): void {
    this.#keep(at, event);
    this.#object(event);
  }

  note(at: number, text: string): void {
    this.#keep(at, text);
    this.#text(text);
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, "0");
  }

  get events(): number {
    return this.#count;
  }

  /** The last `count` lines, as far as they are kept. */
  tail(count: number): string[] {
    return this.last(count).map(({ at, event }) => {
      const text = typeof event === "string" ? event : describe(event);
      return `${at.toFixed(3).padStart(12)}  ${text}`;
    });
  }

  /** The same as they happened. */
  last(count: number): readonly TracedEvent[] {
    const lines = this.#lines;
    const oldest = lines.length < this.#kept ? 0 : this.#count % this.#kept;
    return [...lines.slice(oldest), ...lines.slice(0, oldest)].slice(-count);
  }

  #keep(at: number, event: SimEvent | string): void {
    this.#number(at);
    this.#lines[this.#count++ % this.#kept] = { at, event };
  }

  #number(value: number): void {
    double[0] = value;
    this.#hash = mix(mix(this.#hash, words[0] ?? 0), words[1] ?? 0);
  }

  #text(text: string): void {
    let hash = this.#hash;
    for (let i = 0; i < text.length; i++) hash = mix(hash, text.charCodeAt(i));
    this.#hash = mix(hash, text.length);
  }

  #object(fields: object): void {
    for (const key in fields) this.#value(fields[key as keyof typeof fields]);
  }

  #value(value: unknown): void {
    if (typeof value === "string") this.#text(value);
    else if (typeof value === "object" && value !== null) this.#object(value);
    else this.#number(Number(value));
  }
}

function describe({ type, ...fields }: SimEvent): string {
  return `${type.padEnd(15)} ${Object.entries(fields).map(format).join(" ")}`;
}

function format([key, value]: readonly [string, unknown]): string {
  if (typeof value === "object" && value !== null && "lo" in value && "hi" in value) {
    return `${key}=[${String(value.lo)}, ${String(value.hi)})`;
  }
  return `${key}=${typeof value === "object" ? JSON.stringify(value) : String(value)}`;
}
