import type { ArrayExport } from "../engine/engine-protocol.ts";

/** How an array is exported on this node, as long as it is. */
export interface Exported {
  readonly frontend: "ublk" | "nbd";
  /** What `map` prints: a disk, a path of a Unix socket, or HOST:PORT. */
  readonly device: string;
  /** What else it is called: a link, or an address that NBD clients take. */
  readonly uri: string;
  readonly readOnly: boolean;
  readonly queues: number;
  readonly depth: number;
  /** Who uses it, in words, as far as that can be told. */
  holders(): readonly string[];
  /** The end. `force`: requests that wait fail, whoever uses it. */
  end(force: boolean): Promise<void>;
}

/** What an export needs of the array: see `ClusterNode`. */
export interface ExportableArray {
  readonly name: string;
  /** md notation. */
  readonly uuid: string;
  /** Sectors. */
  readonly size: number;
  seat(): Promise<{ readonly arenaBytes: number; readonly blockSize: number }>;
  attach(frontEnd: ArrayExport): Promise<number>;
  detach(): Promise<void>;
}

/** How it is wanted. */
export interface ExportWish {
  /** auto: ublk where it can be had. */
  readonly frontend: "auto" | "ublk" | "nbd";
  /** NBD: HOST:PORT of this host, or unix:PATH; null: a Unix socket of the daemon's. */
  readonly listen: string | null;
  readonly readOnly: boolean;
  /** ublk; null: as many as is usual. */
  readonly queues: number | null;
  readonly depth: number | null;
  /** ublk: only a disk that is there already, and whose daemon died. */
  readonly recover: boolean;
}
