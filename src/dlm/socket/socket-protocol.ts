import type { LockCall, LockEvent, LockReply, LockspaceId } from "../lock-call.ts";
import type { WatchedMember } from "../lock-master.ts";

/** Raised with every change that an older peer would misunderstand. */
export const SOCKET_PROTOCOL = 1;

/** Client to lock server, one JSON value a line; `id` is the client's and comes back. */
export type SocketRequest =
  | { readonly type: "hello"; readonly protocol: number }
  | { readonly type: "call"; readonly id: number; readonly lockspace: LockspaceId; readonly call: LockCall }
  | { readonly type: "watch"; readonly id: number; readonly lockspace: LockspaceId; readonly member: WatchedMember }
  | { readonly type: "unwatch"; readonly id: number };

/** Lock server to client. After `refused` it closes the connection. */
export type SocketResponse =
  | { readonly type: "hello"; readonly protocol: number; readonly pid: number }
  | { readonly type: "reply"; readonly id: number; readonly reply: LockReply }
  | { readonly type: "events"; readonly id: number; readonly events: readonly LockEvent[] }
  | { readonly type: "refused"; readonly reason: string };

/** Longest request in bytes. Replies may be longer: a dump lists everything. */
export const REQUEST_LIMIT = 64 * 1024;
export const RESPONSE_LIMIT = 64 * 1024 * 1024;
