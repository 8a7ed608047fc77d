import type { IoRing } from "../io-ring.ts";
import type { ExportDescription } from "./export-description.ts";
import type { NbdRequests } from "./nbd-requests.ts";

/** What the connections of one server share. */
export interface NbdCore {
  readonly ring: IoRing;
  /** All of the ring's arena, for headers. */
  readonly view: DataView;
  readonly exported: ExportDescription;
  readonly requests: NbdRequests;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** New requests are refused, and nothing more is received. */
  draining: boolean;
  /** Gives a checked request to the array, now or when it has room. */
  readonly offer: (request: number) => void;
  /** The client may be gone: its writes that are not on their way to members yet are given up; `all`: its reads, too. */
  readonly withdraw: (connection: number, all: boolean) => void;
  /** The tag of a connection's receive or send. */
  readonly tagOf: (operation: number, connection: number) => number;
}

/** Which operation a completion ends: bits 16 and up of a tag; the connection is below them. */
export const NbdOperation = { accept: 0, receive: 1, send: 2 } as const;
export const OPERATION_SHIFT = 16;
