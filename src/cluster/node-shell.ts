import { unreachable } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import type { EngineNotice } from "../engine/engine-protocol.ts";
import { StepTrace } from "../env/step-trace.ts";
import { Scrub } from "../resync/scrub.ts";
import { AdderFirst } from "./adder-first.ts";
import { askPeer } from "./ask-peer.ts";
import { AskedDevice } from "./asked-device.ts";
import { BadBlockKeeper } from "./bad-block-keeper.ts";
import type { ClusterNodeDeps } from "./cluster-deps.ts";
import { EngineMembers } from "./engine-members.ts";
import { EventSteps } from "./event-steps.ts";
import { formOf } from "./grow-form.ts";
import type { History } from "./history.ts";
import type { JoinedNode } from "./join.ts";
import { settleFailure } from "./member-failure.ts";
import { memberText, type NodeContext } from "./node-context.ts";
import { type NodeEffect, type NodeEvent, type NodeState, newNode, stepNode } from "./node-machine.ts";
import { OwnWindow } from "./own-window.ts";
import { PillPoll } from "./pill-poll.ts";
import { remasteringRecorder } from "./remastering-history.ts";
import { ResyncRunner } from "./resync-runner.ts";
import { SafeMode } from "./safe-mode.ts";
import { recoverSlot } from "./slot-recovery.ts";
import { SpeedLimit } from "./speed-limit.ts";

export interface NodeShell {
  readonly context: NodeContext;
  readonly runner: ResyncRunner;
  /** Where the data plane runs, as it says. */
  readonly ring: { kind: string; about: string };
  isServerReachable(): boolean;
  /** A recording of the protocol begins here. */
  traceState(): void;
  /** The node's life in the array is over. */
  stopPolling(): void;
  /** From now on the lockspace's and the data plane's news are acted on; what came before is made up for. */
  connect(): void;
}

/** Makes a node of what has joined: runs the pure machine, carries out its effects, and hears what the data plane says. */
export function startShell(
  deps: ClusterNodeDeps,
  joined: JoinedNode,
  history: History,
  onEnd: (how: "fenced" | "failed", reason: string) => void,
): NodeShell {
  const { env } = deps;
  const { feed, members, pill, ...parts } = joined;
  const { lockspace, engine, slotLocks, devices, array } = joined;
  const trace = new StepTrace<NodeState, NodeEvent, NodeEffect>(env, "node");
  const context: NodeContext = {
    get safeMode() {
      return safeMode;
    },
    ...parts,
    deps,
    env,
    history,
    ownWindow: new OwnWindow(slotLocks),
    members: new EngineMembers(engine, lockspace.slot, devices, array),
    badBlocks: new BadBlockKeeper(),
    form: formOf(array),
    prepared: null,
    formChange: Promise.resolve(),
    capacity: array.size,
    exported: "no",
    usedEvents: array.events,
    eventSteps: new EventSteps(),
    candidates: new Map(),
    asked: new AskedDevice(),
    adderFirst: new AdderFirst(),
    remoteSyncs: new Map(),
    speedLimit: new SpeedLimit(env.clock, deps.options.syncSpeedMax, deps.options.syncSpeedMin),
    scrub: new Scrub(),
    questions: new Map(),
    errors: new Map(),
    node: newNode(lockspace.slot, lockspace.members),
    dispatch(event) {
      record(context, event);
      const [node, effects] = stepNode(context.node, event);
      context.node = node;
      trace.took(event, effects);
      for (const effect of effects) perform(context, effect, onEnd);
    },
    lookForWork: () => runner.kick(),
    fail: (reason) => onEnd("failed", reason),
  };
  members.now = () => context;
  trace.began(context.node);
  const safeMode = new SafeMode(context, deps.options.access, deps.options.safeModeDelayMs);
  const runner = new ResyncRunner(context);
  const ring = { kind: "unknown", about: "" };
  const isWatched = pill !== null && deps.options.watchPill;
  const pillPoll = isWatched ? new PillPoll(context, pill, (path) => condemned(context, path)) : null;
  return {
    context,
    traceState() {
      trace.began(context.node);
      context.bus.traceState();
    },
    stopPolling: () => pillPoll?.stop(),
    runner,
    ring,
    isServerReachable: () => feed.reachable,
    connect() {
      void pillPoll?.run();
      engine.onNotice((notice) => onNotice(context, runner, ring, notice));
      feed.connect(
        (event) => context.dispatch(event),
        (reachable) => recordServer(context, reachable),
        remasteringRecorder(history, env),
      );
    },
  };
}

function perform(
  context: NodeContext,
  effect: NodeEffect,
  onEnd: (how: "fenced" | "failed", reason: string) => void,
): void {
  const { engine, slotLocks } = context;
  switch (effect.type) {
    case "balance":
      detached(context, engine.send({ type: "setBalance", balance: effect.balance }));
      // What waited for the others to settle may go on.
      if (effect.balance === "balanced" && context.scrub.current !== null) context.lookForWork();
      break;
    case "recover":
      detached(context, recoverSlot(context, effect.target));
      break;
    case "adopted":
      slotLocks.stopWaiting(effect.slot);
      break;
    case "resume":
      detached(context, engine.send({ type: "resume", slot: effect.slot }));
      break;
    case "ask_peer":
      // While we join all slots are looked at anyway; who waits for this one must look again.
      if (context.node.phase === "joining") slotLocks.stopWaiting(effect.slot);
      else detached(context, askPeer(context, effect.slot));
      break;
    case "halt":
      onEnd("fenced", effect.reason);
      break;
    default:
      unreachable(effect);
  }
}

/** Work that nobody waits for: its expected failures are a log line, a contradiction ends the process. */
function detached(context: NodeContext, work: Promise<unknown>): void {
  work.catch((error: unknown) => {
    if (!(error instanceof MdError)) throw error;
    if (context.node.phase !== "active") return;
    context.env.log.error({ evt: "background-error", err: error.message, code: error.code }, "work was given up");
  });
}

function onNotice(
  context: NodeContext,
  runner: ResyncRunner,
  ring: { kind: string; about: string },
  notice: EngineNotice,
): void {
  switch (notice.type) {
    case "started":
      ring.kind = notice.ringKind;
      ring.about = notice.ringAbout;
      break;
    case "memberFailed":
      detached(context, settleFailure(context, notice));
      break;
    case "memberSlow":
      tellSlow(context, notice.place, notice.slow);
      break;
    case "memberOwes":
      context.opener.owes(notice.path);
      break;
    case "memberAnswered":
      context.opener.answered(notice.path);
      break;
    case "readError":
      runner.readErrors.found(notice);
      break;
    case "badBlocks":
      context.badBlocks.found(context, notice);
      break;
    case "badBlocksSeen":
      runner.readErrors.passedBy(notice);
      break;
    case "condemned": {
      const number = context.members.numberAt(notice.place);
      condemned(context, number === null ? "a member" : memberText(context, number));
      break;
    }
    case "resyncNeeded":
      context.safeMode.moved();
      context.lookForWork();
      break;
    case "writesHeld":
      context.safeMode.writesHeld();
      break;
    case "fatal":
      context.fail(notice.message);
      break;
    default:
      unreachable(notice);
  }
}

function tellSlow(context: NodeContext, place: number, slow: boolean): void {
  const number = context.members.numberAt(place);
  const who = number === null ? `place ${place}` : memberText(context, number);
  const text = slow ? `has not answered for ${context.deps.options.slowIoMs / 1000} s` : "answers again";
  context.history.add(slow ? "warn" : "info", "SLOWIO", `${who} ${text}`, { number, slow });
}

/** Nothing is given back: whoever took the slot over has it already. */
function condemned(context: NodeContext, where: string): void {
  context.lockspace.abandon();
  context.dispatch({ type: "fenced", reason: `${where} says that its slot was taken over` });
}

function recordServer(context: NodeContext, reachable: boolean): void {
  if (reachable) context.history.add("info", "LOCKSERVER", "the lock server answers again");
  else context.history.add("warn", "LOCKSERVER", "the lock server does not answer: writes go on while the lease lasts");
}

function record(context: NodeContext, event: NodeEvent): void {
  const { history, node, lockspace } = context;
  if (event.type === "fenced") {
    history.add("error", "FENCED", `this node was declared dead: ${event.reason}`);
  } else if (event.type === "died") {
    const { slot, node: name } = event.member;
    history.add("warn", "NODEDOWN", `${name} (slot ${slot}) is dead`, { slot, node: name });
  } else if (event.type === "done") {
    for (const { slot, node: name } of event.members) {
      const known = node.members.some((member) => member.slot === slot && member.node === name);
      if (!known && slot !== lockspace.slot)
        history.add("info", "JOIN", `${name} takes slot ${slot}`, { slot, node: name });
    }
    for (const { slot, node: name } of node.members) {
      const gone = !event.members.some((member) => member.slot === slot);
      const died = node.recovering.some((target) => target.slot === slot && target.why === "died");
      if (!gone) continue;
      context.remoteSyncs.delete(slot);
      context.adderFirst.over(slot);
      if (!died) history.add("info", "LEAVE", `${name} has left slot ${slot}`, { slot, node: name });
    }
  }
}

/** Is there something left that this node knows of and that can be worked off? */
export function isIdle({ context, runner }: NodeShell): boolean {
  const { node, remoteSyncs } = context;
  const others = node.recovering.length + node.windows.size + node.unresynced.size + remoteSyncs.size;
  return runner.isIdle && context.scrub.current === null && !node.changing && others === 0 && context.prepared === null;
}
