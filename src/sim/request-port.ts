/** Where a simulated client puts its requests to one node. */
export interface RequestPort {
  /** The node's incarnation. */
  readonly life: string;
  /** False: too many requests are under way, or the node takes none. `data` is read before `submit` returns. */
  submit(request: PortRequest): boolean;
}

export interface PortRequest {
  readonly op: "read" | "write" | "flush" | "zero";
  readonly lo: number;
  readonly hi: number;
  readonly fua: boolean;
  /** Writes only. */
  readonly data: Uint8Array | null;
  /** `data`: what a read returned, valid during the call. */
  done(errno: number, data: Uint8Array | null): void;
}
