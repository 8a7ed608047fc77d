import { MdError } from "../../base/md-error.ts";
import { findArray } from "../find-array.ts";
import type { Method } from "./method.ts";

/** Exporting what is exported already answers with what there is. */
export const map: Method<"map"> = {
  read: (reader) => ({
    array: reader.textOrNull("array"),
    readOnly: reader.flag("readOnly"),
    listen: reader.textOrNull("listen"),
  }),
  run: async ({ array, readOnly, listen }, { daemon, warn }) => {
    const session = findArray(daemon, array, warn);
    const fresh = await session.map(daemon.config.stateDir, { listen, readOnly });
    const { mapping } = session;
    if (mapping === null) throw new MdError("E_ARRAY_NOT_ACTIVE", `${session.name} was unmapped meanwhile`);
    if (fresh) daemon.tell("info", "MAPPED", session.name, `${session.name} is exported on ${mapping.device}`);
    return { array: session.name, mapping, already: !fresh };
  },
};

export const unmap: Method<"unmap"> = {
  read: (reader) => ({ target: reader.text("target"), force: reader.flag("force") }),
  run: async ({ target, force }, { daemon, warn }) => {
    const session = findArray(daemon, target, warn);
    const device = await session.unmap(force);
    daemon.tell("info", "UNMAPPED", session.name, `${session.name} is no longer exported on ${device}`);
    return { array: session.name, device };
  },
};
