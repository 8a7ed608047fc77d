import type { AnswerOf, Engine } from "../engine/engine.ts";
import type { EngineAnswer, EngineCommand, EngineConfig } from "../engine/engine-protocol.ts";
import type { World } from "./world.ts";

/** An engine as it is, with the checkers listening to what crosses the seam. */
export function observeEngine(engine: Engine, config: EngineConfig, world: World, life: string): Engine {
  const disks = new Map<number, string>();
  const seen = (
    raidDisk: number,
    disk: string | null,
    state: "in_sync" | "rebuilding" | "faulty" | "removed",
  ): void => {
    if (disk !== null) disks.set(raidDisk, disk);
    world.emit({ type: "member_view", life, raidDisk, disk, state });
  };
  for (const { raidDisk, path, state } of config.members) seen(raidDisk, path, state);
  engine.onNotice((notice) => {
    if (notice.type !== "started") world.emit({ type: "log", life, level: "info", text: JSON.stringify(notice) });
  });

  const before = (command: EngineCommand): void => {
    switch (command.type) {
      case "copy":
        world.emit({ type: "copying", life, range: command.range });
        break;
      // A member may be read as soon as the engine hears of it, and may still be until it has answered.
      case "setMember":
        if (command.member.state === "in_sync") seen(command.member.raidDisk, command.member.path, "in_sync");
        break;
      case "resume":
        world.emit({ type: "resumed", life, slot: command.slot });
        break;
      default:
    }
  };
  const after = (command: EngineCommand, answer: EngineAnswer): void => {
    switch (command.type) {
      case "copy":
        world.emit({ type: "copied", life, sectors: answer.type === "copied" ? answer.sectors : 0 });
        break;
      case "setMember":
        if (command.member.state !== "in_sync") {
          seen(command.member.raidDisk, command.member.path, command.member.state);
        }
        break;
      case "settleFailure":
        if (command.outcome === "faulty") seen(command.raidDisk, disks.get(command.raidDisk) ?? null, "faulty");
        break;
      case "removeMember":
        seen(command.raidDisk, null, "removed");
        break;
      case "suspend":
        world.emit({ type: "suspended", life, slot: command.slot, range: command.range });
        break;
      default:
    }
  };
  return {
    shared: engine.shared,
    onNotice: (listener) => engine.onNotice(listener),
    async send<C extends EngineCommand>(command: C): Promise<AnswerOf<C["type"]>> {
      before(command);
      try {
        const answer = await engine.send(command);
        after(command, answer);
        return answer;
      } catch (error) {
        if (command.type === "copy") world.emit({ type: "copied", life, sectors: 0 });
        throw error;
      }
    },
  };
}
