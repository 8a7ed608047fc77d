import { MdError } from "../../base/md-error.ts";
import { MAX_DEPTH, MAX_QUEUES } from "../../blockdev/ublk/uapi.ts";
import { findArray } from "../find-array.ts";
import { frontendOf } from "../frontend-param.ts";
import type { Method } from "./method.ts";

/** Exporting what is exported already answers with what there is. */
export const map: Method<"map"> = {
  read: (reader) => ({
    array: reader.textOrNull("array"),
    readOnly: reader.flag("readOnly"),
    listen: reader.textOrNull("listen"),
    frontend: frontendOf(reader.textOrNull("frontend")),
    queues: reader.countOrNull("queues", 1, MAX_QUEUES),
    depth: reader.countOrNull("depth", 1, MAX_DEPTH),
    recover: reader.flag("recover"),
  }),
  run: async ({ array, ...wish }, { daemon, warn }) => {
    if (wish.frontend === "ublk" && wish.listen !== null) {
      throw new MdError("E_USAGE", "a ublk disk listens nowhere: --listen is for nbd");
    }
    const session = findArray(daemon, array, warn);
    const { fresh, fallback } = await session.map(wish);
    if (fallback !== null) warn("N_FRONTEND", `${session.name} is exported over NBD: ${fallback}`);
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
