import { MdError } from "../base/md-error.ts";
import { mdUuidText, parseUuid } from "../superblock/uuid.ts";
import type { ArraySession } from "./array-session.ts";
import type { Daemon, LostArray } from "./daemon.ts";

/**
 * The array that is meant, of those assembled here; null: the only one, and `warn` is told which (command line
 * specification, 1.3). E_NO_ARRAY, E_ARRAY_REQUIRED, E_ARRAY_NOT_ACTIVE, E_ARRAY_AMBIGUOUS.
 */
export function findArray(
  daemon: Daemon,
  designator: string | null,
  warn: (code: string, message: string) => void,
): ArraySession {
  if (designator === null) return onlyArray(daemon, warn);
  const matches = matching(daemon.sessions, designator);
  const [first, second] = matches;
  if (first === undefined) {
    throw new MdError("E_ARRAY_NOT_ACTIVE", `${designator} is not assembled on this node`, {
      hint: `mdctl assemble ${designator}`,
    });
  }
  if (second !== undefined) {
    const list = matches.map(({ name, uuid }) => `${name} (uuid ${uuid})`).join(", ");
    throw new MdError("E_ARRAY_AMBIGUOUS", `${designator} names more than one array: ${list}`, {
      hint: `name it by its uuid, uuid=${first.uuid}`,
    });
  }
  return first;
}

/** The array that is meant, of those that this node was fenced from; null: none. */
export function findLostArray({ lostArrays }: Pick<Daemon, "lostArrays">, designator: string): LostArray | null {
  const uuid = uuidOf(designator);
  const name = nameOf(designator);
  return lostArrays.find((lost) => (uuid === null ? lost.name === name : lost.uuid === uuid)) ?? null;
}

function onlyArray(daemon: Daemon, warn: (code: string, message: string) => void): ArraySession {
  const [first, ...others] = daemon.sessions;
  if (first === undefined) {
    throw new MdError("E_NO_ARRAY", "no array is assembled on this node", { hint: "mdctl assemble --scan" });
  }
  if (others.length > 0) {
    const names = daemon.sessions.map(({ name }) => name).join(", ");
    throw new MdError("E_ARRAY_REQUIRED", `say which array is meant: ${names}`);
  }
  warn("N_INFERRED", `using ${first.name}, the only array assembled on this node`);
  return first;
}

function matching(sessions: readonly ArraySession[], designator: string): readonly ArraySession[] {
  const uuid = uuidOf(designator);
  if (uuid !== null) return sessions.filter((session) => session.uuid === uuid);
  const exported = sessions.filter((session) => session.isExportedAs(designator));
  if (exported.length > 0) return exported;
  const name = nameOf(designator);
  return sessions.filter((session) => session.name === name);
}

/** `/dev/mdctl/data`, `/dev/md/data`, `/dev/md0`, `md0`, `data` -> the name in the superblock. */
export const nameOf = (designator: string): string => designator.replace(/^\/dev\/(?:mdctl\/|md\/|(?=md))/, "");

/** `uuid=...` or any 128-bit spelling: md notation; null for anything else. */
export function uuidOf(designator: string): string | null {
  const explicit = designator.startsWith("uuid=");
  const text = explicit ? designator.slice("uuid=".length) : designator;
  if (!explicit && !/^[0-9a-fA-F]{32}$/.test(text.replace(/[-:. ]/g, ""))) return null;
  return mdUuidText(parseUuid(text));
}
