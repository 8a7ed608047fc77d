import type { EngineCore } from "./engine-core.ts";
import type { FailurePath } from "./failure-path.ts";
import { LegState, LegWork } from "./request-table.ts";
import { TagKind, tagOf } from "./tag.ts";
import { errnoOf, mayRetry } from "./transfer.ts";

/**
 * Flushes: to every member that takes writes; all that was answered before is durable when it is answered. A member
 * whose flush fails has lost we do not know what, so it fails like one whose write failed, and is not asked again.
 */
export class FlushPath {
  readonly #core: EngineCore;
  readonly #failures: FailurePath;

  constructor(core: EngineCore, failures: FailurePath) {
    this.#core = core;
    this.#failures = failures;
  }

  start(request: number): void {
    const { table, members } = this.#core;
    let legs = 0;
    for (let disk = 0; disk < members.places; disk++) {
      const leg = request * table.width + disk;
      table.layLeg(leg, disk, 0, 0, 0);
      if (!members.takesWrites(disk)) continue;
      table.startLeg(leg, LegWork.flush);
      legs++;
    }
    table.legs[request] = members.places;
    table.legsPending[request] = legs;
    if (legs === 0) {
      this.#end(request);
      return;
    }
    for (let disk = 0; disk < members.places; disk++) {
      const leg = request * table.width + disk;
      if (table.legState[leg] === LegState.inFlight) members.flush(disk, tagOf(TagKind.request, leg));
    }
  }

  legCompletion(leg: number, result: number): void {
    const { table, members } = this.#core;
    const request = Math.floor(leg / table.width);
    const disk = table.legDisk[leg] ?? 0;
    members.ended(disk);
    const attempts = (table.legRetries[leg] ?? 0) + 1;
    table.legRetries[leg] = attempts;
    if (mayRetry(result, attempts) && members.takesWrites(disk)) {
      members.flush(disk, tagOf(TagKind.request, leg));
      return;
    }
    table.legState[leg] = result >= 0 ? LegState.ok : LegState.failed;
    if (result < 0) table.legErrno[leg] = errnoOf(result);
    const left = (table.legsPending[request] ?? 0) - 1;
    table.legsPending[request] = left;
    if (left === 0) this.#end(request);
  }

  #end(request: number): void {
    this.#failures.judgeFlush(request);
    this.#failures.finish(request);
  }
}
