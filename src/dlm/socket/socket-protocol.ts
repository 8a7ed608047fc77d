import type { WireReply } from "../known-members.ts";
import type { LockCall, LockEvent, LockspaceId } from "../lock-call.ts";
import type { WatchedMember } from "../lock-master.ts";

/** Raised with every change that an older peer would misunderstand. 2: a hello comes first, refusals say of what kind. */
export const SOCKET_PROTOCOL = 2;

/** Client to lock server, one JSON value a line, `hello` first; `id` is the client's and comes back. */
export type SocketRequest =
  | { readonly type: "hello"; readonly protocol: number }
  /** `known`: the generation whose members the client knows; see `abbreviate`. */
  | {
      readonly type: "call";
      readonly id: number;
      readonly lockspace: LockspaceId;
      readonly call: LockCall;
      readonly known?: number;
    }
  | { readonly type: "watch"; readonly id: number; readonly lockspace: LockspaceId; readonly member: WatchedMember }
  | { readonly type: "unwatch"; readonly id: number };

/** protocol: another version. certificate: who the client is was not shown. request: what it sent makes no sense. */
export type Refusal = "protocol" | "certificate" | "request";

/** Lock server to client. After `refused` it closes the connection. */
export type SocketResponse =
  | { readonly type: "hello"; readonly protocol: number; readonly pid: number }
  | { readonly type: "reply"; readonly id: number; readonly reply: WireReply }
  | { readonly type: "events"; readonly id: number; readonly events: readonly LockEvent[] }
  | { readonly type: "refused"; readonly kind: Refusal; readonly reason: string };

/** Longest first frame, before it is known who speaks. */
export const HELLO_LIMIT = 1024;
/** Longest request in bytes: a member that tells all its locks. Replies may be longer: a dump lists everything. */
export const REQUEST_LIMIT = 1024 * 1024;
export const RESPONSE_LIMIT = 64 * 1024 * 1024;
