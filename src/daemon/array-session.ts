import { join } from "node:path";
import type { Examination } from "../array/examine.ts";
import { MdError } from "../base/md-error.ts";
import { sectorsIn } from "../base/units.ts";
import type { ListenAddress } from "../blockdev/io-ring.ts";
import type { ArrayEvent, ArrayStatus } from "../cluster/array-status.ts";
import type { ClusterNode } from "../cluster/cluster-node.ts";
import { mdUuidText } from "../superblock/uuid.ts";
import { fileNameOf, shortName } from "./array-name.ts";
import type { Mapping } from "./control-api.ts";
import type { LockspaceView } from "./frozen-info.ts";
import { MemberFactsCache } from "./member-facts.ts";

interface Export {
  readonly address: ListenAddress;
  readonly device: string;
  readonly uri: string;
  readonly readOnly: boolean;
}

/** An array that this daemon has assembled: the node's life in it, and where it is exported. */
export class ArraySession {
  readonly node: ClusterNode;
  readonly name: string;
  /** md notation. */
  readonly uuid: string;
  readonly facts = new MemberFactsCache();
  readonly queueDepth: number;
  #export: Export | null = null;
  /** One change of the export at a time. */
  #exporting: Promise<unknown> = Promise.resolve();

  constructor(node: ClusterNode, options: { readonly queueDepth: number }) {
    const { name, uuid } = node.status();
    this.node = node;
    this.name = shortName(name);
    this.uuid = mdUuidText(uuid);
    this.queueDepth = options.queueDepth;
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

  /**
   * Exports the array over NBD, on a Unix socket in `folder` unless `listen` says otherwise (HOST:PORT of this host, or
   * unix:PATH). False: it is exported already.
   */
  map(folder: string, options: { readonly listen: string | null; readonly readOnly: boolean }): Promise<boolean> {
    return this.#oneAtATime(async () => {
      if (this.#export !== null) return false;
      const address = listenAddress(options.listen, join(folder, `${fileNameOf(this.name, this.uuid)}.nbd.sock`));
      const readOnly = options.readOnly || this.status().access === "readonly";
      const port = await this.node.attach({
        type: "nbd",
        address,
        exportName: this.name,
        readOnly,
        // One loop serves all connections of this node: a flush on one covers what was written on any.
        multiConn: true,
      });
      this.#export = exportOf(address, port, this.name, readOnly);
      return true;
    });
  }

  /** E_ARRAY_NOT_ACTIVE when it is not exported; E_HELD while requests are in flight, unless `force`. */
  unmap(force: boolean): Promise<string> {
    return this.#oneAtATime(async () => {
      const { device } = this.#mustBeMapped();
      const inflight = this.node.shared.read("inflight");
      if (inflight > 0 && !force) {
        throw new MdError("E_HELD", `${this.name} has ${inflight} requests in flight`, {
          hint: `mdctl unmap --force ${this.name}`,
        });
      }
      await this.node.detach();
      this.#export = null;
      return device;
    });
  }

  /** Null: not exported. */
  get mapping(): Mapping | null {
    if (this.#export === null) return null;
    const { device, uri, readOnly } = this.#export;
    const { shared } = this.node;
    return {
      device,
      uri,
      frontend: "nbd",
      readOnly,
      queues: 1,
      depth: this.queueDepth,
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

  #mustBeMapped(): Export {
    if (this.#export !== null) return this.#export;
    throw new MdError("E_ARRAY_NOT_ACTIVE", `${this.name} is not mapped`, { hint: `mdctl map ${this.name}` });
  }

  #oneAtATime<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#exporting.then(action);
    this.#exporting = result.catch(() => {});
    return result;
  }
}

function listenAddress(listen: string | null, otherwise: string): ListenAddress {
  if (listen === null) return { type: "unix", path: otherwise };
  if (listen.startsWith("unix:")) return { type: "unix", path: listen.slice("unix:".length) };
  const match = /^(\[[0-9a-fA-F:]+\]|[^:]+):(\d{1,5})$/.exec(listen);
  const host = match?.[1]?.replace(/^\[|\]$/g, "") ?? "";
  if (match === null) throw new MdError("E_VALUE", `listen: "${listen}" is neither HOST:PORT nor unix:PATH`);
  if (!/^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(host)) {
    throw new MdError("E_VALUE", `listen: ${host} is not an address of this host alone`, {
      why: "NBD has no passwords: whoever reaches the port may read and write the array",
      hint: `--listen=127.0.0.1:${match[2]}`,
    });
  }
  return { type: "tcp", host, port: Number(match[2]) };
}

function exportOf(address: ListenAddress, port: number, name: string, readOnly: boolean): Export {
  const exportName = encodeURIComponent(name);
  if (address.type === "unix") {
    const uri = `nbd+unix:///${exportName}?socket=${encodeURI(address.path)}`;
    return { address, device: address.path, uri, readOnly };
  }
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return { address, device: `${host}:${port}`, uri: `nbd://${host}:${port}/${exportName}`, readOnly };
}

/** Sectors in whole bytes, for sizes that a request names. */
export const wholeSectors = (what: string, bytes: number): number => {
  if (bytes % 512 === 0) return sectorsIn(bytes);
  throw new MdError("E_VALUE", `${what}: ${bytes} bytes is not a multiple of 512`);
};
