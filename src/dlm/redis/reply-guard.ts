/** What no reply of a lock server comes near: beyond it, it is not one, or it is out of its mind. */
const LIMITS = { line: 64 * 1024, bulk: 16 * 1024 * 1024, depth: 8, reply: 32 * 1024 * 1024 } as const;

const MESSAGE = "message";

const CR = 13;
const LF = 10;
const DASH = 45;
const BULK = 0x24; // $
const ARRAY = 0x2a; // *

/**
 * Looks at the bytes of a connection (RESP2) before the client library does, which would reserve memory for whatever a
 * header announces, and take a reply that nobody asked for as the next one's. Counts and adds up; keeps no byte but the header that is being read.
 */
export class ReplyGuard {
  /** Values still to come at each level of the reply being read. */
  readonly #open: number[] = [];
  #state: "type" | "length" | "text" | "payload" = "type";
  #type = 0;
  #digits = "";
  /** Bytes of a bulk string, and its line end, still to come. */
  #left = 0;
  #line = 0;
  #reply = 0;
  /** Replies that were asked for and have not begun. */
  #expected = 0;
  readonly #listens: boolean;
  /** Of a connection that listens: an array may be a message, which its first string tells; the rest of one is strings. */
  #kind: "reply" | "unknown" | "message" = "reply";
  #word = "";

  /** `listens`: messages of a subscription come unasked, ["message", channel, text]. */
  constructor(listens = false) {
    this.#listens = listens;
  }

  /** A command has been written. */
  expectOne(): void {
    this.#expected += 1;
  }

  /** What is wrong with the stream, or null. After the first complaint it must not be asked again. */
  inspect(chunk: Uint8Array): string | null {
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === "payload") {
        const taken = Math.min(this.#left, chunk.length - at);
        if (this.#kind === "unknown") this.#word += String.fromCharCode(...chunk.subarray(at, at + taken));
        this.#left -= taken;
        at += taken;
        if (this.#left > 0) continue;
        const complaint = this.#kind === "unknown" ? this.#judgeWord() : null;
        if (complaint !== null) return complaint;
        this.#valueEnds();
        continue;
      }
      const complaint = this.#header(chunk[at] ?? 0);
      if (complaint !== null) return complaint;
      at += 1;
    }
    return null;
  }

  #header(byte: number): string | null {
    if (this.#state === "type") {
      const complaint = this.#valueBegins(byte);
      if (complaint !== null) return complaint;
      this.#type = byte;
      this.#digits = "";
      this.#line = 0;
      switch (byte) {
        case 0x2b: // + simple string
        case 0x2d: // - error
        case 0x3a: // : integer
          this.#state = "text";
          return null;
        case BULK:
        case ARRAY:
          this.#state = "length";
          return null;
        default:
          return `a reply begins with byte ${byte}`;
      }
    }
    this.#line += 1;
    if (this.#state === "text") {
      if (byte === LF) return this.#grow(this.#line) ?? this.#valueEnds();
      return this.#line > LIMITS.line ? `a line of more than ${LIMITS.line} bytes` : null;
    }
    if (byte === LF) return this.#lengthKnown();
    if (byte === CR) return null;
    if (!((byte >= 48 && byte <= 57) || (byte === DASH && this.#digits === "")) || this.#digits.length > 12) {
      return "a length that is no number";
    }
    this.#digits += String.fromCharCode(byte);
    return null;
  }

  #valueBegins(type: number): string | null {
    if (this.#open.length > 0) return this.#kind !== "reply" && type !== BULK ? this.#notAMessage() : null;
    this.#kind = this.#listens && type === ARRAY ? "unknown" : "reply";
    this.#word = "";
    return this.#kind === "reply" ? this.#take() : null;
  }

  /** A reply begins: was it asked for? */
  #take(): string | null {
    if (this.#expected === 0) return "a reply that nobody asked for";
    this.#expected -= 1;
    return null;
  }

  /** The first string of an array is there. */
  #judgeWord(): string | null {
    if (this.#word !== `${MESSAGE}\r\n` || this.#open[0] !== 3) return this.#notAMessage();
    this.#kind = "message";
    return null;
  }

  #notAMessage(): string | null {
    if (this.#kind === "message") return "a message that is none";
    this.#kind = "reply";
    return this.#take();
  }

  #lengthKnown(): string | null {
    const length = Number.parseInt(this.#digits, 10);
    if (Number.isNaN(length)) return "a length that is no number";
    const isEmpty = length <= 0 && !(length === 0 && this.#type === BULK);
    const isOther = this.#kind === "unknown" && this.#type === BULK && length !== MESSAGE.length;
    const complaint = isOther || (isEmpty && this.#kind !== "reply") ? this.#notAMessage() : null;
    if (complaint !== null) return complaint;
    if (isEmpty) return this.#valueEnds();
    if (this.#type === BULK) {
      if (length > LIMITS.bulk) return `a string of ${length} bytes`;
      this.#left = length + 2;
      this.#state = "payload";
      return this.#grow(length);
    }
    if (this.#open.length >= LIMITS.depth) return `arrays nested more than ${LIMITS.depth} deep`;
    this.#open.push(length);
    this.#state = "type";
    return this.#grow(8 * length); // what the library reserves for it
  }

  /** Counts what the reply being read costs. */
  #grow(bytes: number): string | null {
    this.#reply += bytes;
    return this.#reply > LIMITS.reply ? `a reply of more than ${LIMITS.reply} bytes` : null;
  }

  #valueEnds(): null {
    this.#state = "type";
    for (let level = this.#open.length - 1; level >= 0; level--) {
      const rest = (this.#open[level] ?? 0) - 1;
      this.#open[level] = rest;
      if (rest > 0) return null;
      this.#open.pop();
    }
    this.#reply = 0;
    return null;
  }
}
