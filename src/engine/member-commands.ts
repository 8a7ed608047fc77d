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
    const { place } = member;
    if (!members.isPlace(place)) {
      throw new MdError("E_VALUE", `place ${place} is of no raid_disk below ${members.places}`);
    }
    // Until its failure is settled nothing else decides about it; one that is to be used again may fail once more.
    const isReturning = members.state[place] === MemberState.blocked && this.#options.failures.isReturning(place);
    if (members.state[place] === MemberState.blocked && !(isReturning && member.state === "faulty")) {
      return atOnce(none);
    }
    if (member.state === "faulty") {
      // One that is blocked may yet turn out to be the last copy: then this comes first.
      const isCopy = isReturning || members.state[place] === MemberState.inSync;
      if (isCopy && members.isLastEvenWithBlocked(place)) {
        throw new MdError("E_LAST_COPY", `${member.path} is the last copy of ${config.name}`);
      }
      if (isReturning) return this.settle(place, "faulty");
      members.setState(place, "faulty", member.recoveredTo);
      return atOnce(none);
    }
    if (members.holds(member) && members.takesWrites(place)) {
      members.setState(place, member.state, member.recoveredTo);
      return atOnce(none);
    }
    return this.#enter(member);
  }

  /** A member comes in. As a full copy only between writes: one in flight would not be on it. */
  #enter(member: EngineMember): Progress {
    const { members } = this.#core;
    const { place } = member;
    if (members.takesWrites(place)) {
      throw new MdError("E_MEMBER_ACTIVE", `place ${place} has a member that is not ${member.path}`);
    }
    members.refuseHung(member.path);
    let written: Progress | null = null;
    let leave: (() => void) | null = null;
    return (leaseHeld) => {
      if (written !== null) return written(leaseHeld);
      // Of before: it could land on what is copied to it. Nothing else waits for that.
      if (members.isOpen(place) && (members.inFlight[place] ?? 0) > 0) return null;
      leave ??= this.#waits.pause();
      if (member.state === "in_sync" && !this.#waits.isStill) return null;
      leave();
      members.refuseHung(member.path);
      if (members.isOpen(place) && !members.holds(member)) members.close(place);
      if (!members.isOpen(place)) members.open(member, true);
      members.setState(place, member.state, member.recoveredTo);
      written = this.#waits.whenAllWritten();
      return written(leaseHeld);
    };
  }

  settle(place: number, outcome: "faulty" | "last_copy"): Progress {
    const { members } = this.#core;
    const state = members.state[place];
    if (state === MemberState.faulty && outcome === "faulty") return atOnce(none);
    if (state !== MemberState.blocked) {
      throw new MdError("E_MEMBER_NOT_FOUND", `place ${place} has no failure that is not settled`);
    }
    if (outcome === "last_copy" && members.blockedFrom[place] !== MemberState.inSync) {
      throw new MdError("E_VALUE", `place ${place} was not in sync: it is no copy`);
    }
    if (this.#options.failures.settle(place, outcome)) this.#options.bitmap.settled(outcome);
    return atOnce(none);
  }

  /** Answered when its device is closed. */
  remove(place: number): Progress {
    const { members } = this.#core;
    if (members.takesWrites(place) || members.state[place] === MemberState.blocked) {
      throw new MdError("E_MEMBER_ACTIVE", `place ${place} is in use`);
    }
    if (members.isPlace(place)) members.empty(place);
    return () => {
      if ((members.inFlight[place] ?? 0) > 0) return null;
      members.close(place);
      return none;
    };
  }
}
