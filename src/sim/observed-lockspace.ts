import type { Lock, Lockspace, LockspaceListener } from "../dlm/lockspace.ts";
import type { World } from "./world.ts";

/** The lockspace as it is, with the checkers listening: who has the token. */
export function observeLockspace(lockspace: Lockspace, world: World, life: string): Lockspace {
  return {
    name: lockspace.name,
    slot: lockspace.slot,
    get generation() {
      return lockspace.generation;
    },
    get members() {
      return lockspace.members;
    },
    async open(resource, options) {
      const lock = await lockspace.open(resource, options);
      return resource === "token" ? observeToken(lock, world, life) : lock;
    },
    dump: () => lockspace.dump(),
    leave: () => lockspace.leave(),
    abandon: () => lockspace.abandon(),
  };
}

/** Held from the grant until giving it up is asked for. */
function observeToken(lock: Lock, world: World, life: string): Lock {
  return {
    resource: lock.resource,
    get mode() {
      return lock.mode;
    },
    async convert(mode, options) {
      if (lock.mode === "EX") world.emit({ type: "token_released", life });
      const grant = await lock.convert(mode, options);
      if (grant.mode === "EX") world.emit({ type: "token_held", life });
      return grant;
    },
    close: () => {
      if (lock.mode === "EX") world.emit({ type: "token_released", life });
      return lock.close();
    },
  };
}

/** Tells the checkers when a node learns that another is gone. */
export const observeListener = (listener: LockspaceListener, world: World, life: string): LockspaceListener => ({
  recoverPrep: () => {
    listener.recoverPrep();
    world.emit({ type: "recovering", life });
  },
  recoverSlot: (member) => listener.recoverSlot(member),
  recoverDone: (members, ownSlot, generation) => listener.recoverDone(members, ownSlot, generation),
  fenced: (reason) => {
    world.emit({ type: "log", life, level: "warn", text: `fenced: ${reason}` });
    listener.fenced(reason);
  },
  serverReachable: (reachable) => listener.serverReachable?.(reachable),
});
