import { expect, it } from "vitest";
import { nodeMetrics } from "../../src/daemon/node-metrics.ts";
import { prometheusText } from "../../src/metrics/prometheus-text.ts";
import { arrayInfo, idle, resyncing, statusData } from "../support/array-info.ts";

it("escapes what a name may hold", () => {
  const samples = [{ labels: { array: 'a"b\\c\nd' }, value: 1.5 }];
  expect(prometheusText([{ name: "x", help: "one\ntwo", type: "gauge", samples }])).toBe(
    '# HELP x one\\ntwo\n# TYPE x gauge\nx{array="a\\"b\\\\c\\nd"} 1.5\n',
  );
});

it("has a sample for what is known and none for what is not", () => {
  const text = (sync = idle): string => prometheusText(nodeMetrics(statusData([arrayInfo("md0", { sync })]), "0.1.0"));
  expect(text(resyncing)).toContain('mdctl_sync_percent{array="md0"} 37.5\n');
  expect(text()).not.toContain("mdctl_sync_percent");
  expect(text({ ...idle, action: "resync", status: "pending" })).not.toContain("mdctl_sync_percent");
  expect(text()).toContain('mdctl_bitmap_dirty_chunks{array="md0",slot="0"} 3\n');
  expect(text()).toContain('mdctl_node_up{peer="n2"} 1\n');
  expect(text()).toContain("mdctl_lock_service_up 1\n");
});
