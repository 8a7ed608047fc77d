import type { HistoryEvent } from "../../daemon/control-api.ts";
import { localClock } from "./local-time.ts";
import { safeText } from "./safe-text.ts";

/** `10:01:12  n2  md0  FAIL  sdb is faulty on all nodes` */
export const eventLine = ({ time, node, array, event, text }: HistoryEvent): string =>
  safeText(`${localClock(time)}  ${node ?? "-"}  ${array ?? "-"}  ${event.padEnd(8)}  ${text}`);
