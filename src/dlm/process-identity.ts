/** A process of one host, so that its end can be proved. */
export interface ProcessIdentity {
  /** Two processes can see each other's pids only if this is equal: boot id and pid namespace. */
  readonly host: string;
  readonly pid: number;
  /** Start time as the kernel tells it (clock ticks since boot): a pid that was given out again has another. */
  readonly started: string;
}
