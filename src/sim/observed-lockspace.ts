import type { Lock, Lockspace, LockspaceListener } from "../dlm/lockspace.ts";
import type { ChannelWitness } from "./channel-witness.ts";
import type { World } from "./world.ts";

/** The lockspace as it is, with the checkers listening: who has the token, and what is said and heard. */
export function observeLockspace(
  lockspace: Lockspace,
  world: World,
  life: string,
  channel: ChannelWitness | null = null,
): Lockspace {
  /** The observed `token` and `ack`, and the real ones behind them. */
  const token = new Map<Lock, Lock>();
  const ack = new Map<Lock, Lock>();
  const behind = (lock: Lock): Lock => token.get(lock) ?? ack.get(lock) ?? lock;
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
      if (resource === "ack" && channel !== null) {
        const heard = observeAck(lock, channel);
        ack.set(heard, lock);
        return heard;
      }
      const slot = /^bitmap(\d+)$/.exec(resource)?.[1];
      if (slot !== undefined && channel !== null) return observeSlot(lock, Number(slot), channel);
      if (resource !== "token") return lock;
      const observed = observeToken(lock, world, life);
      token.set(observed, lock);
      return observed;
    },
    async convertAll(steps, signal) {
      const real = steps.map((step) => ({ ...step, lock: behind(step.lock) }));
      if (steps.some(({ lock }) => token.has(lock) && lock.mode === "EX")) world.emit({ type: "token_released", life });
      channel?.asked(steps);
      const grants = await lockspace.convertAll(real, signal);
      channel?.granted(steps, grants);
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

const observeSlot = (lock: Lock, slot: number, channel: ChannelWitness): Lock => ({
  resource: lock.resource,
  get mode() {
    return lock.mode;
  },
  convert(mode, options) {
    if (mode === "PW" && options?.lvb !== undefined) channel.shows(slot, options.lvb);
    return lock.convert(mode, options);
  },
  close: () => lock.close(),
});

const observeAck = (lock: Lock, channel: ChannelWitness): Lock => ({
  resource: lock.resource,
  get mode() {
    return lock.mode;
  },
  convert: (mode, options) => lock.convert(mode, options),
  close() {
    channel.closed();
    return lock.close();
  },
});

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
