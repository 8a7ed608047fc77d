import type { ExportDescription } from "./export-description.ts";
import {
  HandshakeFlag,
  IHAVEOPT,
  InfoType,
  MAX_STRING,
  NBDMAGIC,
  OPTION_REPLY_MAGIC,
  Option,
  OptionReply,
  TransmissionFlag,
} from "./protocol.ts";

/** Options with more data are refused, and their data is skipped unread. */
const MAX_OPTION_BYTES = 16 * 1024;
/** A longer one is an attack: the connection ends. */
const MAX_SKIPPED_BYTES = 1024 * 1024;
const OPTION_HEADER_BYTES = 16;
/** Behind the answer to EXPORT_NAME, unless both sides agreed to leave them out. */
const EXPORT_NAME_ZEROES = 124;

interface Negotiated {
  readonly noZeroes: boolean;
  readonly structured: boolean;
}

export type HandshakeState =
  | { readonly at: "client_flags" }
  | (Negotiated & { readonly at: "options"; readonly fixed: boolean })
  /** Data of a refused option; the answer follows it. */
  | { readonly at: "skipping"; readonly left: number; readonly answer: Uint8Array; readonly after: HandshakeState }
  | (Negotiated & { readonly at: "transmission" });

export interface HandshakeStep {
  readonly state: HandshakeState;
  /** Bytes of the input that are used up. */
  readonly consumed: number;
  /** To be sent before anything else is. */
  readonly reply: Uint8Array;
  /**
   * wait: for more bytes than are there. again: what is left of the input, once the reply is sent. transmission: the
   * handshake is over. close: the connection too, once the reply is sent.
   */
  readonly next: "wait" | "again" | "transmission" | "close";
}

export const initialHandshake: HandshakeState = { at: "client_flags" };

/** What the server says first. */
export function greeting(): Uint8Array {
  const view = new DataView(new ArrayBuffer(18));
  setPair(view, 0, NBDMAGIC);
  setPair(view, 8, IHAVEOPT);
  view.setUint16(16, HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES);
  return new Uint8Array(view.buffer);
}

/**
 * Fixed newstyle negotiation. `input` is all that has arrived and is not used up; at most one option is answered a
 * step, so that a client that does not read its answers is not served either.
 */
export function handshakeStep(state: HandshakeState, input: Uint8Array, exported: ExportDescription): HandshakeStep {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  switch (state.at) {
    case "client_flags":
      return clientFlags(state, view);
    case "options":
      return option(state, input, view, exported);
    case "skipping": {
      const left = state.left - input.length;
      if (left > 0) return { state: { ...state, left }, consumed: input.length, reply: nothing, next: "wait" };
      return { state: state.after, consumed: state.left, reply: state.answer, next: "again" };
    }
    case "transmission":
      return { state, consumed: 0, reply: nothing, next: "transmission" };
  }
}

type OptionsState = Extract<HandshakeState, { at: "options" }>;

const nothing = new Uint8Array(0);
const wait = (state: HandshakeState): HandshakeStep => ({ state, consumed: 0, reply: nothing, next: "wait" });
const close = (state: HandshakeState): HandshakeStep => ({ state, consumed: 0, reply: nothing, next: "close" });

function clientFlags(state: HandshakeState, view: DataView): HandshakeStep {
  if (view.byteLength < 4) return wait(state);
  const flags = view.getUint32(0);
  if ((flags & ~(HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES)) !== 0) return close(state);
  const fixed = (flags & HandshakeFlag.FIXED_NEWSTYLE) !== 0;
  const noZeroes = (flags & HandshakeFlag.NO_ZEROES) !== 0;
  return { state: { at: "options", fixed, noZeroes, structured: false }, consumed: 4, reply: nothing, next: "again" };
}

function option(state: OptionsState, input: Uint8Array, view: DataView, exported: ExportDescription): HandshakeStep {
  if (input.length < OPTION_HEADER_BYTES) return wait(state);
  if (!isPair(view, 0, IHAVEOPT)) return close(state);
  const number = view.getUint32(8);
  const length = view.getUint32(12);
  // Without the "fixed" flag the client could not read an option's answer.
  if (!state.fixed && number !== Option.EXPORT_NAME) return close(state);
  if (length > MAX_SKIPPED_BYTES) return close(state);
  if (number === Option.EXPORT_NAME && length > MAX_STRING) return close(state);

  const unknown = !isKnown(number);
  if (unknown || length > MAX_OPTION_BYTES) {
    const answer = optionReply(number, unknown ? OptionReply.ERR_UNSUP : OptionReply.ERR_TOO_BIG);
    const skipping: HandshakeState = { at: "skipping", left: length, answer, after: state };
    return { state: skipping, consumed: OPTION_HEADER_BYTES, reply: nothing, next: "again" };
  }
  const consumed = OPTION_HEADER_BYTES + length;
  if (input.length < consumed) return wait(state);
  return { ...answerOption(state, number, input.slice(OPTION_HEADER_BYTES, consumed), exported), consumed };
}

type Answer = Omit<HandshakeStep, "consumed">;

const isKnown = (number: number): boolean =>
  number !== Option.STARTTLS && Object.values<number>(Option).includes(number);

function answerOption(state: OptionsState, number: number, data: Uint8Array, exported: ExportDescription): Answer {
  const answer = (type: number, text = ""): Answer => ({
    state,
    reply: optionReply(number, type, new TextEncoder().encode(text)),
    next: "again",
  });
  switch (number) {
    case Option.EXPORT_NAME:
      return exportName(state, data, exported);
    case Option.ABORT:
      return { ...answer(OptionReply.ACK), next: "close" };
    case Option.LIST:
      if (data.length > 0) return answer(OptionReply.ERR_INVALID, "LIST takes no data");
      return { state, reply: concat(serverReply(exported), optionReply(number, OptionReply.ACK)), next: "again" };
    case Option.INFO:
    case Option.GO:
      return infoOrGo(state, number, data, exported);
    case Option.STRUCTURED_REPLY:
      if (data.length > 0) return answer(OptionReply.ERR_INVALID, "STRUCTURED_REPLY takes no data");
      return { ...answer(OptionReply.ACK), state: { ...state, structured: true } };
    default: {
      // LIST_META_CONTEXT and SET_META_CONTEXT: we have no context to offer.
      const name = state.structured ? metaContextExport(data) : null;
      if (name === null) return answer(OptionReply.ERR_INVALID);
      return answer(isName(name, exported) ? OptionReply.ACK : OptionReply.ERR_UNKNOWN);
    }
  }
}

function exportName(state: OptionsState, name: Uint8Array, exported: ExportDescription): Answer {
  if (!isName(name, exported)) return { state, reply: nothing, next: "close" };
  const view = new DataView(new ArrayBuffer(10 + (state.noZeroes ? 0 : EXPORT_NAME_ZEROES)));
  setU64(view, 0, exported.size);
  view.setUint16(8, flagsFor(state, exported));
  return { state: { ...state, at: "transmission" }, reply: new Uint8Array(view.buffer), next: "transmission" };
}

function infoOrGo(state: OptionsState, number: number, data: Uint8Array, exported: ExportDescription): Answer {
  const request = parseInfoRequest(data);
  if (request === null) return { state, reply: optionReply(number, OptionReply.ERR_INVALID), next: "again" };
  if (!isName(request.name, exported)) {
    const text = new TextEncoder().encode(`the export is called "${exported.name}"`);
    return { state, reply: optionReply(number, OptionReply.ERR_UNKNOWN, text), next: "again" };
  }
  const about = new DataView(new ArrayBuffer(12));
  about.setUint16(0, InfoType.EXPORT);
  setU64(about, 2, exported.size);
  about.setUint16(10, flagsFor(state, exported));

  const blocks = new DataView(new ArrayBuffer(14));
  blocks.setUint16(0, InfoType.BLOCK_SIZE);
  blocks.setUint32(2, exported.minimumBlock);
  blocks.setUint32(6, exported.preferredBlock);
  blocks.setUint32(10, exported.maximumPayload);

  const infos: Uint8Array[] = [new Uint8Array(about.buffer), new Uint8Array(blocks.buffer)];
  if (request.types.includes(InfoType.NAME)) {
    infos.push(concat(Uint8Array.of(0, InfoType.NAME), new TextEncoder().encode(exported.name)));
  }
  const reply = concat(
    ...infos.map((info) => optionReply(number, OptionReply.INFO, info)),
    optionReply(number, OptionReply.ACK),
  );
  if (number === Option.INFO) return { state, reply, next: "again" };
  return { state: { ...state, at: "transmission" }, reply, next: "transmission" };
}

/** DF is only defined where replies come in chunks. */
const flagsFor = ({ structured }: Negotiated, { flags }: ExportDescription): number =>
  structured ? flags | TransmissionFlag.SEND_DF : flags;

/** The empty name asks for the default export, which ours is. */
const isName = (name: Uint8Array, exported: ExportDescription): boolean =>
  name.length === 0 || Buffer.from(name).equals(Buffer.from(exported.name));

/** Name length u32, name, count u16, so many info types u16; null when that is not what it is. */
function parseInfoRequest(data: Uint8Array): { readonly name: Uint8Array; readonly types: readonly number[] } | null {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 6) return null;
  const nameLength = view.getUint32(0);
  if (nameLength > MAX_STRING || data.length < 6 + nameLength) return null;
  const count = view.getUint16(4 + nameLength);
  if (data.length !== 6 + nameLength + 2 * count) return null;
  const types = Array.from({ length: count }, (_, i) => view.getUint16(6 + nameLength + 2 * i));
  return { name: data.slice(4, 4 + nameLength), types };
}

/** Name length u32, name, count u32, each query with its length u32: the name, or null when it is not well formed. */
function metaContextExport(data: Uint8Array): Uint8Array | null {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 8) return null;
  const nameLength = view.getUint32(0);
  if (nameLength > MAX_STRING || data.length < 8 + nameLength) return null;
  let at = 8 + nameLength;
  for (let queries = view.getUint32(4 + nameLength); queries > 0; queries--) {
    if (at + 4 > data.length) return null;
    at += 4 + view.getUint32(at);
  }
  return at === data.length ? data.slice(4, 4 + nameLength) : null;
}

function serverReply(exported: ExportDescription): Uint8Array {
  const name = new TextEncoder().encode(exported.name);
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, name.length);
  return optionReply(Option.LIST, OptionReply.SERVER, concat(new Uint8Array(view.buffer), name));
}

function optionReply(number: number, type: number, data: Uint8Array = nothing): Uint8Array {
  const view = new DataView(new ArrayBuffer(20 + data.length));
  setPair(view, 0, OPTION_REPLY_MAGIC);
  view.setUint32(8, number);
  view.setUint32(12, type);
  view.setUint32(16, data.length);
  new Uint8Array(view.buffer).set(data, 20);
  return new Uint8Array(view.buffer);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 4, value >>> 0);
}

function setPair(view: DataView, at: number, [high, low]: readonly [number, number]): void {
  view.setUint32(at, high);
  view.setUint32(at + 4, low);
}

const isPair = (view: DataView, at: number, [high, low]: readonly [number, number]): boolean =>
  view.getUint32(at) === high && view.getUint32(at + 4) === low;
