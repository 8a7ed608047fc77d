import { expect, it } from "vitest";
import type { SlotNumber } from "../../src/base/units.ts";
import { slotNumber } from "../../src/base/units.ts";
import { runCommandLine } from "../../src/cli/run-command-line.ts";
import { messagesData } from "../../src/daemon/messages-data.ts";
import type { MessageStatistics } from "../../src/messages/message-statistics.ts";
import { FakeWorld } from "../support/fake-world.ts";

const at = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const slot: SlotNumber = slotNumber(1);
const statistics: MessageStatistics = {
  sent: { metadata_updated: 1, remove: 1 },
  received: { resyncing: 7 },
  skipped: { invalid: 0, repeated: 0, own: 0 },
  refused: {},
  failed: {},
  lastRefusal: null,
  lastRoundTripMs: 812,
  last: [
    { type: "metadata_updated", at, tokenMs: 0.42, messageMs: null, ackMs: 1.25, slow: [] },
    { type: "remove", at: at + 2000, tokenMs: null, messageMs: 0.3, ackMs: 812, slow: [{ slot, ms: 700 }] },
  ],
};

it("mdctl messages says where the time of each message went, and for whom it was waited", async () => {
  const slots = [{ slot, node: "n2" }];
  const world = new FakeWorld({ daemon: { messages: () => messagesData("md0", statistics, slots) } });
  expect(await runCommandLine(["messages", "md0"], world)).toBe(0);
  expect(world.out).toBe(
    [
      "MESSAGE           SENT  RECEIVED  REFUSED  FAILED",
      "METADATA_UPDATED  1     0         0        0",
      "REMOVE            1     0         0        0",
      "RESYNCING         0     7         0        0",
      "last round trip 812.0 ms",
      "",
      "LAST              AT                        TOKEN   MESSAGE  ACK       NOT ACKNOWLEDGED",
      "METADATA_UPDATED  2026-01-02T03:04:05.678Z  0.4 ms  -        1.3 ms    -",
      "REMOVE            2026-01-02T03:04:07.678Z  -       0.3 ms   812.0 ms  n2 after 700.0 ms",
      "",
    ].join("\n"),
  );
});

it("a node that is gone by now is told by its slot", () => {
  expect(messagesData("md0", statistics, []).last[1]?.slow).toEqual([{ node: "slot 1", millis: 700 }]);
});
