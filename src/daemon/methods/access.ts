import { MdError } from "../../base/md-error.ts";
import type { Access } from "../control-api.ts";
import { findArray } from "../find-array.ts";
import type { Method } from "./method.ts";

const words: readonly Access[] = ["read-write", "read-auto", "readonly"];

/** What clients of an array may do on this node: see `ClusterNode.setAccess`. */
export const access: Method<"access"> = {
  takesLocks: true,
  read: (reader) => {
    const array = reader.textOrNull("array");
    const text = reader.text("access");
    const wanted = words.find((word) => word === text);
    if (wanted === undefined) throw new MdError("E_VALUE", `access: access is not one of ${words.join(", ")}`);
    return { array, access: wanted };
  },
  run: async ({ array, access: wanted }, { daemon, warn }) => {
    const session = findArray(daemon, array, warn);
    const before = session.status().access;
    await session.node.setAccess(wanted);
    const { name: target } = session;
    return {
      array: target,
      changes: before === wanted ? [] : [{ what: "access", target, before, after: wanted }],
    };
  },
};
