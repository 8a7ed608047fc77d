import { unreachable } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { pageOfBit } from "../bitmap/bitmap-layout.ts";
import { setBits } from "../bitmap/bitmap-merge.ts";
import type { EngineCore } from "./engine-core.ts";
import type { EngineParts } from "./engine-parts.ts";
import type { EngineAnswer, EngineCommand, EngineMember, EngineToWorker } from "./engine-protocol.ts";
import { MemberState } from "./member-table.ts";
import { Shutdown } from "./shutdown.ts";

/** Asked once a turn: the answer once there is one. */
type Progress = (leaseHeld: boolean) => EngineAnswer | null;

interface Pending {
  readonly id: number;
  readonly progress: Progress;
}

const none: EngineAnswer = { type: "none" };
const atOnce =
  (answer: EngineAnswer): Progress =>
  () =>
    answer;

/**
 * Commands of the control plane: begun in the order they came, answered when what they promise holds. Cold: here
 * closures and arrays are fine.
 */
export class EngineCommands {
  readonly #options: EngineParts;
  readonly #core: EngineCore;
  readonly #inbox: EngineToWorker[] = [];
  #pending: Pending[] = [];
  #quiesced = false;
  /** Members that wait for everything in flight to end before they come in. */
  #entering = 0;
  #draining = 0;

  constructor(options: EngineParts) {
    this.#options = options;
    this.#core = options.core;
  }

  /** Front ends are being drained, which has time limits of its own. */
  get isDraining(): boolean {
    return this.#draining > 0;
  }

  /** Not begun yet. */
  get waiting(): number {
    return this.#inbox.length;
  }

  take(message: EngineToWorker): void {
    this.#inbox.push(message);
  }

  /** Begins what has come; how many these were. */
  run(): number {
    if (this.#inbox.length === 0) return 0;
    const messages = this.#inbox.splice(0);
    for (const { id, command } of messages) {
      this.#attempt(id, () => this.#pending.push({ id, progress: this.#begin(command) }));
    }
    return messages.length;
  }

  /** Answers what can be answered now. */
  poll(leaseHeld: boolean): void {
    if (this.#pending.length === 0) return;
    const pending = this.#pending;
    this.#pending = [];
    for (const item of pending) {
      this.#attempt(item.id, () => {
        const answer = item.progress(leaseHeld);
        if (answer === null) this.#pending.push(item);
        else this.#options.post({ type: "done", id: item.id, answer });
      });
    }
  }

  #attempt(id: number, action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      this.#options.post({ type: "refused", id, code: error.code, message: error.message });
    }
  }

  #begin(command: EngineCommand): Progress {
    const { bitmap, writes, copies, attach, detach } = this.#options;
    switch (command.type) {
      case "suspend":
        this.#core.suspended.suspend(command.slot, command.range);
        return () => (this.#writesIn(command.range.lo, command.range.hi) ? null : none);
      case "resume":
        this.#core.suspended.resume(command.slot);
        writes.retrySuspended();
        return atOnce(none);
      case "setMember":
        return this.#setMember(command.member);
      case "settleFailure":
        return this.#settle(command.raidDisk, command.outcome);
      case "removeMember":
        return this.#removeMember(command.raidDisk);
      case "setBalance":
        this.#core.balance = command.balance;
        return atOnce(none);
      case "setEvents":
        bitmap.intent.setEvents(command.events);
        return this.#whenWritten([0], false);
      case "mergeBits":
        return this.#mergeBits(command.bits);
      case "scan":
        return atOnce({ type: "scanned", range: copies.scan(command.kind, command.from) });
      case "copy":
        return this.#copy(command);
      case "quiesce":
        this.#quiesced = true;
        this.#updateQuiesced();
        return () => (this.#isStill ? none : null);
      case "unquiesce":
        this.#quiesced = false;
        this.#updateQuiesced();
        return atOnce(none);
      case "attach":
        return atOnce({ type: "attached", port: attach(command.frontEnd) });
      case "detach":
        this.#draining++;
        return () => {
          if (!detach()) return null;
          this.#draining--;
          return none;
        };
      case "flushBitmap":
        bitmap.forceRounds();
        return () => (bitmap.isSettled ? none : null);
      case "queryBitmap":
        return atOnce(this.#queryBitmap());
      case "stop":
        return this.#stop();
      default:
        return unreachable(command);
    }
  }

  #setMember(member: EngineMember): Progress {
    const { members, config } = this.#core;
    const { raidDisk } = member;
    if (raidDisk < 0 || raidDisk >= config.raidDisks) {
      throw new MdError("E_VALUE", `raid_disk ${raidDisk} is not below ${config.raidDisks}`);
    }
    // Until its failure is settled nothing else decides about it.
    if (members.state[raidDisk] === MemberState.blocked) return atOnce(none);
    if (member.state === "faulty") {
      // One that is blocked may yet turn out to be the last copy: then this comes first.
      if (members.state[raidDisk] === MemberState.inSync && members.inSync === 1 && members.blocked === 0) {
        throw new MdError("E_LAST_COPY", `${member.path} is the last copy of ${config.name}`);
      }
      members.setState(raidDisk, "faulty", member.recoveredTo);
      return atOnce(none);
    }
    if (members.holds(member) && members.takesWrites(raidDisk)) {
      members.setState(raidDisk, member.state, member.recoveredTo);
      return atOnce(none);
    }
    return this.#enter(member);
  }

  /** A member comes in. As a full copy only between writes: one in flight would not be on it. */
  #enter(member: EngineMember): Progress {
    const { members } = this.#core;
    const { raidDisk } = member;
    if (members.takesWrites(raidDisk)) {
      throw new MdError("E_MEMBER_ACTIVE", `raid_disk ${raidDisk} has a member that is not ${member.path}`);
    }
    let written: Progress | null = null;
    this.#entering++;
    this.#updateQuiesced();
    const leave = (): void => {
      this.#entering--;
      this.#updateQuiesced();
    };
    return (leaseHeld) => {
      if (written !== null) return written(leaseHeld);
      if (member.state === "in_sync" && !this.#isStill) return null;
      if (members.isOpen(raidDisk) && !members.holds(member) && (members.inFlight[raidDisk] ?? 0) > 0) return null;
      leave();
      if (members.isOpen(raidDisk) && !members.holds(member)) members.close(raidDisk);
      if (!members.isOpen(raidDisk)) members.open(member, true);
      members.setState(raidDisk, member.state, member.recoveredTo);
      written = this.#whenAllWritten();
      return written(leaseHeld);
    };
  }

  #settle(raidDisk: number, outcome: "faulty" | "last_copy"): Progress {
    const { members } = this.#core;
    const state = members.state[raidDisk];
    if (state === MemberState.faulty && outcome === "faulty") return atOnce(none);
    if (state !== MemberState.blocked) {
      throw new MdError("E_MEMBER_NOT_FOUND", `raid_disk ${raidDisk} has no failure that is not settled`);
    }
    if (outcome === "last_copy" && members.blockedFrom[raidDisk] !== MemberState.inSync) {
      throw new MdError("E_VALUE", `raid_disk ${raidDisk} was not in sync: it is no copy`);
    }
    this.#options.failures.settle(raidDisk, outcome);
    this.#options.bitmap.settled(outcome);
    return atOnce(none);
  }

  #removeMember(raidDisk: number): Progress {
    const { members } = this.#core;
    if (members.takesWrites(raidDisk) || members.state[raidDisk] === MemberState.blocked) {
      throw new MdError("E_MEMBER_ACTIVE", `raid_disk ${raidDisk} is in use`);
    }
    if (raidDisk >= 0 && raidDisk < members.raidDisks) members.empty(raidDisk);
    return () => {
      if ((members.inFlight[raidDisk] ?? 0) > 0) return null;
      members.close(raidDisk);
      return none;
    };
  }

  #mergeBits(bits: Uint8Array): Progress {
    const { intent } = this.#options.bitmap;
    const { chunks } = intent.counters;
    if (bits.length !== Math.ceil(chunks / 8)) {
      throw new MdError("E_VALUE", `${bits.length} bytes are not a bitmap of ${chunks} chunks`);
    }
    this.#mustBeWritable();
    const pages = new Set<number>();
    for (const chunk of setBits(bits, chunks)) {
      intent.need(chunk);
      pages.add(pageOfBit(chunk));
    }
    return this.#whenWritten([...pages], true);
  }

  #copy({ kind, range }: Extract<EngineCommand, { type: "copy" }>): Progress {
    const { size, name } = this.#core.config;
    if (range.lo < 0 || range.lo >= range.hi || range.hi > size) {
      throw new MdError("E_VALUE", `[${range.lo}, ${range.hi}) is not a range of ${name}`);
    }
    this.#mustBeWritable();
    let answer: EngineAnswer | null = null;
    const onDone = (sectors: number, failed: boolean): void => {
      answer = { type: "copied", sectors, failed };
    };
    if (this.#core.stopping) onDone(0, true);
    else this.#options.copies.copy({ kind, lo: range.lo, hi: range.hi, onDone });
    return () => answer;
  }

  #queryBitmap(): EngineAnswer {
    const { intent } = this.#options.bitmap;
    return { type: "bitmap", dirty: intent.counters.dirty, needed: intent.counters.needed, bits: intent.bits() };
  }

  #stop(): Progress {
    const shutdown = new Shutdown(this.#options);
    this.#draining++;
    return (leaseHeld) => {
      if (!shutdown.advance(leaseHeld)) return null;
      this.#options.end();
      return none;
    };
  }

  #whenAllWritten(): Progress {
    const { intent } = this.#options.bitmap;
    if (this.#core.config.readOnly) return atOnce(none);
    intent.requireAll();
    return this.#whenWritten(
      Array.from({ length: intent.pages }, (_, page) => page),
      false,
    );
  }

  /**
   * When what these pages say now is on the members; `everywhere`: also not missing on one whose failure is not settled
   * (who has to wait for less may be the one that settles it).
   */
  #whenWritten(pages: readonly number[], everywhere: boolean): Progress {
    const { intent } = this.#options.bitmap;
    if (this.#core.config.readOnly) return atOnce(none);
    const writes = pages.map((page) => ({ page, write: intent.coveringWrite(page) }));
    return () => {
      for (const { page, write } of writes) {
        const standing = intent.standing(page, write);
        if (standing === "failed") throw new MdError("E_IO", "the bitmap cannot be written on the last copy");
        if (standing === "pending" || (standing === "partial" && everywhere)) return null;
      }
      return none;
    };
  }

  #mustBeWritable(): void {
    const { readOnly, name } = this.#core.config;
    if (readOnly) throw new MdError("E_PERMISSION", `${name} is read-only here`);
  }

  #updateQuiesced(): void {
    this.#core.quiesced = !this.#core.stopping && (this.#quiesced || this.#entering > 0);
  }

  /** Nothing is in flight on any member. */
  get #isStill(): boolean {
    return this.#core.members.operations === 0 && this.#options.writes.waitingAgain === 0;
  }

  #writesIn(lo: number, hi: number): boolean {
    const { table } = this.#core;
    for (let request = 0; request < table.capacity; request++) {
      if (table.issued[request] === 0) continue;
      if ((table.at[request] ?? 0) < hi && lo < table.end(request)) return true;
    }
    return this.#options.copies.units.isAtWorkIn(lo, hi);
  }
}
