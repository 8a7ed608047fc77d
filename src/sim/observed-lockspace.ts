import type { Lock, Lockspace, LockspaceListener } from "../dlm/lockspace.ts";
import type { World } from "./world.ts";

/** The lockspace as it is, with the checkers listening: who has the token. */
export function observeLockspace(lockspace: Lockspace, world: World, life: string): Lockspace {
  /** The observed `token` and the real one behind it. */
  const token = new Map<Lock, Lock>();
  return {
    name: lockspace.name,
    slot: lockspace.slot,
    incarnation: lockspace.incarnation,
    get generation() {
      return lockspace.generation;
    },
    get members() {
      return lockspace.members;
    },
    get frozen() {
      return lockspace.frozen;
    },
    async open(resource, options) {
      const lock = await lockspace.open(resource, options);
      if (resource !== "token") return lock;
      const observed = observeToken(lock, world, life);
      token.set(observed, lock);
      return observed;
    },
    async convertAll(steps, signal) {
      const real = steps.map((step) => ({ ...step, lock: token.get(step.lock) ?? step.lock }));
      if (steps.some(({ lock }) => token.has(lock) && lock.mode === "EX")) world.emit({ type: "token_released", life });
      const grants = await lockspace.convertAll(real, signal);
      for (const [at, { mode }] of grants.entries()) {
        const lock = steps[at]?.lock;
        if (lock !== undefined && token.has(lock) && mode === "EX") world.emit({ type: "token_held", life });
      }
      return grants;
    },
    dump: () => lockspace.dump(),
    status: () => lockspace.status(),
    evict: (member) => lockspace.evict(member),
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

/** Tells the checkers what a node learns of the others. */
export const observeListener = (listener: LockspaceListener, world: World, life: string): LockspaceListener => ({
  recoverPrep: () => {
    listener.recoverPrep();
    world.emit({ type: "recovering", life });
    world.tell({ type: "recover_prep", life });
  },
  recoverSlot: (member) => {
    world.tell({ type: "recover_slot", life, ...member });
    listener.recoverSlot(member);
  },
  recoverDone: (members, ownSlot, generation) => {
    world.tell({ type: "recover_done", life, generation });
    listener.recoverDone(members, ownSlot, generation);
  },
  fenced: (reason) => {
    world.emit({ type: "log", life, level: "warn", text: `fenced: ${reason}` });
    listener.fenced(reason);
  },
  frozen: (state) => listener.frozen?.(state),
  thawed: () => listener.thawed?.(),
  serverReachable: (reachable) => listener.serverReachable?.(reachable),
});
