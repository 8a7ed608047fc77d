import type { Socket } from "node:net";

/** A peer that does not read: above this much unsent its connection ends. */
const UNSENT_LIMIT = 8 * 1024 * 1024;

/** One JSON value a line. False: the peer does not read, and was cut off. */
export function sendFrame(socket: Socket, value: unknown): boolean {
  if (socket.destroyed) return false;
  socket.write(`${JSON.stringify(value)}\n`);
  if (socket.writableLength <= UNSENT_LIMIT) return true;
  socket.destroy();
  return false;
}

/** Calls `onFrame` with each value. `onBad` ends it: a line longer than `limit` bytes, or one that is not JSON. */
export function receiveFrames(
  socket: Socket,
  limit: number,
  onFrame: (value: unknown) => void,
  onBad: (reason: string) => void,
): void {
  let parts: Buffer[] = [];
  let size = 0;
  let ended = false;
  const fail = (reason: string): void => {
    ended = true;
    parts = [];
    onBad(reason);
  };
  const line = (bytes: Buffer): void => {
    let value: unknown;
    try {
      value = JSON.parse(bytes.toString("utf8"));
    } catch {
      fail("not JSON");
      return;
    }
    onFrame(value);
  };
  socket.on("data", (chunk: Buffer) => {
    let from = 0;
    while (!ended) {
      const end = chunk.indexOf(10, from);
      const part = chunk.subarray(from, end === -1 ? chunk.length : end);
      parts.push(part);
      size += part.length;
      if (size > limit) return fail(`a frame of more than ${limit} bytes`);
      if (end === -1) return;
      const whole = parts.length === 1 ? part : Buffer.concat(parts);
      parts = [];
      size = 0;
      from = end + 1;
      line(whole);
    }
  });
}
