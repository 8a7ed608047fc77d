import { unreachable } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { type SectorRange, sectorRange } from "../base/units.ts";
import { pageOfBit } from "../bitmap/bitmap-layout.ts";
import { setBits } from "../bitmap/bitmap-merge.ts";
import { atOnce, CommandWaits, none, type Progress } from "./command-waits.ts";
import { type CopyResult, nothingCopied } from "./copy-job.ts";
import type { EngineCore } from "./engine-core.ts";
import type { EngineParts } from "./engine-parts.ts";
import type { EngineAnswer, EngineCommand, EngineToWorker } from "./engine-protocol.ts";
import { MemberCommands } from "./member-commands.ts";
import { MismatchList } from "./mismatch-list.ts";
import type { Rewritten } from "./rewrite-path.ts";
import { ShapeCommands } from "./shape-commands.ts";
import { Shutdown } from "./shutdown.ts";

interface Pending {
  readonly id: number;
  readonly progress: Progress;
}

/**
 * Commands of the control plane: begun in the order they came, answered when what they promise holds. Cold: here
 * closures and arrays are fine.
 */
export class EngineCommands {
  readonly #options: EngineParts;
  readonly #core: EngineCore;
  readonly #waits: CommandWaits;
  readonly #members: MemberCommands;
  readonly #shapes: ShapeCommands;
  readonly #inbox: EngineToWorker[] = [];
  #pending: Pending[] = [];
  #draining = 0;

  constructor(options: EngineParts) {
    this.#options = options;
    this.#core = options.core;
    this.#waits = new CommandWaits(options);
    this.#members = new MemberCommands(options, this.#waits);
    this.#shapes = new ShapeCommands(options, this.#waits);
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
    const { bitmap, writes, copies, attach } = this.#options;
    switch (command.type) {
      case "suspend":
        return this.#suspend(command);
      case "resume":
        this.#core.suspended.resume(command.slot);
        writes.retrySuspended();
        return atOnce(none);
      case "setMember":
        return this.#members.set(command.member);
      case "settleFailure":
        return this.#members.settle(command.place, command.outcome);
      case "removeMember":
        return this.#members.remove(command.place);
      case "badBlocksWritten":
      case "endBadBlocks":
        return this.#badBlocks(command);
      case "setBalance":
        this.#core.balance = command.balance;
        return atOnce(none);
      case "setEvents":
        bitmap.intent.setEvents(command.events);
        return this.#waits.whenWritten([0], false);
      case "mergeBits":
        return this.#mergeBits(command.bits);
      case "scan":
        return atOnce({ type: "scanned", range: copies.scan(command.kind, command.from) });
      case "copy":
        return this.#copy(command);
      case "setCopyLeast":
        copies.speed.least = command.kib;
        return atOnce(none);
      case "rewrite":
        return this.#rewrite(command);
      case "compare":
        return this.#compare(command);
      case "reshape":
        this.#mustBeWritable();
        return this.#shapes.reshape(command.shape);
      case "keepBitmap":
        this.#mustBeWritable();
        return this.#shapes.keepBitmap(command.on);
      case "holdWrites":
        return atOnce({ type: "held", held: writes.holdWrites() });
      case "admitWrites":
        writes.admitWrites(command.errno);
        return atOnce(none);
      case "setCapacity":
        return this.#shapes.setCapacity(command.capacity);
      case "quiesce":
        this.#waits.quiesce(true);
        return () => (this.#waits.isStill ? none : null);
      case "unquiesce":
        this.#waits.quiesce(false);
        return atOnce(none);
      case "attach":
        return atOnce({ type: "attached", port: attach(command.frontEnd) });
      case "detach":
        return this.#detach();
      case "querySeat":
        return atOnce(this.#options.seat());
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

  #detach(): Progress {
    this.#draining++;
    return () => {
      if (!this.#options.detach(true)) return null;
      this.#draining--;
      return none;
    };
  }

  #suspend({ slot, range: { lo, hi } }: Extract<EngineCommand, { type: "suspend" }>): Progress {
    const { failures, writes } = this.#options;
    this.#core.suspended.suspend(slot, sectorRange(lo, hi));
    failures.suspend(lo, hi);
    // The range that the slot had before is free.
    writes.retrySuspended();
    return () => (this.#writesIn(lo, hi) ? null : none);
  }

  #badBlocks(command: Extract<EngineCommand, { type: "badBlocksWritten" | "endBadBlocks" }>): Progress {
    if (command.type === "endBadBlocks") this.#core.members.badBlocks.end();
    else this.#options.failures.recorded(command.version, command.durable);
    return atOnce(none);
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
    return this.#waits.whenWritten([...pages], true);
  }

  #checkRange({ lo, hi }: SectorRange): void {
    const { name } = this.#core.config;
    const { size } = this.#core.personality;
    if (lo < 0 || lo >= hi || hi > size) throw new MdError("E_VALUE", `[${lo}, ${hi}) is not a range of ${name}`);
  }

  #compare({ range, repair, tellBad = false }: Extract<EngineCommand, { type: "compare" }>): Progress {
    const { copies } = this.#options;
    this.#checkRange(range);
    this.#mustBeWritable();
    if (!copies.canCompare) throw new MdError("E_VALUE", "the transfer memory is too small to compare so many copies");
    let answer: EngineAnswer | null = null;
    const onDone = ({ sectors, failed }: CopyResult, found: MismatchList): void => {
      const { counted, isCut, unsettled } = found;
      const ranges = found.ranges();
      answer = { type: "compared", sectors, failed, mismatched: counted, ranges, isCut, unsettled };
    };
    if (this.#core.stopping || this.#shapes.isReshaping) onDone(nothingCopied, new MismatchList());
    else copies.add({ kind: "compare", lo: range.lo, hi: range.hi, repair, tellBad, onDone });
    return () => answer;
  }

  #copy({ kind, range, section = null }: Extract<EngineCommand, { type: "copy" }>): Progress {
    this.#checkRange(range);
    this.#mustBeWritable();
    let answer: EngineAnswer | null = null;
    const onDone = (result: CopyResult): void => {
      answer = { type: "copied", ...result };
    };
    if (this.#core.stopping || this.#shapes.isReshaping) onDone(nothingCopied);
    else this.#options.copies.add({ kind, lo: range.lo, hi: range.hi, section, onDone });
    return () => answer;
  }

  #rewrite({ place, range: { lo, hi } }: Extract<EngineCommand, { type: "rewrite" }>): Progress {
    const { members, config, personality, stopping } = this.#core;
    const { rewrites } = this.#options;
    if (!members.isPlace(place)) throw new MdError("E_VALUE", `place ${place} is of no raid_disk`);
    if (lo < 0 || lo >= hi || hi > personality.size) {
      throw new MdError("E_VALUE", `[${lo}, ${hi}) is not a range of ${config.name}`);
    }
    this.#mustBeWritable();
    if (!rewrites.isIdle) throw new MdError("E_DEVICE_BUSY", `${config.name} rewrites another range`);
    let answer: EngineAnswer | null = null;
    const onDone = (rewritten: Rewritten): void => {
      answer = { type: "rewritten", ...rewritten };
    };
    if (stopping || this.#shapes.isReshaping) onDone({ sectors: 0, lost: 0, givenUp: true });
    else rewrites.begin(place, lo, hi, onDone);
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

  #mustBeWritable(): void {
    const { readOnly, name } = this.#core.config;
    if (readOnly) throw new MdError("E_PERMISSION", `${name} is read-only here`);
  }

  #writesIn(lo: number, hi: number): boolean {
    const { table } = this.#core;
    for (let request = 0; request < table.capacity; request++) {
      if (table.issued[request] === 0) continue;
      if ((table.at[request] ?? 0) < hi && lo < table.end(request)) return true;
    }
    return this.#options.copies.units.isAtWorkIn(lo, hi) || this.#options.rewrites.isWritingIn(lo, hi);
  }
}
