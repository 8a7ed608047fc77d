import { uuidText } from "../../superblock/uuid.ts";
import type { TraceRecord } from "../control-api.ts";
import { findArray } from "../find-array.ts";
import type { Method } from "./method.ts";
import { aborted } from "./queries.ts";

/** Records of one array: its machines' carry its UUID in md notation, its locks' the lockspace's name. */
export const trace: Method<"trace"> = {
  read: (reader) => ({ array: reader.textOrNull("array") }),
  run: async ({ array }, { daemon, emit, warn, signal }) => {
    const session = findArray(daemon, array, warn);
    const lockspace = uuidText(session.status().uuid);
    let n = 0;
    const stop = daemon.traceTap.listen((record) => {
      if (record["array"] !== session.uuid && record["lockspace"] !== lockspace) return;
      emit({ ...record, n: n++, time: daemon.env.clock.wall() } as unknown as TraceRecord);
    });
    session.node.traceState();
    await aborted(signal);
    stop();
    return null;
  },
};
