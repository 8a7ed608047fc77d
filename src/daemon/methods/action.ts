import { findArray } from "../find-array.ts";
import type { Method } from "./method.ts";

/** How fast this node may copy in one array (sync_speed_max); a pass under way follows at once. */
export const action: Method<"action"> = {
  read: (reader) => ({ array: reader.textOrNull("array"), limitKib: reader.count("limitKib", 0, 2 ** 32) }),
  run: ({ array, limitKib }, { daemon, warn }) => {
    const session = findArray(daemon, array, warn);
    const before = session.status().syncSpeedMax;
    session.node.limitSync(limitKib);
    const changes = before === limitKib ? [] : [{ what: "limit", target: session.name, before, after: limitKib }];
    return Promise.resolve({ array: session.name, changes });
  },
};
