import {
  type EngineCommand,
  type EngineConfig,
  type EngineMemberState,
  roomFor,
  type WorkerToEngine,
} from "../engine/engine-protocol.ts";
import type { World } from "./world.ts";

/** Tells the checkers what crosses the seam, at the data plane's end of it: there it takes effect. */
export class EngineObserver {
  readonly #world: World;
  readonly #life: string;
  readonly #room: number;
  readonly #commands = new Map<number, EngineCommand>();
  /** By place. */
  readonly #disks = new Map<number, string>();
  /** Places whose member has failed, and nobody has settled it: until then the loop takes nothing else about them. */
  readonly #blocked = new Set<number>();

  constructor(world: World, life: string, config: EngineConfig) {
    this.#world = world;
    this.#life = life;
    this.#room = roomFor(config.raidDisks);
    for (const { place, path, state } of config.members) this.#seen(place, path, state);
  }

  /** The loop takes a command: reads may go to a new full copy, and data into a window, from now on. */
  taken(id: number, command: EngineCommand): void {
    this.#commands.set(id, command);
    const life = this.#life;
    switch (command.type) {
      case "copy":
      case "rewrite":
      case "compare":
        this.#world.emit({ type: "copying", life, range: command.range });
        break;
      case "setMember": {
        const { state, place, path } = command.member;
        if (this.#blocked.has(place)) break;
        if (state !== "faulty") this.#world.tell({ type: "member_taken", life, disk: path });
        if (state === "in_sync") this.#seen(place, path, "in_sync");
        break;
      }
      case "settleFailure":
        this.#blocked.delete(command.place);
        if (command.outcome === "last_copy") this.#seen(command.place, null, "in_sync");
        break;
      case "resume":
        this.#world.emit({ type: "resumed", life, slot: command.slot });
        break;
      default:
    }
  }

  /** The loop answers, or tells of its own accord. */
  posted(message: WorkerToEngine): void {
    if (message.type === "notice") {
      const { notice } = message;
      // It reads nothing from a member that failed, from that instant.
      if (notice.type === "memberFailed") {
        this.#blocked.add(notice.place);
        this.#seen(notice.place, null, "faulty");
      }
      this.#world.emit({ type: "log", life: this.#life, level: "info", text: JSON.stringify(notice) });
      return;
    }
    const command = this.#commands.get(message.id);
    this.#commands.delete(message.id);
    if (command === undefined) return;
    if (command.type === "copy" || command.type === "rewrite" || command.type === "compare") {
      const sectors = message.type === "done" && "sectors" in message.answer ? message.answer.sectors : 0;
      this.#world.emit({ type: "copied", life: this.#life, sectors });
    }
    if (message.type === "done") this.#done(command);
  }

  #done(command: EngineCommand): void {
    switch (command.type) {
      case "setMember":
        if (command.member.state !== "in_sync" && !this.#blocked.has(command.member.place)) {
          this.#seen(command.member.place, command.member.path, command.member.state);
        }
        break;
      case "settleFailure":
        if (command.outcome === "faulty") this.#seen(command.place, null, "faulty");
        break;
      case "removeMember":
        this.#seen(command.place, null, "removed");
        break;
      case "suspend":
        this.#world.emit({ type: "suspended", life: this.#life, slot: command.slot, range: command.range });
        break;
      case "stop":
        this.#world.emit({ type: "engine_stopped", life: this.#life });
        break;
      default:
    }
  }

  #seen(place: number, path: string | null, state: EngineMemberState | "removed"): void {
    if (path !== null) this.#disks.set(place, path);
    const disk = state === "removed" ? null : (this.#disks.get(place) ?? null);
    const raidDisk = place % this.#room;
    this.#world.emit({ type: "member_view", life: this.#life, raidDisk, disk, state });
  }
}
