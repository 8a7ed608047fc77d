/** What the functions in Redis answer and publish (src/dlm/redis/redis-wire.ts), right or wrong, byte by byte. */

const packed = (numbers: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(8 * numbers.length);
  for (const [at, number] of numbers.entries()) bytes.writeDoubleLE(number, 8 * at);
  return bytes;
};

/** `kind`: c, v, b or j; `numbers`: n, seq and what the kind has. */
export function packedEvent(kind: string, numbers: readonly number[], text = ""): Buffer {
  const body = Buffer.concat([Buffer.from(kind), packed(numbers), Buffer.from(text)]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(4 + body.length);
  return Buffer.concat([length, body]);
}

export const packedMessage = (epoch: number, incarnation: string, event: Buffer): Buffer =>
  Buffer.concat([packed([epoch]), Buffer.from([incarnation.length]), Buffer.from(incarnation), event]);

interface Spoken {
  readonly rc?: number;
  readonly value?: number;
  readonly seq?: number;
  readonly epoch?: number;
  readonly generation?: number;
  readonly events?: readonly Buffer[];
  /** Of the events, if something else than the truth is to be told. */
  readonly length?: number;
  /** JSON. */
  readonly rest?: string;
}

/** What follows the mark. */
export function packedReply(spoken: Spoken = {}): Buffer {
  const { rc = 0, value = 0, seq = 1, epoch = 1, generation = 1, rest = "" } = spoken;
  const events = Buffer.concat(spoken.events ?? []);
  const head = packed([rc, value, seq, epoch, generation, spoken.length ?? events.length]);
  return Buffer.concat([head, events, Buffer.from(rest)]);
}
