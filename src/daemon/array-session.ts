import type { Examination } from "../array/examine.ts";
import { MdError } from "../base/md-error.ts";
import { sectorsIn } from "../base/units.ts";
import type { ArrayEvent, ArrayStatus } from "../cluster/array-status.ts";
import type { ClusterNode } from "../cluster/cluster-node.ts";
import { mdUuidText } from "../superblock/uuid.ts";
import type { ExportableArray, Exported, ExportWish } from "./array-export.ts";
import { shortName } from "./array-name.ts";
import type { Mapping } from "./control-api.ts";
import type { LockspaceView } from "./frozen-info.ts";
import { MemberFactsCache } from "./member-facts.ts";
import { exportOverNbd } from "./nbd-export.ts";
import type { UblkHost } from "./ublk-host.ts";

/** What `map` has come to. */
export interface Mapped {
  /** False: it was exported already. */
  readonly fresh: boolean;
  /** Why it is NBD although ublk would have been preferred; null: it would not, or it is ublk. */
  readonly fallback: string | null;
}

export interface SessionOptions {
  readonly queueDepth: number;
  /** Of Unix sockets. */
  readonly folder: string;
  /** Null: this process has no ublk disks. */
  readonly ublk: UblkHost | null;
}

/** An array that this daemon has assembled: the node's life in it, and where it is exported. */
export class ArraySession {
  readonly node: ClusterNode;
  readonly name: string;
  /** md notation. */
  readonly uuid: string;
  readonly facts = new MemberFactsCache();
  readonly #options: SessionOptions;
  #export: Exported | null = null;
  /** One change of the export at a time. */
  #exporting: Promise<unknown> = Promise.resolve();

  constructor(node: ClusterNode, options: SessionOptions) {
    const { name, uuid } = node.status();
    this.node = node;
    this.name = shortName(name);
    this.uuid = mdUuidText(uuid);
    this.#options = options;
  }

  status(): ArrayStatus {
    return this.node.status();
  }

  /** The array's lockspace as this node sees it. */
  lockspace(): LockspaceView {
    const { node, name } = this;
    const { frozen } = node.status();
    return { array: name, status: node.lockspaceStatus(), frozen, waiting: node.shared.read("waitingOnLease") };
  }

  onEvent(listener: (event: ArrayEvent) => void): void {
    this.node.onEvent(listener);
  }

  /** Reads what members say of themselves: of those not known yet, or of the first good one for its bitmaps. */
  async learnMembers(): Promise<void> {
    for (const { path, deviceUuid } of this.status().members) {
      if (path !== null && deviceUuid !== null && this.facts.get(deviceUuid) === null) await this.facts.look(path);
    }
  }

  /** Superblock and bitmaps as they are on disk now, from the first in-sync member that can be read. */
  async examineMember(): Promise<Examination | null> {
    for (const { state, path } of this.status().members) {
      if (state !== "in_sync" || path === null) continue;
      const examination = await this.facts.look(path);
      if (examination !== null) return examination;
    }
    return null;
  }

  get isMapped(): boolean {
    return this.#export !== null;
  }

  /** Exports the array: as a ublk disk, or over NBD, by default whichever can be had, the disk first. */
  map(wish: ExportWish): Promise<Mapped> {
    return this.#oneAtATime(async () => {
      if (this.#export !== null) return { fresh: false, fallback: null };
      const readOnly = wish.readOnly || this.status().access === "readonly";
      const { exported, fallback } = await this.#open({ ...wish, readOnly });
      this.#export = exported;
      return { fresh: true, fallback };
    });
  }

  async #open(wish: ExportWish): Promise<{ readonly exported: Exported; readonly fallback: string | null }> {
    const { folder, ublk, queueDepth: depth } = this.#options;
    const array = this.#exportable();
    let fallback: string | null = null;
    const isDisk = wish.recover || wish.frontend === "ublk" || (wish.frontend === "auto" && wish.listen === null);
    if (isDisk && ublk !== null) {
      try {
        return { exported: await ublk.export(array, wish), fallback };
      } catch (error) {
        const isChosen = wish.recover || wish.frontend === "ublk";
        if (isChosen || !(error instanceof MdError) || !mayBeNbd(error)) throw error;
        fallback = error.why === null ? error.message : `${error.message}: ${error.why}`;
      }
    }
    const { listen, readOnly } = wish;
    return { exported: await exportOverNbd(array, { folder, listen, readOnly, depth }), fallback };
  }

  #exportable(): ExportableArray {
    const { node, name, uuid } = this;
    const { size } = this.status();
    return {
      name,
      uuid,
      size,
      seat: () => node.seat(),
      attach: (frontEnd) => node.attach(frontEnd),
      detach: () => node.detach(),
    };
  }

  /** E_ARRAY_NOT_ACTIVE when it is not exported; E_HELD while it is used, unless `force`. */
  unmap(force: boolean): Promise<string> {
    return this.#oneAtATime(async () => {
      const exported = this.#mustBeMapped();
      if (!force) this.refuseInUse();
      await exported.end(force);
      this.#export = null;
      return exported.device;
    });
  }

  /** E_HELD while somebody uses it through its export. */
  refuseInUse(): void {
    if (this.#export === null) return;
    const holders = this.#export.holders();
    const inflight = this.node.shared.read("inflight");
    const hint = `mdctl unmap --force ${this.name}`;
    if (holders.length > 0) {
      throw new MdError("E_HELD", `${this.name} is in use: ${this.#export.device} is ${holders.join(", ")}`, {
        hint,
        details: { holders },
      });
    }
    if (inflight > 0)
      throw new MdError("E_HELD", `${this.name} is in use: ${inflight} requests are in flight`, { hint });
  }

  /** For a daemon that ends: a disk that nobody uses goes; one that is used waits for the next daemon. Null: all is over. */
  async leaveExport(): Promise<string | null> {
    const exported = this.#export;
    if (exported === null || exported.frontend !== "ublk") return null;
    if (exported.holders().length > 0) return exported.device;
    await this.unmap(false);
    return null;
  }

  /** Null: not exported. */
  get mapping(): Mapping | null {
    if (this.#export === null) return null;
    const { device, uri, frontend, readOnly, queues, depth } = this.#export;
    const { shared } = this.node;
    return {
      device,
      uri,
      frontend,
      readOnly,
      queues,
      depth,
      openCount: null,
      io: {
        state: shared.read("waitingOnLease") > 0 ? "suspended" : "normal",
        readOps: shared.read("readOps"),
        writeOps: shared.read("writeOps"),
        readBytes: shared.read("readSectors") * 512,
        writeBytes: shared.read("writeSectors") * 512,
        inflight: shared.read("inflight"),
        slowOps: null,
        errors: shared.read("readErrors") + shared.read("writeErrors"),
      },
      throttle: { readBps: null, writeBps: null, readIops: null, writeIops: null },
    };
  }

  /** Is this the name of the export, in any form that `map` prints? */
  isExportedAs(device: string): boolean {
    return this.#export !== null && (this.#export.device === device || this.#export.uri === device);
  }

  #mustBeMapped(): Exported {
    if (this.#export !== null) return this.#export;
    throw new MdError("E_ARRAY_NOT_ACTIVE", `${this.name} is not mapped`, { hint: `mdctl map ${this.name}` });
  }

  #oneAtATime<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#exporting.then(action);
    this.#exporting = result.catch(() => {});
    return result;
  }
}

/** What was wrong with the wish itself is wrong with every kind of export. */
const mayBeNbd = ({ code }: MdError): boolean => code !== "E_VALUE" && code !== "E_DEVICE_BUSY" && code !== "E_TIMEOUT";

/** Sectors in whole bytes, for sizes that a request names. */
export const wholeSectors = (what: string, bytes: number): number => {
  if (bytes % 512 === 0) return sectorsIn(bytes);
  throw new MdError("E_VALUE", `${what}: ${bytes} bytes is not a multiple of 512`);
};
