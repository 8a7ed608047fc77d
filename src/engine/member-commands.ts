import { MdError } from "../base/md-error.ts";
import { atOnce, type CommandWaits, none, type Progress } from "./command-waits.ts";
import type { EngineCore } from "./engine-core.ts";
import type { EngineParts } from "./engine-parts.ts";
import type { EngineMember } from "./engine-protocol.ts";
import { MemberState } from "./member-table.ts";

/** Commands about members: their state, their coming and going, and what becomes of one that has failed. */
export class MemberCommands {
  readonly #options: EngineParts;
  readonly #core: EngineCore;
  readonly #waits: CommandWaits;

  constructor(options: EngineParts, waits: CommandWaits) {
    this.#options = options;
    this.#core = options.core;
    this.#waits = waits;
  }

  /** Its state; or a member that comes in. */
  set(member: EngineMember): Progress {
    const { members, config } = this.#core;
    const { raidDisk } = member;
    if (raidDisk < 0 || raidDisk >= members.raidDisks) {
      throw new MdError("E_VALUE", `raid_disk ${raidDisk} is not below ${members.raidDisks}`);
    }
    // Until its failure is settled nothing else decides about it.
    if (members.state[raidDisk] === MemberState.blocked) return atOnce(none);
    if (member.state === "faulty") {
      // One that is blocked may yet turn out to be the last copy: then this comes first.
      if (members.state[raidDisk] === MemberState.inSync && members.isLastEvenWithBlocked(raidDisk)) {
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
    const leave = this.#waits.pause();
    return (leaseHeld) => {
      if (written !== null) return written(leaseHeld);
      if (member.state === "in_sync" && !this.#waits.isStill) return null;
      if (members.isOpen(raidDisk) && !members.holds(member) && (members.inFlight[raidDisk] ?? 0) > 0) return null;
      leave();
      if (members.isOpen(raidDisk) && !members.holds(member)) members.close(raidDisk);
      if (!members.isOpen(raidDisk)) members.open(member, true);
      members.setState(raidDisk, member.state, member.recoveredTo);
      written = this.#waits.whenAllWritten();
      return written(leaseHeld);
    };
  }

  settle(raidDisk: number, outcome: "faulty" | "last_copy"): Progress {
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

  /** Answered when its device is closed. */
  remove(raidDisk: number): Progress {
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
}
