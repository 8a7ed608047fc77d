import { mkdirSync } from "node:fs";
import { MdError } from "../base/md-error.ts";
import { openFileDevice } from "../blockdev/file-device.ts";
import type { BadBlockUpdate } from "../cluster/bad-block-update.ts";
import { type ClusterNodeOptions, defaultClusterNodeOptions, type JoinRequest } from "../cluster/cluster-deps.ts";
import { ClusterNode } from "../cluster/cluster-node.ts";
import { isRebooted, ownProcess } from "../dlm/local-process.ts";
import type { LockMaster } from "../dlm/lock-master.ts";
import type { Lockspace } from "../dlm/lockspace.ts";
import { MOST_SLOTS } from "../dlm/lockspace.ts";
import { joinLockspace } from "../dlm/lockspace-client.ts";
import { startEngine } from "../engine/engine-handle.ts";
import type { Env } from "../env/env.ts";
import { checkWatchdog } from "../fencing/watchdog.ts";
import { SyncTurns } from "../resync/sync-turns.ts";
import { mdUuidText } from "../superblock/uuid.ts";
import { shortName } from "./array-name.ts";
import { ArraySession } from "./array-session.ts";
import { tuningOf } from "./array-tuning.ts";
import { ClusterMembership } from "./cluster-membership.ts";
import type { DaemonConfig } from "./config.ts";
import type { FrozenInfo } from "./control-api.ts";
import { DeviceScan } from "./device-scan.ts";
import { diskOf } from "./disk-of.ts";
import { type ArrayFencing, FenceMethods } from "./fence-methods.ts";
import { frozenInfo, type LockspaceView } from "./frozen-info.ts";
import { Guard } from "./guard.ts";
import { ioHoldFile, isProcessOver, removeHolds } from "./io-hold-file.ts";
import { Journal } from "./journal.ts";
import { connectLockService, keepLockServer } from "./lock-service.ts";
import { LockServiceState } from "./lock-service-state.ts";
import { Operations } from "./operations.ts";
import { redact } from "./redact.ts";
import { timeText } from "./time-text.ts";
import type { TraceTap } from "./trace-tap.ts";
import { UblkHost } from "./ublk-host.ts";
import { programVersion } from "./version.ts";

export interface StartArrayRequest {
  readonly memberPaths: readonly string[];
  /** Short. */
  readonly name: string;
  readonly readOnly: boolean;
  readonly run: boolean;
  readonly force: boolean;
  readonly updateBadBlockLog?: BadBlockUpdate | null;
}

/** An array that this node was fenced from and that nobody has assembled again. */
export interface LostArray {
  /** md notation. */
  readonly uuid: string;
  readonly name: string;
  readonly reason: string;
  /** RFC 3339. */
  readonly at: string;
}

/** The composition root: one node of a cluster, wired from real parts. Arrays come and go in it. */
export class Daemon {
  readonly config: DaemonConfig;
  readonly env: Env;
  readonly master: LockMaster;
  readonly membership: ClusterMembership;
  readonly journal = new Journal();
  readonly operations: Operations;
  readonly ublk: UblkHost;
  readonly scan: DeviceScan;
  readonly startedAt: string;
  readonly #syncTurns = new SyncTurns();
  readonly #sessions = new Map<string, ArraySession>();
  readonly #starting = new Set<string>();
  /** Arrays that this node had to leave without being told to, by UUID. */
  readonly #lost = new Map<string, LostArray>();
  readonly #stopping = new AbortController();
  #drained = false;
  readonly fencing: FenceMethods;
  readonly #guard: Guard;
  readonly #onFatal: (reason: string) => void;
  readonly lockService: LockServiceState;
  readonly version = programVersion();
  readonly traceTap: TraceTap;

  /**
   * Connects to the lock service first: without one there is nothing that a node could do. E_LOCK_SERVICE_LOST;
   * E_VALUE for a fencing method that cannot work.
   */
  static async start(
    config: DaemonConfig,
    env: Env,
    tap: TraceTap,
    onFatal: (reason: string) => void,
  ): Promise<Daemon> {
    const { cluster, lease } = config;
    const { leaseMs } = lease;
    const fencing = await FenceMethods.create({ config: config.fence, cluster, leaseMs, env });
    const { watchdog, pill } = config.fence;
    if (watchdog !== null) checkWatchdog(watchdog);
    mkdirSync(config.stateDir, { recursive: true, mode: 0o755 });
    const master = await connectLockService(config.lockServer, config.node, env);
    const usesPill = pill && watchdog !== null;
    const guard = await Guard.start({ env, leaseMs, watchdog, usesPill, onDeath: onFatal });
    return new Daemon(config, env, master, { fencing, guard, tap }, onFatal);
  }

  private constructor(
    config: DaemonConfig,
    env: Env,
    master: LockMaster,
    { fencing, guard, tap }: { readonly fencing: FenceMethods; readonly guard: Guard; readonly tap: TraceTap },
    onFatal: (reason: string) => void,
  ) {
    this.config = config;
    this.fencing = fencing;
    this.#guard = guard;
    this.traceTap = tap;
    this.env = env;
    this.master = master;
    this.#onFatal = onFatal;
    this.operations = new Operations(env.clock);
    this.startedAt = timeText(env.clock.wall());
    const { node, cluster, lease } = config;
    const { journal, version } = this;
    this.ublk = new UblkHost({ clock: env.clock, cluster, node });
    this.scan = new DeviceScan(() => this.ublk.ownDisks());
    this.membership = new ClusterMembership({ master, node, cluster, lease, env, journal, version });
    this.lockService = new LockServiceState({
      master,
      env,
      address: () => this.lockServer,
      writeUntil: () => {
        const ends = this.sessions.map((session) => session.node.lockspaceStatus().writeUntil);
        return ends.length === 0 ? null : Math.min(...ends);
      },
      tell: (severity, event, text) => this.tell(severity, event, null, text),
    });
    keepLockServer(config.lockServer, master, env, this.#stopping.signal);
  }

  /** Where the lock service is, without credentials. */
  get lockServer(): string {
    return redact(this.master.about);
  }

  /** How a dead node is made sure of, beside its lease; null: the lease alone. */
  get fencingMethods(): string | null {
    return this.fencing.inWords;
  }

  /** Every lockspace that this node is a member of: the daemons' own first, then by array. */
  get lockspaces(): readonly LockspaceView[] {
    const { lockspace } = this.membership;
    const own =
      lockspace === null
        ? []
        : [{ array: null, status: lockspace.status(), frozen: lockspace.frozen, waiting: 0 } as const];
    return [...own, ...this.sessions.map((session) => session.lockspace())];
  }

  /** Null while lock operations are carried out as usual, in all lockspaces of this node or those of `array`. */
  frozen(array?: ArraySession): FrozenInfo | null {
    // Who has left has nothing to ask.
    if (this.#drained) return null;
    return frozenInfo({
      now: this.env.clock.now(),
      node: this.config.node,
      address: this.lockServer,
      lostAt: this.lockService.lostAt,
      spaces: array === undefined ? this.lockspaces : [array.lockspace()],
      hasFencer: this.fencing.inWords !== null,
    });
  }

  /** By name. */
  get sessions(): readonly ArraySession[] {
    return [...this.#sessions.values()].sort((a, b) => a.name.localeCompare(b.name) || a.uuid.localeCompare(b.uuid));
  }

  get lostArrays(): readonly LostArray[] {
    return [...this.#lost.values()];
  }

  /** Its operator knows. */
  forgetLost({ uuid }: LostArray): void {
    this.#lost.delete(uuid);
  }

  session(uuid: string): ArraySession | null {
    return this.#sessions.get(uuid) ?? null;
  }

  /**
   * Starts this node's life in the array of these members. `uuid` (md notation) is the array's. E_ARRAY_ACTIVE when it
   * is here already; errors of `ClusterNode.start`.
   */
  async startArray(uuid: string, request: StartArrayRequest): Promise<ArraySession> {
    if (this.#sessions.has(uuid) || this.#starting.has(uuid)) {
      const name = this.#sessions.get(uuid)?.name ?? uuid;
      throw new MdError("E_ARRAY_ACTIVE", `${name} is assembled on this node already`);
    }
    this.#starting.add(uuid);
    let fencing: ArrayFencing | null = null;
    try {
      const options = this.#nodeOptions(uuid, request);
      const node = await ClusterNode.start({
        env: { ...this.env, log: this.env.log.child({ array: uuid }) },
        nodeName: this.config.node,
        memberPaths: request.memberPaths,
        joinLockspace: async (wanted) => {
          fencing = this.fencing.forArray(wanted.name, wanted.access);
          return this.#joinLockspace(wanted, fencing);
        },
        startEngine,
        openDevice: async (path, how) => {
          // Whoever cannot be kept from writing it later may not have it as a member.
          await fencing?.admit(path);
          return openFileDevice(path, how);
        },
        findDevice: (deviceUuid) => this.scan.find(deviceUuid),
        diskOf,
        syncTurns: this.#syncTurns,
        options,
      });
      const session = new ArraySession(node, {
        queueDepth: options.queueDepth,
        folder: this.config.stateDir,
        ublk: this.ublk,
      });
      this.#sessions.set(uuid, session);
      this.#lost.delete(uuid);
      this.#watch(session);
      await session.learnMembers();
      const forget = this.#guard.watch(node.shared);
      void node.ended.then((end) => {
        forget();
        return end.type === "stopped" ? fencing?.left() : undefined;
      });
      return session;
    } catch (error) {
      await (fencing as ArrayFencing | null)?.left();
      throw error;
    } finally {
      this.#starting.delete(uuid);
    }
  }

  /** An array's short name that nobody here uses: the lowest mdN. */
  freeName(taken: readonly string[]): string {
    const names = new Set([...taken.map(shortName), ...this.sessions.map(({ name }) => name)]);
    for (let n = 0; ; n++) {
      if (!names.has(`md${n}`)) return `md${n}`;
    }
  }

  /** E_NOT_JOINED once the node was drained. */
  refuseIfDrained(): void {
    if (!this.#drained) return;
    throw new MdError("E_NOT_JOINED", `${this.config.node} was drained: it has left the cluster and takes no arrays`, {
      why: "its daemon was not restarted since",
    });
  }

  /** Leaves the cluster; no array is taken any more. For a daemon without arrays. */
  async drain(): Promise<void> {
    this.#drained = true;
    await this.membership.leave();
    this.tell("info", "DRAINED", null, "this node has left the cluster on the word of an operator");
  }

  /** Stops all arrays in order and leaves the cluster. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const session of this.sessions) await this.#leaveExport(session);
    await Promise.allSettled(this.sessions.map((session) => session.node.stop()));
    await this.membership.leave();
    await this.master.close();
    await this.#guard.stop();
    this.ublk.close();
    removeHolds(this.env.clock.wall());
  }

  async #leaveExport(session: ArraySession): Promise<void> {
    try {
      const left = await session.leaveExport();
      if (left !== null) this.tell("info", "LEFT", session.name, `${left} is in use, and waits for the next daemon`);
    } catch (error) {
      this.tell(
        "warn",
        "LEFT",
        session.name,
        `its disk stays: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }

  tell(severity: "info" | "warn" | "error", event: string, array: string | null, text: string): void {
    const time = timeText(this.env.clock.wall());
    this.env.log[severity]({ evt: event.toLowerCase(), ...(array === null ? {} : { array }) }, text);
    this.journal.add({ time, severity, node: this.config.node, array, event, text, fields: {} });
  }

  #nodeOptions(
    uuid: string,
    { name, readOnly, run, force, updateBadBlockLog = null }: StartArrayRequest,
  ): ClusterNodeOptions {
    const { ring, ioTimeoutMs, slowIoMs, syncSpeedMin, syncSpeedMax, lease, fence, tuned } = this.config;
    const watchPill = fence.pill && fence.watchdog !== null;
    return {
      ...defaultClusterNodeOptions,
      run,
      force,
      updateBadBlockLog,
      ring,
      ioHold: ioHoldFile(ownProcess()),
      syncSpeedMin,
      ioTimeoutMs,
      slowIoMs,
      syncSpeedMax,
      ...tuningOf(tuned, { name, uuid }),
      ...(readOnly ? { access: "readonly" } : {}),
      pillEveryMs: lease.leaseMs / 10,
      watchPill,
    };
  }

  async #joinLockspace(wanted: JoinRequest, fencing: ArrayFencing): Promise<Lockspace> {
    const { node, cluster, lease } = this.config;
    const lockspace = await joinLockspace({
      master: this.master,
      name: wanted.name,
      cluster,
      node,
      // As many for every array: how many of them it has may change while its lockspace lives.
      slots: MOST_SLOTS,
      limit: wanted.maxMembers,
      lease,
      env: this.env,
      listener: wanted.listener,
      leaseSink: wanted.lease,
      process: ownProcess(),
      isProcessGone: isProcessOver,
      isRebooted,
      ...(fencing.fencer === null ? {} : { fencer: fencing.fencer }),
    });
    try {
      await fencing.joined(lockspace.slot, lockspace.incarnation);
    } catch (error) {
      await lockspace.leave();
      throw error;
    }
    return lockspace;
  }

  #watch(session: ArraySession): void {
    const { node, name, uuid } = session;
    const note = ({ time, severity, code, text, fields }: ReturnType<typeof node.events>[number]): void => {
      this.journal.add({
        time: timeText(time),
        severity,
        node: this.config.node,
        array: name,
        event: code,
        text,
        fields,
      });
    };
    for (const event of node.events()) note(event);
    node.onEvent(note);
    void node.ended.then((end) => {
      if (this.#sessions.get(uuid) === session) this.#sessions.delete(uuid);
      if (end.type === "fenced") {
        this.#lost.set(uuid, { uuid, name, reason: end.reason, at: timeText(this.env.clock.wall()) });
        this.tell("error", "FENCED", name, `${name} is gone from this node: ${end.reason}`);
      }
      // A data plane that died must not leave a daemon behind that looks alive: the others take over when it is gone.
      if (end.type === "failed") this.#onFatal(`${name}: ${end.reason}`);
    });
  }
}

/** The array that a superblock belongs to, in md notation. */
export const arrayUuid = (superblock: { readonly setUuid: Uint8Array }): string => mdUuidText(superblock.setUuid);
