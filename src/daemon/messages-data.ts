import type { SlotStatus } from "../cluster/array-status.ts";
import type { MessageStatistics } from "../messages/message-statistics.ts";
import type { MessagesData } from "./control-api.ts";
import { timeText } from "./time-text.ts";

/** What an array's messages cost this node, in the words of the control API: nodes by name. */
export function messagesData(
  array: string,
  { lastRoundTripMs, last, ...counts }: MessageStatistics,
  slots: readonly Pick<SlotStatus, "slot" | "node">[],
): MessagesData {
  const nodeOf = (slot: number): string => slots.find((one) => one.slot === slot)?.node ?? `slot ${slot}`;
  return {
    array,
    ...counts,
    lastRoundTripMillis: lastRoundTripMs,
    last: last.map(({ type, at, tokenMs, messageMs, ackMs, slow }) => ({
      message: type.toUpperCase(),
      time: timeText(at),
      tokenMillis: tokenMs,
      messageMillis: messageMs,
      ackMillis: ackMs,
      slow: slow.map(({ slot, ms }) => ({ node: nodeOf(slot), millis: ms })),
    })),
  };
}
