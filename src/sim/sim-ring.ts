import { assert } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { SECTOR_SIZE, type Sector } from "../base/units.ts";
import { type DeviceIndex, type IoRing, type RingOptions, type Tag, WRITE_DURABLE } from "../blockdev/io-ring.ts";
import type { Timer } from "../env/clock.ts";
import type { SimClock } from "./sim-clock.ts";
import type { DiskOp, DiskUser, SimDisk } from "./sim-disk.ts";
import type { World } from "./world.ts";

export interface SimRingOptions extends RingOptions {
  readonly world: World;
  readonly clock: SimClock;
  readonly user: DiskUser;
  readonly disks: ReadonlyMap<string, SimDisk>;
  /** How often a transfer is cut short. */
  readonly shortTransfers?: number;
  /** False: `zero` is refused with -EOPNOTSUPP. */
  readonly zeroes?: boolean;
}

const EBADF = -9;
const EINVAL = -22;
const EOPNOTSUPP = -95;

/**
 * The data plane's ring over simulated disks. Completions come back in the order that the world chose, several a turn
 * or one by one, now and then short. It has no sockets: requests reach the engine through a front end of its own.
 */
export class SimRing implements IoRing {
  readonly kind = "simulated";
  readonly about = "simulated: disks, order and faults come from a seed";
  readonly arena: Uint8Array;
  readonly wakeHandle = { type: "none" } as const;
  readonly completedTag: Uint32Array;
  readonly completedResult: Int32Array;
  readonly onReady = {
    set: (listener: () => void): void => {
      this.#listener = listener;
    },
  };
  readonly #options: SimRingOptions;
  readonly #devices: ({ readonly disk: SimDisk; readonly readOnly: boolean } | null)[] = [];
  readonly #ready: { readonly tag: Tag; readonly result: number }[] = [];
  /** Operations take effect when a turn submits them, not when they are queued. */
  #queued: (() => void)[] = [];
  #listener: () => void = () => {};
  #pendingWake = false;
  #timeout: Timer | null = null;
  #inFlight = 0;

  constructor(options: SimRingOptions) {
    this.#options = options;
    this.arena = new Uint8Array(options.arenaBytes);
    this.completedTag = new Uint32Array(options.entries * 2);
    this.completedResult = new Int32Array(options.entries * 2);
    // The loop looks at the lease and enters the kernel at once; what may stand still in between no checker can forgive.
    options.user.thread.beforePause(() => this.#submit());
  }

  openDevice(path: string, { readOnly }: { readonly readOnly: boolean }): DeviceIndex {
    const disk = this.#options.disks.get(path);
    if (disk === undefined) throw new MdError("E_NO_DEVICE", `cannot open ${path}: ENOENT`);
    return this.#devices.push({ disk, readOnly }) - 1;
  }

  closeDevice(device: DeviceIndex): void {
    assert(this.#devices[device] != null, "a device is closed twice");
    this.#devices[device] = null;
  }

  logicalBlockSize(_device: DeviceIndex): number {
    return SECTOR_SIZE;
  }

  read(device: DeviceIndex, at: Sector, sectors: number, buffer: number, tag: Tag): void {
    const bytes = this.#shorten(sectors) * SECTOR_SIZE;
    this.#queue(device, at, sectors, tag, () => ({
      type: "read",
      at,
      target: this.arena.subarray(buffer, buffer + bytes),
    }));
  }

  write(device: DeviceIndex, at: Sector, sectors: number, buffer: number, flags: number, tag: Tag): void {
    const bytes = this.#shorten(sectors) * SECTOR_SIZE;
    this.#queue(device, at, sectors, tag, () => ({
      type: "write",
      at,
      source: this.arena.subarray(buffer, buffer + bytes),
      durable: (flags & WRITE_DURABLE) !== 0,
    }));
  }

  flush(device: DeviceIndex, tag: Tag): void {
    this.#queue(device, 0, 0, tag, () => ({ type: "flush" }));
  }

  zero(device: DeviceIndex, at: Sector, sectors: number, _punch: boolean, tag: Tag): void {
    const source = new Uint8Array(sectors * SECTOR_SIZE);
    if (this.#options.zeroes === false) this.#refuse(tag, EOPNOTSUPP);
    else this.#queue(device, at, sectors, tag, () => ({ type: "write", at, source, durable: false }), 0);
  }

  listen(): never {
    throw new MdError("E_IO", "a simulated ring has no sockets");
  }

  portOf(): number {
    return 0;
  }

  accept(_listener: number, tag: Tag): void {
    this.#refuse(tag, EOPNOTSUPP);
  }

  receive(_socket: number, _buffer: number, _bytes: number, tag: Tag): void {
    this.#refuse(tag, EOPNOTSUPP);
  }

  sendNow(): number {
    return 0;
  }

  send(_socket: number, _buffer: number, _bytes: number, tag: Tag): void {
    this.#refuse(tag, EOPNOTSUPP);
  }

  closeSocket(): void {}

  submitAndReap(waitMs: number): number {
    this.#submit();
    this.#timeout?.cancel();
    this.#timeout = null;
    // Not always all that is there: a batch may end anywhere.
    const { random } = this.#options.world;
    const all = Math.min(this.#ready.length, this.completedTag.length);
    const count = all > 1 && random.chance(0.2) ? random.integer(1, all) : all;
    for (const [i, { tag, result }] of this.#ready.splice(0, count).entries()) {
      this.completedTag[i] = tag;
      this.completedResult[i] = result;
    }
    if (this.#ready.length > 0) this.wake();
    else if (count === 0 && waitMs > 0) this.#timeout = this.#options.clock.after(waitMs, () => this.#listener());
    return count;
  }

  #submit(): void {
    for (const start of this.#queued.splice(0)) start();
  }

  /** Has the owner run a turn soon. */
  wake(): void {
    if (this.#pendingWake) return;
    this.#pendingWake = true;
    const { world, user } = this.#options;
    world.schedule(world.random.between(0, 0.02), user.thread, () => {
      this.#pendingWake = false;
      this.#listener();
    });
  }

  /** `givenUp`: operations that a disk that hangs has still. */
  close(givenUp = 0): void {
    assert(this.#inFlight === givenUp, "a ring is closed with operations in flight");
    this.#timeout?.cancel();
    this.#listener = () => {};
  }

  #queue(device: DeviceIndex, at: number, sectors: number, tag: Tag, op: () => DiskOp, result?: number): void {
    this.wake();
    const errno = this.#mistake(device, at, sectors);
    const disk = this.#devices[device]?.disk;
    if (errno !== 0 || disk === undefined) {
      this.#refuse(tag, errno);
      return;
    }
    this.#inFlight++;
    this.#queued.push(() => {
      const planned = op();
      const refused = planned.type === "write" && this.#devices[device]?.readOnly;
      const finish = (got: number): void => {
        this.#inFlight--;
        this.#complete(tag, got < 0 ? got : (result ?? got));
      };
      if (refused) finish(EBADF);
      else disk.submit(planned, this.#options.user, finish);
    });
  }

  #mistake(device: DeviceIndex, at: number, sectors: number): number {
    const disk = this.#devices[device]?.disk;
    if (disk === undefined) return EBADF;
    return at < 0 || at + sectors > disk.sectors ? EINVAL : 0;
  }

  /** Comes back with the next turn, as from a kernel that looked at it and said no. */
  #refuse(tag: Tag, result: number): void {
    this.wake();
    this.#queued.push(() => this.#complete(tag, result));
  }

  #complete(tag: Tag, result: number): void {
    this.#ready.push({ tag, result });
    this.wake();
  }

  #shorten(sectors: number): number {
    const { world, shortTransfers = 0 } = this.#options;
    return sectors > 1 && world.random.chance(shortTransfers) ? world.random.integer(1, sectors) : sectors;
  }
}
