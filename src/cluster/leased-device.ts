import { MdError } from "../base/md-error.ts";
import type { Sector } from "../base/units.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import type { SharedBlock } from "../engine/shared-block.ts";
import { type Clock, sleep } from "../env/clock.ts";

const POLL_MS = 10;

/** What a node's right to write hangs on, for its control plane as for its data plane. */
export class WriteLease {
  readonly #shared: SharedBlock;
  readonly #clock: Clock;
  #ended = false;
  #writing = 0;
  #whenDrained: (() => void)[] = [];

  constructor(shared: SharedBlock, clock: Clock) {
    this.#shared = shared;
    this.#clock = clock;
  }

  /** This node is no member any more: nothing is written from now on. */
  end(): void {
    this.#ended = true;
  }

  /** Resolves when no write is under way. */
  async drained(): Promise<void> {
    if (this.#writing > 0) await new Promise<void>((resolve) => this.#whenDrained.push(resolve));
  }

  /** Writes at once while the lease lasts, otherwise when it is renewed. E_NOT_JOINED when it never will be. */
  async write(write: () => Promise<void>): Promise<void> {
    await this.#held();
    this.#writing++;
    try {
      await write();
    } finally {
      this.#writing--;
      if (this.#writing === 0) for (const resolve of this.#whenDrained.splice(0)) resolve();
    }
  }

  async #held(): Promise<void> {
    while (!this.#shared.leaseHolds(this.#clock.now())) {
      this.#check();
      await sleep(this.#clock, POLL_MS);
    }
    this.#check();
  }

  #check(): void {
    if (this.#ended) throw new MdError("E_NOT_JOINED", "this node may not write: its membership has ended");
  }
}

/**
 * A member as the control plane writes it: never without the lease. A node that was stopped for a while may still
 * believe that it holds the token; others write superblocks by then.
 */
export class LeasedDevice implements BlockDevice {
  readonly path: string;
  readonly size: Sector;
  readonly logicalBlockSize: number;
  readonly #device: BlockDevice;
  readonly #lease: WriteLease;

  constructor(device: BlockDevice, lease: WriteLease) {
    this.path = device.path;
    this.size = device.size;
    this.logicalBlockSize = device.logicalBlockSize;
    this.#device = device;
    this.#lease = lease;
  }

  /** The device as it is: for what a node may write before it is a member, or for want of a lease. */
  get bare(): BlockDevice {
    return this.#device;
  }

  read(at: Sector, into: Uint8Array): Promise<void> {
    return this.#device.read(at, into);
  }

  write(at: Sector, from: Uint8Array): Promise<void> {
    return this.#lease.write(() => this.#device.write(at, from));
  }

  flush(): Promise<void> {
    return this.#device.flush();
  }

  close(): Promise<void> {
    return this.#device.close();
  }
}
