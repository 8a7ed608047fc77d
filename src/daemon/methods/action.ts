import { MdError } from "../../base/md-error.ts";
import { sector } from "../../base/units.ts";
import { type ArraySession, wholeSectors } from "../array-session.ts";
import type { Change, ControlMethods } from "../control-api.ts";
import { findArray } from "../find-array.ts";
import { manageTargets } from "../manage-targets.ts";
import type { Method } from "./method.ts";

type Params = ControlMethods["action"]["params"];

const MOST_BYTES = Number.MAX_SAFE_INTEGER;

/**
 * sync_action of this node, and how fast it may copy in one array (sync_speed_max); a pass under way follows at once. The
 * action first: if it is refused nothing is changed.
 */
export const action: Method<"action"> = {
  read: (reader) => {
    const array = reader.textOrNull("array");
    const limitKib = reader.countOrNull("limitKib", 0, 2 ** 32);
    const leastKib = reader.countOrNull("leastKib", 0, 2 ** 32);
    const word = reader.textOrNull("action");
    const fromBytes = reader.countOrNull("fromBytes", 0, MOST_BYTES);
    const toBytes = reader.countOrNull("toBytes", 1, MOST_BYTES);
    const source = reader.textOrNull("source");
    const wanted = (["idle", "frozen", "check", "repair"] as const).find((one) => one === word);
    if (word !== null && wanted === undefined) {
      throw new MdError("E_VALUE", "action: action is not one of idle, frozen, check, repair");
    }
    return {
      array,
      ...(limitKib === null ? {} : { limitKib }),
      ...(leastKib === null ? {} : { leastKib }),
      ...(wanted === undefined ? {} : { action: wanted }),
      ...(fromBytes === null ? {} : { fromBytes }),
      ...(toBytes === null ? {} : { toBytes }),
      ...(source === null ? {} : { source }),
    };
  },
  run: async (params, { daemon, warn }) => {
    const session = findArray(daemon, params.array, warn);
    const changes: Change[] = [];
    const { sync } = session.status();
    if (params.action !== undefined) {
      setAction(session, params.action, params);
      changes.push({ what: "action", target: session.name, before: sync?.action ?? "idle", after: params.action });
    }
    const { limitKib } = params;
    if (limitKib !== undefined) {
      const before = session.status().syncSpeedMax;
      session.node.limitSync(limitKib);
      if (before !== limitKib) changes.push({ what: "limit", target: session.name, before, after: limitKib });
    }
    const { leastKib } = params;
    if (leastKib !== undefined) {
      const before = session.status().syncSpeedMin;
      await session.node.leastSync(leastKib);
      if (before !== leastKib) changes.push({ what: "least", target: session.name, before, after: leastKib });
    }
    return { array: session.name, changes };
  },
};

function setAction(session: ArraySession, wanted: NonNullable<Params["action"]>, params: Params): void {
  const { fromBytes, toBytes, source } = params;
  if (wanted === "idle" || wanted === "frozen") {
    session.node.setSyncAction(wanted);
    return;
  }
  session.node.scrub({
    action: wanted,
    from: fromBytes === undefined ? null : sector(wholeSectors("from", fromBytes)),
    to: toBytes === undefined ? null : sector(wholeSectors("to", toBytes)),
    source: source === undefined ? null : sourceNumber(session, source),
  });
}

function sourceNumber(session: ArraySession, member: string): number {
  const [found, ...others] = manageTargets(session, member);
  if (found === undefined || others.length > 0) {
    throw new MdError("E_VALUE", `source: "${member}" is not one member of ${session.name}`);
  }
  return found.number;
}
