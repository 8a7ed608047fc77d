import { readFileSync, rmSync, writeFileSync } from "node:fs";
import type { NetAddress } from "./socket-address.ts";

/**
 * A file beside the socket that says where else the lock server listens. Whoever starts it again after its death does
 * so with the same address: clients on other hosts must find it again. It is taken away by an orderly end.
 */
const pathOf = (socketPath: string): string => `${socketPath}.listen`;

export function recordListen(socketPath: string, address: NetAddress | null): void {
  if (address === null) rmSync(pathOf(socketPath), { force: true });
  else writeFileSync(pathOf(socketPath), `${JSON.stringify(address)}\n`, { mode: 0o600 });
}

/** What the server that died listened on besides its socket; null: nothing. */
export function recordedListen(socketPath: string): NetAddress | null {
  try {
    return JSON.parse(readFileSync(pathOf(socketPath), "utf8")) as NetAddress;
  } catch {
    return null;
  }
}
